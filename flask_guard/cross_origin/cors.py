"""`cors`: let pages of other origins call an endpoint (Fetch, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, overload

from ..core.policy import Phase, Policy, Step
from ..errors import ConfigError
from ..support import options as check
from ..support.header_fields import check_names
from ..support.options import option
from .concern import ORIGINS
from .origins import ANY, Origins, ignoring_case, parse_origins
from .others import OtherHooks, other_is_nearer
from .response_headers import Engine

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.policy import Placed, Scope, Target
    from ..core.request_run import Run
    from ..typing import Response, TargetT

OriginsOption: TypeAlias = "str | re.Pattern[str] | Iterable[str | re.Pattern[str]]"
HeadersOption: TypeAlias = "str | re.Pattern[str] | Iterable[str | re.Pattern[str]]"

HINTS: Mapping[str, str] = MappingProxyType(
    {
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
        "allow_private_network": "leave it out: browsers ask the user now (Local Network Access)",
    }
)
"""What to write in place of an option of Flask-CORS, Flask-RESTX or Starlette."""


_LIKE_A_PATTERN = re.compile(r"[*+^$|]")
"""Characters that the name of a header may have (RFC 9110, section 5.6.2) and that no name has."""


def _methods(value: object, what: str) -> tuple[str, ...]:
    """Check for the names of methods."""
    found = check_names(value, what)
    if "*" in found:
        raise ConfigError(f"{what} takes names of methods, not '*'. Leave it out to allow the methods of the route")
    return tuple(method.upper() for method in found)


def _header_names(value: object, what: str) -> tuple[str | re.Pattern[str], ...]:
    """Check for the names of request headers, and patterns of names."""
    found = check.listed(value)
    for each in check_names([each for each in found if not isinstance(each, re.Pattern)], what):
        if each != "*" and _LIKE_A_PATTERN.search(each):
            raise ConfigError(f"{what}: {each!r} is compared as it is. For a pattern, write re.compile({each!r})")
    return tuple(ignoring_case(each, what) if isinstance(each, re.Pattern) else each for each in found)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cors(Policy):
    """Let pages of other origins call an endpoint: ``cors(origins="https://app.example.com")``.

    A preflight is answered before any other policy asks for anything, with the policy of the endpoint that it is about.
    The headers are on every response, errors included, so that the page can read those. Flask-CORS computes them.
    """

    kind: ClassVar[str] = "cors"
    phase: ClassVar[Phase] = Phase.CORS
    answers_preflights: ClassVar[bool] = True

    origins: Origins | None = option(None, check.optional(parse_origins))
    methods: tuple[str, ...] | None = option(None, check.optional(_methods))
    allow_headers: tuple[str | re.Pattern[str], ...] = option(
        ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"), _header_names
    )
    expose_headers: tuple[str, ...] = option((), check_names)
    credentials: bool = option(False, check.flag)
    max_age: int | None = option(600, check.optional(check.whole_seconds))

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        origins: OriginsOption | None = None,
        methods: str | Iterable[str] | None = None,
        allow_headers: HeadersOption = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
        expose_headers: str | Iterable[str] = (),
        credentials: bool = False,
        max_age: int | timedelta | None = 600,
    ) -> Cors: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param origins: the origins to allow. A string is exact: scheme, host and port, without a path. A compiled
            pattern must match the whole origin. ``"*"`` allows all, and only ``"null"`` allows the null origin. By
            default ``GUARD_CORS_ORIGINS``.
        :param methods: the methods to allow; by default those of the route.
        :param allow_headers: the request headers to allow: names, and compiled patterns that must match a whole name.
            ``"*"`` allows all but ``Authorization``, which must be named.
        :param expose_headers: the response headers that the page may read.
        :param credentials: whether requests may carry cookies and other credentials.
        :param max_age: for how many seconds (or a timedelta) browsers may remember a preflight; None to leave it to
            them.
        :raises ConfigError: for a malformed origin, method or header name, and for ``"*"`` with credentials. Where the
            policy is applied, also if there are no origins at all.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if self.origins is not None:
            self._check_credentials(self.origins)
        if self.credentials and "*" in self.expose_headers:
            raise ConfigError("cors(expose_headers='*') has no effect with credentials. Name the headers")

    def _check_credentials(self, origins: Origins) -> None:
        if self.credentials and origins is ANY:
            raise ConfigError(
                "cors(origins='*', credentials=True) would let every site act as the user, and browsers refuse it."
                " List the origins"
            )

    def hint(self, option: str) -> str:
        return f"; {HINTS[option]}" if option in HINTS else ""

    def origins_in(self, state: AppState) -> Origins:
        """Return its own origins, or the app's.

        :raises ConfigError: if there are none, or they contradict the other options.
        """
        origins = state.config[ORIGINS] if self.origins is None else self.origins
        if origins is None:
            raise ConfigError(
                "cors has no origins: write cors(origins=['https://app.example.com']) or set GUARD_CORS_ORIGINS"
                " (and '*' to allow every site)"
            )
        self._check_credentials(origins)
        return origins

    def check_app(self, state: AppState) -> None:
        self.origins_in(state)
        state.resource(OtherHooks)

    def applies(self, target: Target, scope: Scope) -> bool:
        return not other_is_nearer(target, scope)

    def compile_joined(self, target: Target, group: tuple[Placed, ...]) -> Step:
        engine = Engine(
            self.origins_in(target.state),
            allow_headers=self.allow_headers,
            expose_headers=self.expose_headers,
            credentials=self.credentials,
            max_age=self.max_age,
        )
        if target.preflight:
            return self._compile_preflight(target, engine)
        return Step(leave=target.state.resource(OtherHooks).step(engine, group[0].place))

    def _compile_preflight(self, target: Target, engine: Engine) -> Step:
        methods, has_path = self.methods, target.endpoint is not None
        response_class = target.app.response_class

        def answer(_run: Run) -> Response | None:
            if not has_path:
                return None
            response = response_class(status=204)
            del response.headers["Content-Type"]
            return response

        def write(run: Run, response: Response) -> None:
            rule = run.rule
            allowed = (
                methods if rule is None or methods is not None else tuple(sorted((rule.methods or set()) - {"OPTIONS"}))
            )
            engine.write_preflight(run, response, allowed if rule is not None else None)

        return Step(answer, write)


cors: Cors = Cors()
