"""`secure_headers`: the response headers that tell browsers to be careful."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

from ..core.policy import DenyingPolicy, Phase, Policy, Scope, Step, Target
from ..errors import ConfigError
from ..support import options as check
from ..support.log import log
from ..support.options import INHERIT, Inherited, option, or_inherit
from ..support.orders import irrelevant, more_is_stronger, plain, true_is_stronger
from . import orders, values
from .csp import Csp, CspOption, check_policy, only_reported, parse_csp, parse_whole_csp
from .https import SameSite, insist_on_https, protect_session_cookie
from .presets import NAMES, PRESETS, REVEALING
from .response_nonce import Nonces, Templates
from .values import header
from .writer import Fields

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.request_run import Enter, Run
    from ..typing import Mode, Purpose, TargetT

Preset: TypeAlias = Literal["strict", "api", "relaxed"]
Value: TypeAlias = "str | Inherited | None"
CspValue: TypeAlias = "Csp | Inherited | None"

HINTS: Mapping[str, str] = {
    "content_security_policy": "write csp=…",
    "content_security_policy_report_only": "write mode='report', or csp_report_only=… for a second policy",
    "content_security_policy_report_uri": "write csp={'report-uri': '/csp-reports'}",
    "content_security_policy_nonce_in": "write csp={'script-src': [\"'self'\", nonce]}",
    "strict_transport_security": "write hsts=…",
    "strict_transport_security_max_age": "write hsts=SECONDS",
    "strict_transport_security_preload": "write hsts='max-age=63072000; includeSubDomains; preload'",
    "strict_transport_security_include_subdomains": "write hsts='max-age=…; includeSubDomains'",
    "force_https": "write https_redirect=…",
    "force_https_permanent": "write https_redirect=True, which is permanent",
    "force_file_save": "write download_options='noopen'",
    "feature_policy": "write permissions_policy=…",
    "frame_options_allow_from": "browsers ignore it: write csp={'frame-ancestors': ['https://…']}",
    "session_cookie_secure": "write session_cookie='Lax'",
    "session_cookie_http_only": "write session_cookie='Lax'",
    "session_cookie_samesite": "write session_cookie='Lax'",
    "x_content_type_options": "write content_type_options='nosniff'",
    "x_frame_options": "write frame_options=…",
    "x_xss_protection": "write xss_protection=0",
}
"""The option to write in place of one of Talisman."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecureHeaders(DenyingPolicy):
    """Set the security headers of every response: ``secure_headers``, ``secure_headers("relaxed", hsts=None)``.

    - ``"strict"`` (the default) is the recommended set of the OWASP Secure Headers Project, with the ``base-uri
      'none'`` of ASVS 5.0.
    - ``"api"`` fits JSON APIs, which load nothing.
    - ``"relaxed"`` fits server-rendered pages. They run their own scripts, and those with the nonce of the response;
      styles, images, fonts and frames may come from any site over https.

    :mod:`flask_guard.security_headers.presets` says why each header is there.

    A nearer policy is laid over an outer one, header by header, and does not replace it. A header that is named beats
    one of a preset, and of two that are named the nearer wins. A ``csp`` that is a mapping is laid over the outer one,
    directive by directive. A header that the view set itself wins. ``Strict-Transport-Security`` is a promise for the
    whole host: name it on the app, so that no nearer preset changes it.

    To try it out on a site, write ``mode="report"``: browsers report what the content security policy would block, and
    block nothing. The other headers are enforced.

    ``Strict-Transport-Security`` and ``upgrade-insecure-requests`` are sent over https only. No preset has
    ``Clear-Site-Data``, which OWASP recommends for logging out: on every response it would log everybody out. Put
    ``secure_headers(clear_site_data=["cache", "cookies", "storage"])`` on the logout view.

    Headers that reveal what serves the request are removed. ``Server`` is removed where a view set it, but most servers
    (gunicorn and Werkzeug's among them) write their own after Flask is done. Only the server, or a proxy in front of
    it, can leave this header out.
    """

    kind: ClassVar[str] = "secure_headers"
    phase: ClassVar[Phase] = Phase.HEADERS

    preset: Preset | None = option(None, check.optional(check.one_of(*PRESETS)), irrelevant)
    csp: CspValue = option(INHERIT, header(parse_csp), orders.csp)
    csp_report_only: CspValue = option(INHERIT, header(parse_whole_csp), irrelevant)
    hsts: Value = option(INHERIT, header(values.hsts), orders.hsts)
    frame_options: Value = option(INHERIT, header(values.frame_options), orders.frame_options)
    content_type_options: Value = option(INHERIT, header(values.content_type_options), orders.content_type_options)
    referrer_policy: Value = option(INHERIT, header(values.referrer_policy), orders.referrer_policy)
    permissions_policy: Value = option(INHERIT, header(values.permissions_policy), orders.permissions_policy)
    document_policy: Value = option(INHERIT, header(values.document_policy))
    opener_policy: Value = option(INHERIT, header(values.opener_policy), orders.opener_policy)
    opener_policy_report_only: Value = option(INHERIT, header(values.opener_policy), irrelevant)
    embedder_policy: Value = option(INHERIT, header(values.embedder_policy), orders.embedder_policy)
    embedder_policy_report_only: Value = option(INHERIT, header(values.embedder_policy), irrelevant)
    resource_policy: Value = option(INHERIT, header(values.resource_policy), orders.resource_policy)
    origin_agent_cluster: Value = option(INHERIT, header(values.origin_agent_cluster), orders.origin_agent_cluster)
    cache_control: Value = option(INHERIT, header(values.cache_control), orders.cache_control)
    clear_site_data: Value = option(INHERIT, header(values.clear_site_data), orders.clear_site_data)
    reporting_endpoints: Value = option(INHERIT, header(values.reporting_endpoints), irrelevant)
    dns_prefetch_control: Value = option(INHERIT, header(values.dns_prefetch_control), orders.dns_prefetch_control)
    cross_domain_policies: Value = option(INHERIT, header(values.cross_domain_policies), orders.cross_domain_policies)
    download_options: Value = option(INHERIT, header(values.download_options), orders.download_options)
    xss_protection: Value = option(INHERIT, header(values.xss_protection), irrelevant)
    remove: tuple[str, ...] | Inherited = option(INHERIT, or_inherit(values.removed), more_is_stronger)
    https_redirect: bool | Inherited = option(INHERIT, or_inherit(check.flag), true_is_stronger)
    session_cookie: SameSite | None = option(None, check.optional(check.one_of("Lax", "Strict")), orders.same_site)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        preset: Preset = "strict",
        /,
        *,
        csp: CspOption | Inherited | None = INHERIT,
        csp_report_only: CspOption | Inherited | None = INHERIT,
        hsts: str | int | timedelta | Inherited | None = INHERIT,
        frame_options: Value = INHERIT,
        content_type_options: Value = INHERIT,
        referrer_policy: Value = INHERIT,
        permissions_policy: Value | Mapping[str, object] = INHERIT,
        document_policy: Value = INHERIT,
        opener_policy: Value = INHERIT,
        opener_policy_report_only: Value = INHERIT,
        embedder_policy: Value = INHERIT,
        embedder_policy_report_only: Value = INHERIT,
        resource_policy: Value = INHERIT,
        origin_agent_cluster: Value | bool = INHERIT,
        cache_control: Value = INHERIT,
        clear_site_data: Value | Iterable[str] = INHERIT,
        reporting_endpoints: Value | Mapping[str, str] = INHERIT,
        dns_prefetch_control: Value = INHERIT,
        cross_domain_policies: Value = INHERIT,
        download_options: Value = INHERIT,
        xss_protection: Value | int = INHERIT,
        remove: str | Iterable[str] | Inherited = INHERIT,
        https_redirect: bool | Inherited = INHERIT,
        session_cookie: SameSite | None = None,
        mode: Mode | None = None,
    ) -> SecureHeaders: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        Each header takes its value, or None to leave the header out. A header that is not given has the value of an
        outer scope or of the preset. Every value is checked.

        :param preset: the values to start from.
        :param csp: ``Content-Security-Policy`` (CSP 3). A string is the whole policy. A mapping of directives to
            sources changes the outer policy: None takes a directive out, and True stands for one without sources. The
            source ``'nonce'`` (:data:`flask_guard.security_headers.nonce`) stands for the nonce of the response, which
            templates write as ``csp_nonce()`` or ``g.csp_nonce``.
        :param csp_report_only: ``Content-Security-Policy-Report-Only``: a second policy, to try out.
        :param hsts: ``Strict-Transport-Security`` (RFC 6797): seconds, a timedelta, or the value.
        :param frame_options: ``X-Frame-Options`` (RFC 7034).
        :param content_type_options: ``X-Content-Type-Options``.
        :param referrer_policy: ``Referrer-Policy``.
        :param permissions_policy: ``Permissions-Policy``, also as a mapping: ``{"camera": ["self"], "usb": ()}``.
        :param document_policy: ``Document-Policy``.
        :param opener_policy: ``Cross-Origin-Opener-Policy``.
        :param opener_policy_report_only: ``Cross-Origin-Opener-Policy-Report-Only``.
        :param embedder_policy: ``Cross-Origin-Embedder-Policy``.
        :param embedder_policy_report_only: ``Cross-Origin-Embedder-Policy-Report-Only``.
        :param resource_policy: ``Cross-Origin-Resource-Policy``. By default ``cross-origin`` where a `cors` opens the
            endpoint to every origin.
        :param origin_agent_cluster: ``Origin-Agent-Cluster``: True or False.
        :param cache_control: ``Cache-Control``. Where no preset has one, answers to callers that have authenticated get
            ``no-store``.
        :param clear_site_data: ``Clear-Site-Data``, also as a list: ``["cache", "cookies", "storage"]``.
        :param reporting_endpoints: ``Reporting-Endpoints``, also as a mapping: ``{"csp": "/csp-reports"}``.
        :param dns_prefetch_control: ``X-DNS-Prefetch-Control``.
        :param cross_domain_policies: ``X-Permitted-Cross-Domain-Policies``.
        :param download_options: ``X-Download-Options``.
        :param xss_protection: ``X-XSS-Protection``: 0.
        :param remove: the names of headers to take out, in place of OWASP's list; ``()`` for none.
        :param https_redirect: whether to redirect GET and HEAD over http to https, and to answer 403 to other methods.
            For pages, never for APIs (ASVS 5.0, 4.1.2): where ``"api"`` is nearer, the answer is always a 403. Off in
            debug mode.
        :param session_cookie: the SameSite of the session cookie, which then gets Secure, HttpOnly and the prefix
            ``__Host-``, too. For the app as a whole.
        :param mode: ``"report"`` to send ``csp`` as ``Content-Security-Policy-Report-Only``.
        :raises ConfigError: for an unknown preset, and for a value that is malformed or that browsers would ignore.
        """
        return Policy.__call__(self, *args, **options)

    def refine(self, *args: Any, **options: Any) -> Self:
        if len(args) == 1 and isinstance(args[0], str):
            refined = super(SecureHeaders, self).refine(preset=args[0], **options)
        else:
            refined = super(SecureHeaders, self).refine(*args, **options)
        if refined.preset == "api" and refined.https_redirect is True:
            raise ConfigError(
                "secure_headers('api', https_redirect=True) would let clients of an API send secrets over http without"
                " noticing (ASVS 5.0, 4.1.2). Leave https_redirect out"
            )
        return refined

    def hint(self, option: str) -> str:
        return f"; {HINTS[option]}" if option in HINTS else ""

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ("headers",)

    def over(self, outer: SecureHeaders) -> SecureHeaders:
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        named = {name: value for name, value in own.items() if value is not INHERIT}
        for name in ("preset", "session_cookie", "mode"):
            if named[name] is None:
                del named[name]
        if isinstance(self.csp, Csp) and outer.csp is not INHERIT:
            named["csp"] = self.csp.over(outer.csp if isinstance(outer.csp, Csp) else Csp((), is_whole=True))
        return dataclasses.replace(outer, **named)

    def check_target(self, target: object) -> None:
        if self.session_cookie is not None and not hasattr(target, "config"):
            raise ConfigError("secure_headers(session_cookie=…) goes on the app, which has one session cookie")

    def check_app(self, state: AppState) -> None:
        if self.session_cookie is not None:
            protect_session_cookie(state.app, self.session_cookie)
        state.resource(Templates)

    def settled(self) -> dict[str, Any]:
        """Return the value of each header, with those of the preset, by the names of the options."""
        preset = PRESETS[self.preset or "strict"]
        chosen = {each: preset.get(each) if (own := getattr(self, each)) is INHERIT else own for each in NAMES}
        if isinstance(self.csp, Csp):
            chosen["csp"] = self.csp.over(preset["csp"])
        return chosen

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        return {**DenyingPolicy.plain_options_in(self, state), **self._plain_settled()}

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        return {**super(SecureHeaders, cls).default_options(), **cls()._plain_settled()}

    def _plain_settled(self) -> dict[str, Any]:
        settled = {name: plain(value) for name, value in self.settled().items()}
        removed = sorted(REVEALING) if isinstance(self.remove, Inherited) else sorted(self.remove)
        return {**settled, "preset": None, "remove": removed, "https_redirect": self.https_redirect is True}

    def fields_in(self, target: Target) -> Fields:
        """Return the header fields in force for `target`.

        :raises ConfigError: if the content security policy contradicts itself.
        """
        chosen = self.settled()
        if self.resource_policy is INHERIT and target.is_open:
            chosen["resource_policy"] = "cross-origin"
        enforced = "csp_report_only" if self.mode_in(target.state) == "report" else "csp"
        policies: list[tuple[str, Csp]] = []
        for keyword, policy in ((enforced, chosen["csp"]), ("csp_report_only", chosen["csp_report_only"])):
            if policy is not None:
                check_policy(policy, values.endpoint_names(chosen["reporting_endpoints"]))
                is_tried = keyword == "csp_report_only"
                if is_tried and not policy.reports:
                    _say_that_nobody_is_told(target.state)
                policies.append((NAMES[keyword], only_reported(policy) if is_tried else policy))
        others = [each for each in NAMES if each not in ("csp", "csp_report_only", "hsts")]
        return Fields(
            fixed=[(NAMES[each], value) for each in others if (value := chosen[each]) is not None],
            hsts=chosen["hsts"],
            policies=policies,
            removed=REVEALING if isinstance(self.remove, Inherited) else frozenset(self.remove),
            stores_identified=self.cache_control is not INHERIT or chosen["cache_control"] is not None,
        )

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return (target.is_open, target.automatic)

    def compile(self, target: Target) -> Step:
        fields = self.fields_in(target)
        offer = target.state.resource(Nonces).offer if fields.uses_nonce else None
        insists = self.https_redirect is True and not target.automatic
        enter = _insisting_on_https(offer, redirects=self.preset != "api") if insists else offer
        return Step(enter, fields.writer())


def _say_that_nobody_is_told(state: AppState) -> None:
    if state.once("content security policy without reports"):
        log.warning(
            "nobody gets the reports of the content security policy of %r: it is in report mode, and names neither"
            " report-to nor report-uri. Register csp_reports(), and write secure_headers(csp={'report-to': 'csp',"
            " 'report-uri': '/csp-reports'}, reporting_endpoints={'csp': '/csp-reports'})",
            state.app.name,
        )


def _insisting_on_https(offer: Enter | None, *, redirects: bool) -> Enter:
    """Return the step before the view where requests over http are not served."""

    def enter(run: Run) -> ResponseReturnValue | None:
        if offer is not None:
            offer(run)
        return insist_on_https(run, redirects=redirects)

    return enter


secure_headers: SecureHeaders = SecureHeaders()
