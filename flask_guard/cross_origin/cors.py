"""`cors`: let pages of other origins call an endpoint (Fetch, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, overload

from ..core.policy import Phase, Policy, Step
from ..errors import ConfigError
from ..support.header_fields import check_value
from .concern import ORIGINS
from .origins import ANY, Origins, parse_origins
from .response_headers import Engine

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Response, TargetT

OriginsOption: TypeAlias = "str | re.Pattern[str] | Iterable[str | re.Pattern[str]]"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cors(Policy):
    """Lets pages of other origins call an endpoint: ``cors(origins="https://app.example.com")``.

    Preflights are answered before any other policy asks for anything, with the policy of the endpoint that they are
    about, and the headers are on every response, errors included, so that the page can read those. The headers are
    computed by Flask-CORS.

    :param origins: the origins to allow, exact: scheme, host and port, without a path. ``"*"`` allows all. A compiled
        pattern must match a whole origin. ``"null"`` only allows the null origin. By default ``GUARD_CORS_ORIGINS``.
    :param methods: the methods to allow; by default those of the route.
    :param allow_headers: the request headers to allow. ``"*"`` allows all but ``Authorization``, which must be named.
    :param expose_headers: the response headers that the page may read.
    :param credentials: whether requests may carry cookies and the like.
    :param max_age: for how many seconds (or a timedelta) browsers may remember a preflight; None to leave it to them.
    :raises ConfigError: for a malformed origin and for ``"*"`` with credentials; and, once the app is known, if there
        are no origins anywhere.
    """

    kind: ClassVar[str] = "cors"
    phase: ClassVar[Phase] = Phase.CORS
    answers_preflights: ClassVar[bool] = True

    origins: Any = None
    methods: tuple[str, ...] | None = None
    allow_headers: tuple[str, ...] = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID")
    expose_headers: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int | None = 600

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *,
            origins: OriginsOption | None = ...,
            methods: str | Iterable[str] | None = ...,
            allow_headers: str | Iterable[str] = ...,
            expose_headers: str | Iterable[str] = ...,
            credentials: bool = ...,
            max_age: int | timedelta | None = ...,
        ) -> Cors: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if self.origins is not None:
            origins = parse_origins(self.origins, "cors(origins=…)")
            object.__setattr__(self, "origins", origins)
            self._check_credentials(origins)
        if self.methods is not None:
            methods = tuple(method.upper() for method in _tokens(self.methods, "methods"))
            object.__setattr__(self, "methods", methods)
        object.__setattr__(self, "allow_headers", _tokens(self.allow_headers, "allow_headers"))
        object.__setattr__(self, "expose_headers", _tokens(self.expose_headers, "expose_headers"))
        if not isinstance(self.credentials, bool):
            raise ConfigError(f"cors(credentials=…) must be True or False, not {self.credentials!r}")
        if self.credentials and "*" in self.expose_headers:
            raise ConfigError("cors(expose_headers='*') means nothing with credentials; name the headers")
        object.__setattr__(self, "max_age", _seconds(self.max_age))

    def _check_credentials(self, origins: Origins) -> None:
        if self.credentials and origins is ANY:
            raise ConfigError(
                "cors(origins='*', credentials=True) would let every site act as the user, and browsers refuse it."
                " List the origins"
            )

    def origins_in(self, state: AppState) -> Origins:
        """Return its own origins, or the app's.

        :raises ConfigError: if there are none, or they do not go with the other options.
        """
        if self.origins is not None:
            return self.origins  # type: ignore[no-any-return]
        origins = state.config[ORIGINS]
        if origins is None:
            raise ConfigError(
                "cors has no origins: write cors(origins=['https://app.example.com']) or set GUARD_CORS_ORIGINS"
                " (and '*' to let every site in)"
            )
        self._check_credentials(origins)
        return origins

    def check_app(self, state: AppState) -> None:
        self.origins_in(state)

    def compile(self, target: Target) -> Step:
        engine = Engine(
            self.origins_in(target.state),
            allow_headers=self.allow_headers,
            expose_headers=self.expose_headers,
            credentials=self.credentials,
            max_age=self.max_age,
        )
        if not target.preflight:
            return Step(leave=engine.write)
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


def _tokens(value: object, option: str) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    for each in values:
        if not isinstance(each, str) or not _TOKEN.fullmatch(each):
            raise ConfigError(f"cors({option}=…): {each!r} is not a name; list them: ['Content-Type', 'X-API-Key']")
        check_value(each, f"cors({option}=…)")
    if value is not None and not values and not isinstance(value, Iterable):
        raise ConfigError(f"cors({option}=…) must list names, not {value!r}")
    return values


def _seconds(value: object) -> int | None:
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigError(f"cors(max_age=…) must be seconds, a timedelta or None, not {value!r}")
    return value


cors: Cors = Cors()
