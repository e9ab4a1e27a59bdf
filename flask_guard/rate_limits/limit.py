"""`limit`: how many requests a client may make in a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

from limits.strategies import STRATEGIES

from ..core.marks import Applicable
from ..core.policy import Placed
from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.text import names
from .concurrent import ConcurrencyLimit
from .in_view import LimitStatus, hit_now, peek_now
from .limit_meter import limit_meter, takes_response
from .metered import Meter, Metered
from .storage import parse_rates, rate_name

if TYPE_CHECKING:
    from limits import RateLimitItem
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.policy import Target
    from ..typing import Mode, Response, TargetT
    from .concern import OnStoreError
    from .identity import By
    from .storage import Backend

RateOption: TypeAlias = "str | Callable[..., str]"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Limit(Metered):
    """Limits how many requests a client may make: ``limit("10/minute")``, ``limit("2/second; 1000/day")``.

    Counted in the storage and by the strategy of Flask-Limiter's ``RATELIMIT_STORAGE_URI``, ``RATELIMIT_STRATEGY`` and
    ``RATELIMIT_STORAGE_OPTIONS``; a ``Limiter`` that the app already has is adopted. Past a limit the answer is a 429
    with ``Retry-After``; every answer carries ``RateLimit-Policy`` and ``RateLimit``
    (draft-ietf-httpapi-ratelimit-headers-11), or what ``GUARD_RATELIMIT_HEADERS`` says. Preflights and Flask's own
    answers to OPTIONS are not counted.

    All limits of a request that act next to each other are tested and charged in one step: either each has room and
    all are charged, or none is. A limit by key acts after the authentication and so in a step of its own.

    The nearest limit replaces outer ones, except that a *shared* one always applies. Several on one target add up.

    Inside a view, ``limit("3/hour", shared="exports").hit()`` counts then and there and denies past the limit,
    ``.peek()`` only tells, and ``with limit(…):`` does what ``hit`` does.

    :param rates: one or more rates; a client must keep within each. A callable, given the request if it takes an
        argument, returns the rate of that request; it needs an option beside it:
        ``limit(lambda: current_api_key.rate or "10/minute", by="api_key")``.
    :param by: who is counted: ``"address"`` (``request.remote_addr``, IPv6 by /64), ``"api_key"`` or ``"principal"``
        (the id of who passed ``require_auth``; each by address where there is none), a callable, given the request
        if it takes an argument, that returns who, or a tuple of these. Where the callable returns None or an empty
        string, or fails, the address counts.
    :param cost: how many requests this one counts as, or a callable that returns that.
    :param shared: a name: all that is under this limit draws on one budget. None: each endpoint has its own.
    :param methods: the methods that are counted; by default all.
    :param when: a callable; requests for which it returns false are not limited.
    :param deduct_when: a callable that is given the response; only requests for which it returns true are charged,
        such as failed logins. All are tested. As it is known late, requests at the same moment may exceed the limit.
    :param algorithm: ``"fixed-window"``, ``"moving-window"`` or ``"sliding-window-counter"``.
    :param on_store_error: what becomes of requests while the storage cannot be asked: ``"local"`` (they are counted in
        this process), ``"allow"`` or ``"deny"`` (503); by default ``GUARD_ON_STORE_ERROR``, and ``"local"``.
    :param headers: whether to send the RateLimit fields.
    :param partition_key: whether these say which client they are about: ``pk``, a hash of who is counted.
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for a rate that cannot be parsed and other options that cannot be meant.
    """

    kind: ClassVar[str] = "limit"
    repeatable: ClassVar[bool] = True
    concurrent: ClassVar[ConcurrencyLimit] = ConcurrencyLimit()

    rates: tuple[RateOption, ...] = ()
    cost: int | Callable[..., int] = 1
    deduct_when: Callable[[Response], object] | None = None
    algorithm: str | None = None
    headers: bool = True
    partition_key: bool = False

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
            deduct_when: Callable[[Response], object] | None = ...,
            algorithm: Literal["fixed-window", "moving-window", "sliding-window-counter"] | None = ...,
            on_store_error: OnStoreError | None = ...,
            headers: bool = ...,
            partition_key: bool = ...,
            mode: Mode | None = ...,
        ) -> Limit: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        items = self.items()
        self._check_cost([item.amount for item in items])
        if len(set(items)) < len(items):
            raise ConfigError(f"limit({', '.join(map(repr, self.rates))}) has one rate twice, which would count twice")
        for option in ("headers", "partition_key"):
            if not isinstance(getattr(self, option), bool):
                raise ConfigError(f"limit({option}=…) must be True or False, not {getattr(self, option)!r}")
        if self.deduct_when is not None:
            if not callable(self.deduct_when):
                raise ConfigError(f"limit(deduct_when=…) must be a callable, not {self.deduct_when!r}")
            takes_response(self.deduct_when, "limit(deduct_when=…)")
        if self.algorithm is not None and self.algorithm not in STRATEGIES:
            raise ConfigError(f"limit(algorithm=…) must be one of {names(STRATEGIES)}, not {self.algorithm!r}")
        if callable(self.cost):
            takes_request(self.cost, "limit(cost=…)")
        for rate in self.rates:
            if callable(rate):
                takes_request(rate, "limit(rate)")
        Metered.__post_init__(self)

    def _check_cost(self, amounts: list[int]) -> None:
        if callable(self.cost):
            return
        if not isinstance(self.cost, int) or isinstance(self.cost, bool) or self.cost < 1:
            raise ConfigError(f"limit(cost=…) must be a whole number of at least 1, or a callable, not {self.cost!r}")
        if amounts and self.cost > min(amounts):
            raise ConfigError(f"limit(cost={self.cost}) never fits into a limit of {min(amounts)}")

    def refine(self, *args: Any, **options: Any) -> Self:
        if args:
            options["rates"] = args
        return super(Limit, self).refine(**options)

    def check_target(self, target: object) -> None:
        if not self.rates:
            raise ConfigError("limit needs a rate: @limit('10/minute'), or @limit(callable, by='address')")

    def check_app(self, state: AppState) -> None:
        if self.shared is None:
            return
        strategy = state.app.config.get("RATELIMIT_STRATEGY") or "fixed-window"
        here = self.algorithm or strategy
        elsewhere = state.resource(_algorithms_of_shared).setdefault(self.shared, here)
        if here != elsewhere:
            raise ConfigError(
                f"limit(shared={self.shared!r}) is counted by {here!r} here and by {elsewhere!r} elsewhere; what is one"
                " budget is counted in one way: give both the same algorithm, or another name"
            )

    def conflict_with(self, other: Applicable) -> str:
        if self == other:
            return "the same limit twice on one target counts every request twice"
        return super(Limit, self).conflict_with(other)

    def items(self) -> list[RateLimitItem]:
        """Return its fixed rates, parsed."""
        return [item for rate in self.rates if not callable(rate) for item in parse_rates(rate)]

    @property
    def name_prefix(self) -> str:
        """Return what the names of its rates begin with."""
        return f"{self.shared}-" if self.shared else ""

    def rate_names(self) -> list[str]:
        """Return what the RateLimit fields call its fixed rates, unless another limit in force there has the name."""
        return [self.name_prefix + rate_name(item) for item in self.items()]

    def meter(self, target: Target, placed: Placed, backend: Backend) -> Meter:
        taken = Counter(name for each in placed.earlier if isinstance(each, Limit) for name in each.rate_names())
        distinct = []
        for name in self.rate_names():
            taken[name] += 1
            distinct.append(f"{name}-{taken[name]}" if taken[name] > 1 else name)
        return limit_meter(self, self.own_scope(target, placed), distinct, backend)

    def meter_in(self, scope: str, backend: Backend) -> Meter:
        """Return what it does inside a view."""
        return limit_meter(self, scope, self.rate_names(), backend)

    def check_inline(self) -> None:
        """Raise ConfigError if it cannot be used inside a view."""
        self.check_target(None)
        if self.deduct_when is not None:
            raise ConfigError("limit(deduct_when=…) is for decorators; a view that calls hit() knows whether to")

    # Inside a view ---------------------------------------------------------------------------------------------------

    def hit(self, *, cost: int | None = None) -> LimitStatus:
        """Count the current request, and deny it past the limit.

        :param cost: how many requests it counts as; by default as the policy says.
        :raises LimitExceeded: past the limit; Flask makes the 429 of it.
        :raises NotGuarded: if the app has no Guard.
        :raises RuntimeError: outside a request.
        """
        return hit_now(self, cost)

    def peek(self) -> LimitStatus:
        """Return where the client of the current request stands, without counting it.

        :raises NotGuarded: if the app has no Guard.
        :raises RuntimeError: outside a request.
        """
        return peek_now(self)

    def __enter__(self) -> LimitStatus:
        return hit_now(self)

    def __exit__(self, *_error: object) -> None:
        """Do nothing: what was counted stays counted."""


def _algorithms_of_shared(_state: AppState) -> dict[str, str]:
    """Return the algorithms of an app's shared budgets, by name."""
    return {}


limit: Limit = Limit()
