"""`cors`: let pages of other origins call an endpoint (Fetch, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias, overload

from ..core.app_state import AppState
from ..core.config import Setting
from ..core.denials import Denied
from ..core.policy import DenyingPolicy, Phase, Placed, Policy, Scope, Step, Target
from ..core.request_run import Run
from ..errors import ConfigError
from ..support import options as check
from ..support.options import INHERIT, Inherited, option, or_inherit
from ..support.orders import (
    Comparison,
    Order,
    by,
    false_is_stronger,
    fewer_is_stronger,
    fewer_is_stronger_if_listed,
    in_order,
    irrelevant,
    members,
    plain,
    true_is_stronger,
)
from ..support.origins import ANY, OneOrigin, Origins, is_own_origin, parse_origins
from ..support.response_copies import response_maker
from ..typing import Mode, Purpose, Response, TargetT
from . import checks, concern
from .others import OtherHooks, other_is_nearer
from .response_headers import CorsOptions, Engine, announced_method

HeaderName: TypeAlias = "str | re.Pattern[str]"

HINTS: Mapping[str, str] = {
    "origin": "write origins=…",
    "allow_origins": "write origins=…",
    "allow_origin_regex": "write origins=re.compile(…)",
    "supports_credentials": "write credentials=…",
    "allow_credentials": "write credentials=…",
    "allow_methods": "write methods=…",
    "headers": "write allow_headers=…",
    "resources": "apply cors to the blueprint or the views: protect(blueprint, cors(…))",
    "send_wildcard": "leave it out: origins='*' always sends the wildcard",
    "always_send": "leave it out: origins='*' always sends the wildcard",
    "vary_header": "leave it out: Vary is sent whenever the answer depends on the origin",
    "automatic_options": "leave it out: preflights are always answered",
    "attach_to_all": "leave it out: every response has the headers",
    "intercept_exceptions": "leave it out: error responses always have the headers",
    "allow_private_network": "leave it out: browsers ask the user instead (Local Network Access)",
}
"""The option to write in place of one of Flask-CORS, Flask-RESTX or Starlette."""

INHERITED: Mapping[str, Setting[Any]] = {
    "methods": concern.METHODS,
    "allow_headers": concern.ALLOW_HEADERS,
    "expose_headers": concern.EXPOSE_HEADERS,
    "credentials": concern.CREDENTIALS,
    "max_age": concern.MAX_AGE,
    "reject_unlisted": concern.REJECT_UNLISTED,
}
"""The options that the configuration of the app has where they are not given."""


def _allow_no_more_headers(old: Any, new: Any) -> bool:
    known = {each.lower() for each in members(old)}
    asked = {each.lower() for each in members(new)}
    return asked - known <= ({*asked} - {"authorization"} if "*" in known else set())


_fewer_headers: Order = by(_allow_no_more_headers)
"""Compares request headers. ``*`` stands for all but ``Authorization`` (Fetch, section 4.9)."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cors(DenyingPolicy):
    """Let pages of other origins call an endpoint: ``cors(origins="https://app.example.com")``.

    A preflight is answered before any other policy asks for anything, with the policy of the endpoint that it is about.
    One for an unknown path is answered too, so that the page can read the 404. The headers are on every response,
    errors and redirects included. Flask-CORS computes them. The page may read the id of the request and the fields of
    limits, where those policies are in force.

    The nearest to the view decides. A policy on the view replaces the CORS headers that the view writes, and those of
    Flask-CORS. One on a blueprint or the app leaves them as they are.

    CORS is not authentication: it tells browsers what a page may *read*. A request from an origin that is not listed
    reaches the view all the same, unless a preflight is needed first; see `reject_unlisted`.
    """

    kind: ClassVar[str] = "cors"
    phase: ClassVar[Phase] = Phase.CORS
    answers_preflights: ClassVar[bool] = True
    presence: ClassVar[Comparison] = "weaker"

    origins: Origins | None = option(None, check.optional(parse_origins), fewer_is_stronger)
    methods: tuple[str, ...] | Inherited | None = option(
        INHERIT, or_inherit(check.optional(checks.methods)), fewer_is_stronger_if_listed
    )
    allow_headers: tuple[HeaderName, ...] | Inherited = option(INHERIT, or_inherit(checks.header_names), _fewer_headers)
    expose_headers: tuple[str, ...] | Inherited = option(INHERIT, or_inherit(checks.exposed_names), fewer_is_stronger)
    credentials: bool | Inherited = option(INHERIT, or_inherit(check.flag), false_is_stronger)
    max_age: int | Inherited | None = option(INHERIT, or_inherit(check.optional(check.whole_seconds)), irrelevant)
    reject_unlisted: bool | Inherited = option(INHERIT, or_inherit(check.flag), true_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        origins: OneOrigin | Iterable[OneOrigin] | None = None,
        methods: str | Iterable[str] | None = None,
        allow_headers: HeaderName | Iterable[HeaderName] = (
            "Authorization",
            "Content-Type",
            "X-API-Key",
            "X-Request-ID",
        ),
        expose_headers: str | Iterable[str] = (),
        credentials: bool = False,
        max_age: int | timedelta | None = 600,
        reject_unlisted: bool = False,
        mode: Mode | None = None,
    ) -> Cors: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        An option that is left out has the value of its config key, such as ``GUARD_CORS_MAX_AGE``, or the default.

        :param origins: the origins to allow. A string is exact: scheme, host and port, without a path. A compiled
            pattern must match the whole origin. A callable takes the origin and returns True or False. ``"*"`` allows
            all, and only ``"null"`` allows the null origin. There is no default: without ``GUARD_CORS_ORIGINS``, name
            them.
        :param methods: the methods to allow; by default those of the route.
        :param allow_headers: the request headers to allow: names, and compiled patterns that must match a whole name.
            ``"*"`` allows all but ``Authorization``, which must be named.
        :param expose_headers: the response headers that the page may read, beside those that policies declare.
        :param credentials: whether requests may carry cookies and other credentials.
        :param max_age: for how many seconds (or a timedelta) browsers may remember a preflight; None to leave it to
            them.
        :param reject_unlisted: refuse requests that may change something and come from a page of another origin that is
            not allowed, with a 403.
        :param mode: ``"report"`` to log such requests instead of refusing them.
        :raises ConfigError: for a malformed origin, method or header name, and for ``"*"`` or ``"null"`` with
            credentials. Where the policy is applied, also if there are no origins at all.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if self.origins is not None:
            _check_together(self.origins, self.credentials is True, self.expose_headers)
            if self.origins is ANY and self.reject_unlisted is True:
                raise ConfigError("cors(origins='*', reject_unlisted=True) lists every origin, so none is unlisted")

    def hint(self, option: str) -> str:
        return f"; {HINTS[option]}" if option in HINTS else ""

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ("cors", "csrf") if self.reject_unlisted is True else ("cors",)

    def options_in(self, state: AppState) -> CorsOptions:
        """Return the options in force: its own, or those of the app's configuration.

        :raises ConfigError: if there are no origins, or options contradict each other.
        """

        origins = self._origins_in(state)
        if origins is None:
            raise ConfigError(
                "cors has no origins: write cors(origins=['https://app.example.com']) or set GUARD_CORS_ORIGINS"
                " (and '*' to allow every site)"
            )
        own = {name: getattr(self, name) for name in INHERITED}
        settled = {name: state.config[INHERITED[name]] if value is INHERIT else value for name, value in own.items()}
        options = CorsOptions(origins=origins, **settled)
        _check_together(options.origins, options.credentials, options.expose_headers)
        return options

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        options, orders = self.options_in(state), check.orders_of(Cors)
        settled = {name: plain(getattr(options, name), name) for name in ("origins", *INHERITED)}
        return {
            **DenyingPolicy.plain_options_in(self, state),
            **{name: in_order(value, orders[name]) for name, value in settled.items()},
        }

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        settled = {name: plain(setting.default, name) for name, setting in INHERITED.items()}
        return {**super(Cors, cls).default_options(), **settled}

    def _origins_in(self, state: AppState) -> Origins | None:
        return state.config[concern.ORIGINS] if self.origins is None else self.origins

    def check_app(self, state: AppState) -> None:
        self.options_in(state)
        state.resource(OtherHooks)

    def opens(self, state: AppState) -> bool:
        return self._origins_in(state) is ANY

    def applies(self, target: Target, scope: Scope) -> bool:
        return not other_is_nearer(target, scope)

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return None if target.preflight else (target.exposes, target.is_safe, place.kind)

    def compile_joined(self, target: Target, group: tuple[Placed, ...]) -> Step:
        options = self.options_in(target.state)
        engine = Engine(options, target.exposes)
        if target.preflight:
            return Step(_answer(target), _preflight_writer(engine, options.methods, target))
        refuses = options.reject_unlisted and not target.is_safe
        leave = target.state.resource(OtherHooks).step(engine, group[0].place)
        return Step(_refuse_unlisted(options.origins) if refuses else None, leave)


def _check_together(origins: Origins, credentials: bool, expose_headers: object) -> None:
    if not credentials:
        return
    if origins is ANY:
        raise ConfigError(
            "cors(origins='*', credentials=True) would let every site act as the user, and browsers refuse it."
            " List the origins"
        )
    if "null" in origins.exact:
        raise ConfigError(
            "cors(origins='null', credentials=True) would let every site act as the user: any page can make a frame"
            " whose origin is null. List the origins"
        )
    if isinstance(expose_headers, tuple) and "*" in expose_headers:
        raise ConfigError("cors(expose_headers='*') has no effect with credentials. Name the headers")


def _answer(target: Target) -> Callable[[Run], Response]:
    """Return the step that answers preflights."""
    make = response_maker(target.app.response_class, 204)

    def answer(_run: Run) -> Response:
        return make()

    return answer


def _preflight_writer(
    engine: Engine, methods: tuple[str, ...] | None, target: Target
) -> Callable[[Run, Response], None]:
    """Return the step that writes the headers of preflights.

    It allows the methods of the route. For an unknown path, it allows the method that is announced.
    """
    path_is_known = target.endpoint is not None

    def write(run: Run, response: Response) -> None:
        announced = announced_method(run)
        allowed = methods
        if run.rule is None and path_is_known:
            allowed = ()
        elif methods is None:
            of_rule = run.rule.methods if run.rule is not None else None
            allowed = (announced,) if of_rule is None else tuple(sorted(of_rule - {"OPTIONS"}))
        engine.write_preflight(run, response, announced, allowed or ())

    return write


def _refuse_unlisted(origins: Origins) -> Callable[[Run], None]:
    """Return the step that refuses requests from pages of origins that are neither allowed nor the app's own."""

    def refuse(run: Run) -> None:
        origin = run.request.environ.get("HTTP_ORIGIN")
        if origin and not origins.allow(origin) and not _is_same_origin(run, origin):
            raise Denied("Pages of this origin may not send this request.", policy=Cors.kind, reason="origin")

    return refuse


def _is_same_origin(run: Run, origin: str) -> bool:
    """Return whether a page of the app itself sent the request.

    Sec-Fetch-Site decides where there is one: no page can set it, and a form of a page with ``Referrer-Policy:
    no-referrer`` is sent with the origin null.
    """
    site = run.request.environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site in ("same-origin", "none")
    return is_own_origin(run.request, origin)


cors: Cors = Cors()
