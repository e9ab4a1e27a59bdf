"""`same_origin`: let only the app's own pages send requests that change state (CSRF protection)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from ..core.app_state import AppState
from ..core.denials import Denied
from ..core.described import Documented
from ..core.policy import SAFE_METHODS, DenyingPolicy, Phase, Policy, Scope, Step, Target
from ..core.request_run import Run
from ..errors import ConfigError
from ..support.http_credentials import has_ambient_credentials
from ..support.log import log
from ..support.options import listed, option
from ..support.orders import fewer_is_stronger
from ..support.origins import ANY, OneOrigin, Origins, is_own_origin, parse_origins
from ..typing import Mode, Purpose, TargetT

NULL_OVER_HTTP = (
    "same_origin refuses a form with the origin null over http on %r. Browsers send this origin for pages with"
    " Referrer-Policy: no-referrer, and send Sec-Fetch-Site only over https. Serve the app over https, or write"
    " secure_headers(referrer_policy='same-origin')"
)


def _allowed(value: Any, what: str) -> tuple[OneOrigin, ...]:
    """Check for origins other than ``*`` and ``null``."""
    given = listed(value)
    origins = parse_origins(given, what) if given else Origins()
    if given and origins is ANY:
        raise ConfigError(f"{what}: '*' lets every site act as the user. Leave same_origin out, or list the origins")
    if "null" in origins.exact:
        raise ConfigError(
            f"{what}: 'null' lets every site act as the user, since any page can make a frame whose origin is null."
            " Leave it out"
        )
    return tuple(each.lower() if isinstance(each, str) else each for each in given)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SameOrigin(DenyingPolicy):
    """Let only the app's own pages send requests that change state: ``same_origin``.

    Browsers add cookies to the requests of any page, so a foreign page could act as the user (cross-site request
    forgery, CSRF). Browsers also name the origin of a request, and no page can change these fields:

    - ``Sec-Fetch-Site``, sent over https and on localhost, decides first. ``same-origin`` passes, and so does ``none``,
      an action of the user outside of pages. Other sites, and other hosts of the same site, are refused.
    - Otherwise ``Origin`` must be the scheme, host and port under which the app serves the request. The origin ``null``
      is refused.
    - A request with neither field does not come from a page: browsers have sent ``Origin`` with every POST since 2019.
      Such a request is refused if it carries credentials that browsers add automatically: a cookie, or HTTP
      authentication. Clients with an API key or a token pass.

    Forms need no token. The answer is a 403, before any limit or credential is checked. GET, HEAD, OPTIONS and TRACE
    pass: a view must not change state for them.

    Behind a proxy, set Werkzeug's ``ProxyFix``, so that the app knows the public scheme and host. Against DNS rebinding
    (a foreign domain that resolves to the app's address), also name your hosts: ``require_request(hosts=…)``.
    """

    kind: ClassVar[str] = "same_origin"
    phase: ClassVar[Phase] = Phase.PRECONDITION

    allow: tuple[OneOrigin, ...] = option((), _allowed, fewer_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(self, *, allow: OneOrigin | Iterable[OneOrigin] = (), mode: Mode | None = None) -> SameOrigin: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param allow: other origins whose pages may send such requests, such as ``"https://app.example.com"``. A string
            is exact: scheme, host and port. A compiled pattern must match the whole origin. A callable takes the origin
            and returns True or False. A page that reads the answer also needs ``cors``.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a malformed origin, and for ``"*"`` and ``"null"``.
        """
        return Policy.__call__(self, *args, **options)

    def documented(self, state: AppState) -> Documented:
        return Documented(statuses=(403,))

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ("csrf",)

    def remedy(self, denial: Denied) -> str:
        if denial.reason == "no_origin":
            return "Send 'Sec-Fetch-Site: same-origin', as a browser does, or leave the cookie out."
        return "Send it from a page of the app, or list the origin of the page: same_origin(allow=…)."

    def applies(self, target: Target, scope: Scope) -> bool:
        if target.is_safe and scope.kind in ("view", "method"):
            _warn_if_useless(target, scope)
        return not (target.automatic or target.is_safe)

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return ()

    def compile(self, target: Target) -> Step:
        listed = parse_origins(self.allow, "same_origin(allow=…)") if self.allow else None

        def enter(run: Run) -> None:
            environ = run.request.environ
            site: str | None = environ.get("HTTP_SEC_FETCH_SITE")
            if site in ("same-origin", "none"):
                return
            origin: str | None = environ.get("HTTP_ORIGIN")
            if origin and listed is not None and listed.allow(origin):
                return
            if origin and site is None and is_own_origin(run.request, origin):
                return
            if site is None and not origin and not has_ambient_credentials(environ):
                return
            raise _refusal(run, site, origin)

        return Step(enter)


def _refusal(run: Run, site: str | None, origin: str | None) -> Denied:
    detail = "Pages of other origins may not send this request."
    if site is not None:
        reason = site.replace("-", "_") if site in ("cross-site", "same-site") else "fetch_site"
    elif origin:
        reason = "null_origin" if origin == "null" else "origin"
    else:
        reason = "no_origin"
        detail = (
            "The request carries credentials that browsers add automatically, and does not name its page. Send the"
            " header field Origin."
        )
    if reason == "null_origin" and run.state.once("same_origin null"):
        log.warning(NULL_OVER_HTTP, run.state.app.name)
    return Denied(detail, policy=SameOrigin.kind, reason=reason)


def _warn_if_useless(target: Target, scope: Scope) -> None:
    """Warn of a policy on a view without a method that changes state."""
    rules = target.app.url_map.iter_rules(target.endpoint)
    methods = {method for rule in rules for method in rule.methods or {"POST"}}
    if (scope.kind == "method" or methods <= SAFE_METHODS) and target.state.once(f"same_origin on {scope}"):
        log.warning(
            "same_origin protects nothing on %s of %r: it checks requests that change state, and %s does not take POST,"
            " PUT, PATCH or DELETE. Remove it there",
            scope,
            target.app.name,
            "the view" if scope.kind == "view" else "the method",
        )


same_origin: SameOrigin = SameOrigin()
