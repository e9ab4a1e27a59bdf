"""`secure_headers`: the response headers that tell browsers to be careful."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, overload

from ..core.policy import Phase, Policy, Step
from ..support import options as check
from ..support.header_fields import Pair, append, check_value, drop, field_names
from ..support.options import option
from .presets import NAMES, PRESETS, REVEALING

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Response, TargetT


class _Inherit:
    """The value of an option that was not given: the preset or an outer scope has it."""

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = _Inherit()
Value: TypeAlias = "str | _Inherit | None"
Preset: TypeAlias = Literal["strict", "api", "relaxed"]

HINTS: Mapping[str, str] = MappingProxyType(
    {
        "content_security_policy": "write csp=…",
        "content_security_policy_report_only": "write csp_report_only='…', the policy itself",
        "strict_transport_security": "write hsts=…",
        "strict_transport_security_max_age": "write hsts='max-age=…'",
        "strict_transport_security_preload": "write hsts='max-age=63072000; includeSubDomains; preload'",
        "strict_transport_security_include_subdomains": "write hsts='max-age=…; includeSubDomains'",
        "feature_policy": "write permissions_policy=…",
        "frame_options_allow_from": "browsers ignore it: write csp='frame-ancestors https://…'",
        "x_content_type_options": "write content_type_options='nosniff'",
        "x_frame_options": "write frame_options=…",
    }
)
"""What to write in place of an option of Talisman."""


def _value(value: object, what: str) -> object:
    """Check for the value of a header, None to leave the header out, or INHERIT."""
    return value if value is None or value is INHERIT else check_value(value, what)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecureHeaders(Policy):
    """Set the security headers of every response: ``secure_headers``, ``secure_headers("api", csp=None)``.

    Presets: ``"strict"`` (the default) is the OWASP Secure Headers Project's recommended set, with ASVS 5.0's
    ``base-uri 'none'``; ``"api"`` fits JSON APIs; ``"relaxed"`` fits server-rendered pages that load their own scripts
    and styles. Unlike other policies, a nearer one does not replace an outer one. It is laid over it, header by header:
    what it names wins, and what it leaves out stays.

    A header that the view set itself wins. ``Strict-Transport-Security`` is sent over https only. No preset has
    ``Clear-Site-Data``, which OWASP recommends for logging out: on every response it would log everybody out. Put
    ``secure_headers(clear_site_data='"cache","cookies","storage"')`` on the logout view.

    Headers that reveal what serves the request (OWASP's list) are removed. ``Server`` is removed where a view set it,
    but most servers (gunicorn and Werkzeug's among them) write their own after Flask is done: only the server, or a
    proxy in front of it, can leave that out.
    """

    kind: ClassVar[str] = "secure_headers"
    phase: ClassVar[Phase] = Phase.HEADERS

    preset: Preset | None = option(None, check.optional(check.one_of(*PRESETS)))
    csp: Value = option(INHERIT, _value)
    csp_report_only: Value = option(INHERIT, _value)
    hsts: Value = option(INHERIT, _value)
    frame_options: Value = option(INHERIT, _value)
    content_type_options: Value = option(INHERIT, _value)
    referrer_policy: Value = option(INHERIT, _value)
    permissions_policy: Value = option(INHERIT, _value)
    opener_policy: Value = option(INHERIT, _value)
    embedder_policy: Value = option(INHERIT, _value)
    resource_policy: Value = option(INHERIT, _value)
    cache_control: Value = option(INHERIT, _value)
    clear_site_data: Value = option(INHERIT, _value)
    reporting_endpoints: Value = option(INHERIT, _value)
    dns_prefetch_control: Value = option(INHERIT, _value)
    cross_domain_policies: Value = option(INHERIT, _value)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        preset: Preset = "strict",
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
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        Each header takes its value, or None to leave it out. By default it has the value of the preset.

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
        """
        return Policy.__call__(self, *args, **options)

    def refine(self, *args: Any, **options: Any) -> Self:
        if len(args) == 1 and isinstance(args[0], str):
            return super(SecureHeaders, self).refine(preset=args[0], **options)
        return super(SecureHeaders, self).refine(*args, **options)

    def hint(self, option: str) -> str:
        return f"; {HINTS[option]}" if option in HINTS else ""

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
