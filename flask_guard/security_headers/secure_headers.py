"""`secure_headers`: the response headers that tell browsers to be careful."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, overload

from ..core.policy import Phase, Policy, Step
from ..errors import ConfigError
from ..support.header_fields import Pair, append, check_value, drop, field_names
from ..support.text import did_you_mean, names
from .presets import NAMES, PRESETS, REVEALING

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Response, TargetT


class _Inherit:
    """The value of a keyword that was not given: what the preset, or an outer scope, says."""

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = _Inherit()
Value: TypeAlias = "str | _Inherit | None"
Preset: TypeAlias = Literal["strict", "api", "relaxed"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecureHeaders(Policy):
    """Sets the security headers of every response: ``secure_headers``, ``secure_headers("api", csp=None)``.

    Presets: ``"strict"`` (the default) is the OWASP Secure Headers Project's recommended set, with ASVS 5.0's
    ``base-uri 'none'``; ``"api"`` fits JSON APIs; ``"relaxed"`` fits server-rendered pages that load their own scripts
    and styles. Unlike other policies, a nearer one does not replace an outer one but is laid over it, header by header:
    what it names wins, and what it leaves out stays.

    A header that the view set itself wins. ``Strict-Transport-Security`` is sent over https only. ``Clear-Site-Data``,
    which OWASP recommends for logging out, is in no preset: on every response it would log everybody out; put
    ``secure_headers(clear_site_data='"cache","cookies","storage"')`` on the logout view.

    Headers that reveal what serves the request (OWASP's list) are removed. ``Server`` is too where a view set it, but
    most servers (gunicorn and Werkzeug's among them) write their own after Flask is done: only the server, or a proxy
    in front of it, can leave that out.

    :param preset: where to start from.
    :param csp: ``Content-Security-Policy`` (CSP 3).
    :param csp_report_only: ``Content-Security-Policy-Report-Only``.
    :param hsts: ``Strict-Transport-Security`` (RFC 6797).
    :param frame_options: ``X-Frame-Options`` (RFC 7034).
    :param content_type_options: ``X-Content-Type-Options``.
    :param referrer_policy: ``Referrer-Policy``.
    :param permissions_policy: ``Permissions-Policy``.
    :param opener_policy: ``Cross-Origin-Opener-Policy``.
    :param embedder_policy: ``Cross-Origin-Embedder-Policy``.
    :param resource_policy: ``Cross-Origin-Resource-Policy``.
    :param cache_control: ``Cache-Control``.
    :param clear_site_data: ``Clear-Site-Data``.
    :param reporting_endpoints: ``Reporting-Endpoints``.
    :param dns_prefetch_control: ``X-DNS-Prefetch-Control``.
    :param cross_domain_policies: ``X-Permitted-Cross-Domain-Policies``.
    :raises ConfigError: for an unknown preset, or a value that a header cannot carry.

    Each header takes its value, or None to leave it out.
    """

    kind: ClassVar[str] = "secure_headers"
    phase: ClassVar[Phase] = Phase.HEADERS

    preset: Preset | None = None
    csp: Value = INHERIT
    csp_report_only: Value = INHERIT
    hsts: Value = INHERIT
    frame_options: Value = INHERIT
    content_type_options: Value = INHERIT
    referrer_policy: Value = INHERIT
    permissions_policy: Value = INHERIT
    opener_policy: Value = INHERIT
    embedder_policy: Value = INHERIT
    resource_policy: Value = INHERIT
    cache_control: Value = INHERIT
    clear_site_data: Value = INHERIT
    reporting_endpoints: Value = INHERIT
    dns_prefetch_control: Value = INHERIT
    cross_domain_policies: Value = INHERIT

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            preset: Preset = ...,
            /,
            *,
            csp: str | None = ...,
            csp_report_only: str | None = ...,
            hsts: str | None = ...,
            frame_options: str | None = ...,
            content_type_options: str | None = ...,
            referrer_policy: str | None = ...,
            permissions_policy: str | None = ...,
            opener_policy: str | None = ...,
            embedder_policy: str | None = ...,
            resource_policy: str | None = ...,
            cache_control: str | None = ...,
            clear_site_data: str | None = ...,
            reporting_endpoints: str | None = ...,
            dns_prefetch_control: str | None = ...,
            cross_domain_policies: str | None = ...,
        ) -> SecureHeaders: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(
                f"secure_headers() has no preset {self.preset!r}{did_you_mean(str(self.preset), PRESETS)}."
                f" The presets are {names(PRESETS)}"
            )
        for keyword in NAMES:
            value = getattr(self, keyword)
            if value is not None and value is not INHERIT:
                check_value(value, f"secure_headers({keyword}=…)")

    def refine(self, *args: Any, **options: Any) -> Self:
        if len(args) == 1 and isinstance(args[0], str):
            return super(SecureHeaders, self).refine(preset=args[0], **options)
        return super(SecureHeaders, self).refine(*args, **options)

    def over(self, outer: SecureHeaders) -> SecureHeaders:
        if self.preset is not None:
            return self
        named = {each: value for each in NAMES if (value := getattr(self, each)) is not INHERIT}
        return dataclasses.replace(outer, **named)

    def pairs(self) -> list[Pair]:
        """Return the header fields that it sets over https."""
        preset = PRESETS[self.preset or "strict"]
        values = {keyword: getattr(self, keyword) for keyword in NAMES}
        chosen = {each: preset.get(each) if value is INHERIT else value for each, value in values.items()}
        return [(NAMES[each], value) for each, value in chosen.items() if value is not None]

    def compile(self, target: Target) -> Step:
        secure = self.pairs()
        plain = [pair for pair in secure if pair[0] != NAMES["hsts"]]
        ours = frozenset(name.lower() for name, _ in secure)
        touched = ours | REVEALING

        def leave(run: Run, response: Response) -> None:
            headers = response.headers
            pairs = secure if run.request.scheme == "https" else plain
            present = field_names(headers)
            if not present.isdisjoint(touched):
                if not present.isdisjoint(REVEALING):
                    drop(headers, REVEALING)
                pairs = [pair for pair in pairs if pair[0].lower() not in present]
            append(headers, pairs)

        return Step(leave=leave)


secure_headers: SecureHeaders = SecureHeaders()
