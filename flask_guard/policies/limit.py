"""`limit`: how many requests a client may make in a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

from limits.strategies import STRATEGIES

from ..callbacks import takes_request
from ..errors import ConfigError, did_you_mean
from ..policy import DenyingPolicy, Phase, Step
from ..problems import LimitExceeded, StoreUnavailable, names
from ..storage import (
    Backend,
    Charge,
    Counter,
    Standing,
    check_storage,
    lacking_room,
    parse_rates,
    rate_name,
)
from .limit_charges import Charging, charging_for
from .limit_fields import VALUE as STANDINGS
from .limit_fields import write_fields

if TYPE_CHECKING:
    from limits import RateLimitItem
    from typing_extensions import Self

    from ..applying import Exemption
    from ..plan import Place
    from ..policy import Policy
    from ..run import Run
    from ..state import AppState
    from ..typing import Enter, Mode, TargetT

RateOption: TypeAlias = "str | Callable[..., str]"
By: TypeAlias = "Literal['address', 'api_key', 'principal'] | Callable[..., object]"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
RETRY_WHEN_DOWN = 5
"""Seconds that a client is told to wait when the storage cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Limit(DenyingPolicy):
    """Limits how many requests a client may make: ``limit("10/minute")``, ``limit("2/second; 1000/day")``.

    Counted in the storage and by the strategy of Flask-Limiter's ``RATELIMIT_STORAGE_URI``, ``RATELIMIT_STRATEGY`` and
    ``RATELIMIT_STORAGE_OPTIONS``; a ``Limiter`` that the app already has is adopted. Past a limit the answer is a 429
    with ``Retry-After``; every answer carries ``RateLimit-Policy`` and ``RateLimit``
    (draft-ietf-httpapi-ratelimit-headers-11). Preflights and Flask's own answers to OPTIONS are not counted.

    The nearest limit replaces outer ones, except that a *shared* one always applies. Several on one target add up.

    :param rates: one or more rates; a client must keep within each. A callable, given the request if it takes an
        argument, returns the rate of that request; it needs an option beside it:
        ``limit(lambda: current_api_key.rate or "10/minute", by="api_key")``.
    :param by: who is counted: ``"address"`` (``request.remote_addr``, IPv6 by /64), ``"api_key"`` or ``"principal"``
        (the id of who passed ``require_auth``; each by address where there is none), or a callable, given the request
        if it takes an argument, that returns who; where it returns None or an empty string, the address counts.
    :param cost: how many requests this one counts as, or a callable that returns that.
    :param shared: a name: all that is under this limit draws on one budget. None: each endpoint has its own.
    :param methods: the methods that are counted; by default all.
    :param when: a callable; requests for which it returns false are not limited.
    :param algorithm: ``"fixed-window"``, ``"moving-window"`` or ``"sliding-window-counter"``.
    :param headers: whether to send the RateLimit fields.
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for a rate that cannot be parsed and other options that cannot be meant.
    """

    kind: ClassVar[str] = "limit"
    repeatable: ClassVar[bool] = True

    rates: tuple[RateOption, ...] = ()
    by: By = "address"
    cost: int | Callable[..., int] = 1
    shared: str | None = None
    methods: frozenset[str] | None = None
    when: Callable[..., object] | None = None
    algorithm: str | None = None
    headers: bool = True

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *rates: RateOption,
            by: By = ...,
            cost: int | Callable[..., int] = ...,
            shared: str | None = ...,
            methods: Iterable[str] | None = ...,
            when: Callable[..., object] | None = ...,
            algorithm: Literal["fixed-window", "moving-window", "sliding-window-counter"] | None = ...,
            headers: bool = ...,
            mode: Mode | None = ...,
        ) -> Limit: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        amounts = [item.amount for item in self.items()]
        if not callable(self.by) and self.by not in ("address", "api_key", "principal"):
            raise ConfigError(f"limit(by=…) must be 'address', 'api_key', 'principal' or a callable, not {self.by!r}")
        self._check_cost(amounts)
        if self.shared is not None and not (isinstance(self.shared, str) and _NAME.fullmatch(self.shared)):
            raise ConfigError(f"limit(shared=…) must be a name such as 'exports', not {self.shared!r}")
        if self.when is not None and not callable(self.when):
            raise ConfigError(f"limit(when=…) must be a callable, not {self.when!r}")
        if not isinstance(self.headers, bool):
            raise ConfigError(f"limit(headers=…) must be True or False, not {self.headers!r}")
        if self.methods is not None:
            object.__setattr__(self, "methods", _methods(self.methods))
        if self.algorithm is not None and self.algorithm not in STRATEGIES:
            raise ConfigError(f"limit(algorithm=…) must be one of {names(STRATEGIES)}, not {self.algorithm!r}")
        for callback in (self.by, self.cost, self.when, *self.rates):
            if callable(callback):
                takes_request(callback, "limit()")
        DenyingPolicy.__post_init__(self)

    def _check_cost(self, amounts: list[int]) -> None:
        if callable(self.cost):
            return
        if not isinstance(self.cost, int) or isinstance(self.cost, bool) or self.cost < 1:
            raise ConfigError(f"limit(cost=…) must be a whole number of at least 1, or a callable, not {self.cost!r}")
        if amounts and self.cost > min(amounts):
            raise ConfigError(f"limit(cost={self.cost}) never fits into a limit of {min(amounts)}")

    @property
    def phase(self) -> Phase:
        return Phase.LIMIT if self.by == "address" else Phase.QUOTA

    @property
    def joins(self) -> str:
        return self.algorithm or ""

    @property
    def keeps(self) -> bool:
        return self.shared is not None

    def refine(self, *args: Any, **options: Any) -> Self:
        if args:
            options["rates"] = args
        return super(Limit, self).refine(**options)

    def applies(self, place: Place) -> bool:
        if place.preflight or place.automatic:
            return False
        method = "GET" if place.method == "HEAD" else place.method
        if self.methods is not None and self.methods.isdisjoint((method, place.method)):
            return False
        is_static = place.endpoint is not None and place.endpoint.rpartition(".")[2] == "static"
        return self.shared is not None or not (is_static and place.scope.kind == "app")

    def check_target(self, target: object) -> None:
        if not self.rates:
            raise ConfigError("limit needs a rate: @limit('10/minute'), or @limit(callable, by='address')")

    @classmethod
    def check_config(cls, state: AppState) -> None:
        check_storage(state.app)

    def conflict_with(self, other: Policy | Exemption) -> str:
        if self == other:
            return "the same limit twice on one target counts every request twice"
        return super(Limit, self).conflict_with(other)

    def items(self) -> list[RateLimitItem]:
        """Return its fixed rates, parsed."""
        return [item for rate in self.rates if not callable(rate) for item in parse_rates(rate)]

    def rate_names(self) -> list[str]:
        """Return what the RateLimit fields call its fixed rates, unless another limit in force there has the name."""
        prefix = f"{self.shared}-" if self.shared else ""
        return [prefix + rate_name(item) for item in self.items()]

    def compile(self, place: Place) -> Step:
        backend = place.state.service(Backend)
        if not backend.enabled:
            return Step()
        group = [(self, place), *place.neighbours]
        charging = [charging_for(policy, at, backend) for policy, at in group if isinstance(policy, Limit)]
        enter = _enter(charging, backend.counter(self.algorithm), backend)
        return Step(enter, write_fields)


def _enter(charging: list[Charging], counter: Counter, backend: Backend) -> Enter:
    take = counter.take

    def enter(run: Run) -> None:
        charges: list[Charge] = []
        for charge in charging:
            charge(run, charges)
        if not charges:
            return
        try:
            taken, standings = take(charges)
        except backend.errors as error:
            raise _unavailable() from error
        run.values.setdefault(STANDINGS, []).extend(standings)
        if not taken:
            raise _exceeded(standings)

    return enter


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable(
        "The request cannot be counted just now.",
        policy=Limit.kind,
        reason="store",
        headers=[("Retry-After", str(RETRY_WHEN_DOWN))],
    )


def _exceeded(standings: list[Standing]) -> LimitExceeded:
    violated, wait = lacking_room(standings)
    return LimitExceeded(
        f"The limit of {' and '.join(rate.text for rate in violated)} is used up. Try again in {wait} s.",
        policy=Limit.kind,
        reason="exceeded",
        headers=[("Retry-After", str(wait))],
        members={"violated-policies": [rate.name for rate in violated]},
    )


def _methods(methods: Iterable[str]) -> frozenset[str]:
    listed = (methods,) if isinstance(methods, str) else tuple(methods)
    if not listed or not all(isinstance(method, str) and method.isalpha() for method in listed):
        raise ConfigError(f"limit(methods=…) must list HTTP methods such as ['POST'], not {methods!r}")
    for method in listed:
        if method.upper() not in METHODS and (hint := did_you_mean(method.upper(), METHODS)):
            raise ConfigError(f"limit(methods=…): {method!r} is not a method{hint}")
    return frozenset(method.upper() for method in listed)


limit: Limit = Limit()
