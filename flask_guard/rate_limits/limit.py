"""`limit`: the number of requests that a client may make in a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

from ..core.marks import Applicable
from ..core.policy import Policy
from ..errors import ConfigError
from ..support import options as check
from ..support.callables import of_request, of_response
from ..support.options import option
from ..support.orders import irrelevant, larger_is_stronger, none_strongest, smaller_is_stronger, unordered
from .concurrent import ConcurrencyLimit
from .in_view import LimitStatus, hit_now, peek_now
from .limit_meter import DynamicRate, limit_meter
from .metered import Meter, Metered
from .rates import Rates, exact_is_stronger, lower_is_stronger, parse_rates, rate_name
from .storage import Backend, Budget
from .storage.algorithms import FIXED, TokenBucket
from .storage.backend import DEFAULT_STRATEGY
from .storage.budgets import ALGORITHMS, check_amounts

if TYPE_CHECKING:
    from limits import RateLimitItem
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..typing import Mode, Response, TargetT
    from .identity import By
    from .settings import OnStoreError

Rate: TypeAlias = "str | Callable[..., str]"
Algorithm: TypeAlias = Literal["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


def _rates(rates: tuple[Rate, ...], what: str) -> tuple[Rates | Callable[..., str], ...]:
    return tuple(of_request(each, what) if callable(each) else parse_rates(each, what) for each in rates)


def _cost(cost: int | Callable[..., int], what: str) -> int | Callable[..., int]:
    return of_request(cost, what) if callable(cost) else check.whole_number(1)(cost, what)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Limit(Metered):
    """Limits the number of requests that a client may make: ``limit("10/minute")``, ``limit("2/second; 1000/day")``.

    Counted in the storage and by the strategy of Flask-Limiter's ``RATELIMIT_STORAGE_URI``, ``RATELIMIT_STRATEGY`` and
    ``RATELIMIT_STORAGE_OPTIONS``. A ``Limiter`` that the app already has is adopted. Past a limit the answer is a 429
    with ``Retry-After``. Every answer carries ``RateLimit-Policy`` and ``RateLimit``
    (draft-ietf-httpapi-ratelimit-headers-11), or the fields of ``GUARD_RATELIMIT_HEADERS``. Preflights and Flask's own
    answers to OPTIONS are not counted.

    All limits of a request that act next to each other are tested and charged in one step: either each has room and
    all are charged, or none is. A limit by key acts after the authentication and so in a step of its own.

    ``limit("10/second", burst=50, algorithm="token-bucket")`` lets requests through at that rate, and 50 at once after
    a pause. No window ends, so nobody gains from waiting for its end.

    The nearest limit replaces outer ones, except that a *shared* one always applies. Several on one target add up.

    Inside a view, ``limit("3/hour", shared="exports").hit()`` counts then and there and denies past the limit,
    ``.peek()`` only tells, and ``with limit(…):`` does the same as ``hit``.
    """

    kind: ClassVar[str] = "limit"
    in_a_view: ClassVar[str] = "limit(…).hit(), or 'with limit(…):'"
    concurrent: ClassVar[ConcurrencyLimit] = ConcurrencyLimit()

    rates: tuple[Rates | Callable[..., str], ...] = option((), _rates, lower_is_stronger)
    cost: int | Callable[..., int] = option(1, _cost, larger_is_stronger)
    deduct_when: Callable[[Response], object] | None = option(
        None, check.optional(of_response), none_strongest(unordered)
    )
    algorithm: str | None = option(None, check.optional(check.one_of(*ALGORITHMS, TokenBucket.name)), exact_is_stronger)
    burst: int | None = option(None, check.optional(check.whole_number(1)), smaller_is_stronger)
    batch: int | None = option(None, check.optional(check.whole_number(1)), irrelevant)
    headers: bool = option(True, check.flag, irrelevant)
    partition_key: bool = option(False, check.flag, irrelevant)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *rates: Rate,
        by: By = "address",
        cost: int | Callable[..., int] = 1,
        shared: str | None = None,
        methods: Iterable[str] | None = None,
        when: Callable[..., object] | None = None,
        deduct_when: Callable[[Response], object] | None = None,
        algorithm: Algorithm | None = None,
        burst: int | None = None,
        batch: int | None = None,
        on_store_error: OnStoreError | None = None,
        headers: bool = True,
        partition_key: bool = False,
        mode: Mode | None = None,
    ) -> Limit: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param rates: one or more rates; a client must keep within each. A callable returns the rate of a request. It is
            given the request if it takes an argument, and needs an option beside it:
            ``limit(lambda: current_api_key.rate or "10/minute", by="api_key")``.
        :param by: the identity that is counted: ``"address"`` (``request.remote_addr``, IPv6 by /64), ``"api_key"``,
            ``"principal"`` (the id of the caller that passed ``require_auth``), a callable, given the request if it
            takes an argument, or a tuple of these. The address stands in for an identity that is missing, and for a
            callable that returns None or an empty string, or fails.
        :param cost: the number of requests that this one counts as, or a callable that returns the number.
        :param shared: a name: everything under this limit draws on one budget. None: each endpoint has its own.
        :param methods: the methods that are counted; by default all.
        :param when: a callable; requests for which it returns false are not limited.
        :param deduct_when: a callable that is given the response. All requests are tested, but only requests for which
            it returns true are charged, such as failed logins. As the response comes late, requests at the same moment
            may exceed the limit.
        :param algorithm: ``"fixed-window"``, ``"moving-window"``, ``"sliding-window-counter"`` or ``"token-bucket"``.
            By default ``RATELIMIT_STRATEGY``, which knows the first three.
        :param burst: of a token bucket, the number of requests that fit at once after a pause; by default the number of
            the rate.
        :param batch: the units that a worker may take at once from Redis or SQLite, and spend in memory. A worker takes
            fewer where few are left, and gives unspent units back after a second. The units of a killed worker stay
            unused until their window ends. The option is for fixed windows, and no more than the rate is let through.
            The rest in the RateLimit fields is up to a second old. In memory the option changes nothing.
        :param on_store_error: the treatment of requests while the storage is unreachable: ``"local"`` (counted in this
            process), ``"allow"`` or ``"deny"`` (503). By default ``GUARD_ON_STORE_ERROR``, and else ``"local"``.
        :param headers: whether to send the RateLimit fields.
        :param partition_key: whether the fields name the client: ``pk``, a hash of the identity.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a rate that cannot be parsed and other invalid options.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        super(Limit, self).__post_init__()
        items = self.items()
        if len(set(items)) < len(items):
            raise ConfigError(f"limit({', '.join(map(repr, self.rates))}) has one rate twice, which would count twice")
        self._check_burst()
        self._check_batch()
        if self.algorithm is not None:
            check_amounts(items, self.algorithm, self.burst)
        most = min([self.burst or item.amount for item in items], default=None)
        if most is not None and not callable(self.cost) and self.cost > most:
            raise ConfigError(f"limit(cost={self.cost}) never fits into a limit of {most}")

    def _check_burst(self) -> None:
        if self.burst is None:
            return
        if self.algorithm != TokenBucket.name:
            raise ConfigError(
                f"limit(burst={self.burst}) is for a token bucket: write algorithm={TokenBucket.name!r} beside it, or"
                " leave burst out"
            )
        if len(self.items()) > 1 or len(self.rates) > 1:
            raise ConfigError(
                f"limit(burst={self.burst}) is for one rate, and there are several: write a limit for each rate"
            )

    def _check_batch(self) -> None:
        if self.batch is None:
            return
        if self.algorithm not in (None, FIXED.name):
            raise ConfigError(
                f"limit(batch={self.batch}, algorithm={self.algorithm!r}) could let too much through, as units that are"
                f" taken ahead are spent later: write algorithm={FIXED.name!r}, or leave batch out"
            )
        most = max([item.amount for item in self.items()], default=None)
        if most is not None and self.batch > most:
            raise ConfigError(f"limit(batch={self.batch}) is more than a limit of {most} has: write a smaller batch")
        if not callable(self.cost) and 1 < self.batch <= self.cost:
            raise ConfigError(
                f"limit(batch={self.batch}, cost={self.cost}) takes the units of one request at a time, as without"
                f" batch: write a batch of several requests, such as {10 * self.cost}"
            )

    def refine(self, *args: Any, **options: Any) -> Self:
        if args:
            options["rates"] = args
        return super(Limit, self).refine(**options)

    def check_target(self, target: object) -> None:
        if not self.rates:
            raise ConfigError("limit needs a rate: @limit('10/minute'), or @limit(callable, by='address')")

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        backend = state.service(Backend)
        algorithm = backend.algorithm(self.algorithm) if backend.enabled else self.algorithm
        return {**Metered.plain_options_in(self, state), "algorithm": algorithm}

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        return {**super(Limit, cls).default_options(), "algorithm": DEFAULT_STRATEGY}

    def check_app(self, state: AppState) -> None:
        if self.algorithm is not None:
            self.check_shared(self.algorithm, state.resource(_algorithms_of_shared))
        if self.algorithm == TokenBucket.name and (backend := state.service(Backend)).enabled:
            backend.algorithm(self.algorithm)
        if self.batch is not None and (backend := state.service(Backend)).enabled:
            backend.check_batches(f"limit(batch={self.batch})", self.algorithm)

    def check_shared(self, algorithm: str, known: dict[str, str]) -> None:
        """Raise ConfigError if its shared budget is known to be counted by another algorithm."""
        if self.shared is not None and (elsewhere := known.setdefault(self.shared, algorithm)) != algorithm:
            raise ConfigError(
                f"limit(shared={self.shared!r}) is counted by {algorithm!r} here and by {elsewhere!r} elsewhere. One"
                " budget is counted in one way: give both the same algorithm, or another name"
            )

    def conflict_with(self, other: Applicable) -> str:
        if self == other:
            return "the same limit twice on one target counts every request twice"
        return super(Limit, self).conflict_with(other)

    def items(self) -> list[RateLimitItem]:
        """Return its fixed rates, parsed."""
        return [item for rate in self.rates if isinstance(rate, Rates) for item in rate.items]

    def names(self) -> list[str]:
        return [self.named(item) for item in self.items()]

    def named(self, item: RateLimitItem) -> str:
        """Return the name of a rate in the RateLimit fields."""
        name = rate_name(item, self.burst)
        return f"{self.shared}-{name}" if self.shared else name

    def check_inline(self) -> None:
        super(Limit, self).check_inline()
        if self.deduct_when is not None:
            raise ConfigError("limit(deduct_when=…) is for decorators; a view that calls hit() knows whether to")

    def meter(self, scope: str, names: list[str], backend: Backend) -> Meter:
        self.check_shared(backend.algorithm(self.algorithm), backend.algorithms_of_shared)
        if self.batch is not None:
            backend.check_batches(f"limit(batch={self.batch})", self.algorithm)
        is_batched = (self.batch or 0) > 1

        def budget(item: RateLimitItem, name: str) -> Budget:
            return replace(
                backend.rate_budget(item, scope, self.algorithm, self.burst),
                name=name,
                shown=self.headers,
                partitioned=self.partition_key,
                on_error=self.on_store_error or backend.on_store_error,
                batch=self.batch if self.batch is not None and is_batched else 0,
            )

        budgets = [budget(item, name) for item, name in zip(self.items(), names, strict=True)]
        dynamic = [
            DynamicRate(rate, lambda item: budget(item, self.named(item)), is_for_one=self.burst is not None)
            for rate in self.rates
            if callable(rate)
        ]
        counter = backend.batched if is_batched else backend.counter
        meter = limit_meter(budgets, dynamic, self.client_finder(), self.cost, self.deduct_when, counter)
        return replace(meter, batched=is_batched)

    # Inside a view ---------------------------------------------------------------------------------------------------

    def hit(self, *, cost: int | None = None) -> LimitStatus:
        """Count the current request, and deny it past the limit.

        :param cost: the number of requests that it counts as; by default as the policy says.
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
    """Return the algorithms that limits name for an app's shared budgets, by the names of these."""
    return {}


limit: Limit = Limit()
