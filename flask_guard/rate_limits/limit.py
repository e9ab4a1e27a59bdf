"""`limit`: the number of requests that a client may make in a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

from limits.strategies import STRATEGIES

from ..core.marks import Applicable
from ..core.policy import Policy
from ..core.request_run import Leave, Slot
from ..errors import ConfigError
from ..support import options as check
from ..support.callables import of_request, of_response, takes_request
from ..support.options import option
from .charge import METERED, was_refused, whole_cost
from .concurrent import ConcurrencyLimit
from .fields import STANDINGS
from .in_view import LimitStatus, hit_now, peek_now
from .metered import Meter, Metered
from .rates import Rates, parse_rates, rate_name
from .storage import Backend, Budget, Charge, StoreDown, rate_budget

if TYPE_CHECKING:
    from limits import RateLimitItem
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.request_run import Run
    from ..typing import Mode, Response, TargetT
    from .concern import OnStoreError
    from .identity import By

log: logging.Logger = logging.getLogger("flask_guard")

Rate: TypeAlias = "str | Callable[..., str]"
Algorithm: TypeAlias = Literal["fixed-window", "moving-window", "sliding-window-counter"]

MOST_PARSED = 1000
"""Distinct texts of a dynamic rate that are kept parsed."""

_LATER: Slot[dict[object, list[Charge]]] = Slot("limit.later")
"""The charges that depend on the response."""


def _rates(rates: tuple[Rate, ...], what: str) -> tuple[Rates | Callable[..., str], ...]:
    """Check for rates; return them parsed."""
    return tuple(of_request(each, what) if callable(each) else parse_rates(each, what) for each in rates)


def _cost(cost: int | Callable[..., int], what: str) -> int | Callable[..., int]:
    """Check for a cost, or a callable."""
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

    The nearest limit replaces outer ones, except that a *shared* one always applies. Several on one target add up.

    Inside a view, ``limit("3/hour", shared="exports").hit()`` counts then and there and denies past the limit,
    ``.peek()`` only tells, and ``with limit(…):`` does the same as ``hit``.
    """

    kind: ClassVar[str] = "limit"
    concurrent: ClassVar[ConcurrencyLimit] = ConcurrencyLimit()

    rates: tuple[Rates | Callable[..., str], ...] = option((), _rates)
    cost: int | Callable[..., int] = option(1, _cost)
    deduct_when: Callable[[Response], object] | None = option(None, check.optional(of_response))
    algorithm: str | None = option(None, check.optional(check.one_of(*STRATEGIES)))
    headers: bool = option(True, check.flag)
    partition_key: bool = option(False, check.flag)

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
        on_store_error: OnStoreError | None = None,
        headers: bool = True,
        partition_key: bool = False,
        mode: Mode | None = None,
    ) -> Limit: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param rates: one or more rates; a client must keep within each. A callable, given the request if it takes an
            argument, returns the rate of that request; it needs an option beside it:
            ``limit(lambda: current_api_key.rate or "10/minute", by="api_key")``.
        :param by: the identity that is counted: ``"address"`` (``request.remote_addr``, IPv6 by /64), ``"api_key"``,
            ``"principal"`` (the id of the caller that passed ``require_auth``), a callable, given the request if it
            takes an argument, or a tuple of these. The address stands in for an identity that is missing, and for a
            callable that returns None or an empty string, or fails.
        :param cost: the number of requests that this one counts as, or a callable that returns the number.
        :param shared: a name: everything under this limit draws on one budget. None: each endpoint has its own.
        :param methods: the methods that are counted; by default all.
        :param when: a callable; requests for which it returns false are not limited.
        :param deduct_when: a callable that is given the response; only requests for which it returns true are charged,
            such as failed logins. All are tested. As the response comes late, requests at the same moment may exceed
            the limit.
        :param algorithm: ``"fixed-window"``, ``"moving-window"`` or ``"sliding-window-counter"``; by default
            ``RATELIMIT_STRATEGY``.
        :param on_store_error: what becomes of requests while the storage is unreachable: ``"local"`` (they are counted
            in this process), ``"allow"`` or ``"deny"`` (503); by default ``GUARD_ON_STORE_ERROR``, and ``"local"``.
        :param headers: whether to send the RateLimit fields.
        :param partition_key: whether these name the client: ``pk``, a hash of the identity.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a rate that cannot be parsed and other invalid options.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        super(Limit, self).__post_init__()
        items = self.items()
        if len(set(items)) < len(items):
            raise ConfigError(f"limit({', '.join(map(repr, self.rates))}) has one rate twice, which would count twice")
        if not callable(self.cost) and items and self.cost > min(item.amount for item in items):
            raise ConfigError(
                f"limit(cost={self.cost}) never fits into a limit of {min(item.amount for item in items)}"
            )

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
                f"limit(shared={self.shared!r}) is counted by {here!r} here and by {elsewhere!r} elsewhere. One budget"
                " is counted in one way: give both the same algorithm, or another name"
            )

    def conflict_with(self, other: Applicable) -> str:
        if self == other:
            return "the same limit twice on one target counts every request twice"
        return super(Limit, self).conflict_with(other)

    def items(self) -> list[RateLimitItem]:
        """Return its fixed rates, parsed."""
        return [item for rate in self.rates if isinstance(rate, Rates) for item in rate.items]

    def names(self) -> list[str]:
        return [self._named(item) for item in self.items()]

    def _named(self, item: RateLimitItem) -> str:
        return f"{self.shared}-{rate_name(item)}" if self.shared else rate_name(item)

    def check_inline(self) -> None:
        self.check_target(None)
        if self.deduct_when is not None:
            raise ConfigError("limit(deduct_when=…) is for decorators; a view that calls hit() knows whether to")

    def meter(self, scope: str, names: list[str], backend: Backend) -> Meter:
        budgets = [self._budget(item, name, scope, backend) for item, name in zip(self.items(), names, strict=True)]
        dynamic = [
            _DynamicRate(rate, lambda item: self._budget(item, self._named(item), scope, backend))
            for rate in self.rates
            if callable(rate)
        ]
        client_of, deducted_later = self.client_finder(), self.deduct_when is not None
        if not dynamic and not deducted_later and not callable(self.cost):
            return Meter(_fixed_charge(budgets, client_of, self.cost))
        cost_of = _cost_finder(self.cost)

        def charge(run: Run, charges: list[Charge]) -> None:
            client = client_of(run)
            if client is not None:
                cost = cost_of(run)
                deduct = 0 if deducted_later else cost
                due = _with_dynamic(budgets, dynamic, run) if dynamic else budgets
                found = [(budget, client, cost, deduct) for budget in due]
                charges.extend(found)
                if deducted_later:
                    _LATER.made(run, dict)[charge] = found

        return Meter(charge, _deduct_later(self.deduct_when, charge, backend) if self.deduct_when else None)

    def _budget(self, item: RateLimitItem, name: str, scope: str, backend: Backend) -> Budget:
        return replace(
            rate_budget(item, backend.key_prefix + scope, backend.algorithm(self.algorithm)),
            name=name,
            shown=self.headers,
            partitioned=self.partition_key,
            on_error=self.on_store_error or backend.on_store_error,
        )

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
    """Return the algorithms of an app's shared budgets, by name."""
    return {}


def _fixed_charge(
    budgets: list[Budget], client_of: Callable[[Run], str | None], cost: int
) -> Callable[[Run, list[Charge]], None]:
    """Return the function that charges `cost` to `budgets`: the usual case."""

    def charge(run: Run, charges: list[Charge]) -> None:
        client = client_of(run)
        if client is not None:
            charges += [(budget, client, cost, cost) for budget in budgets]

    return charge


# Rates and costs that the request decides ----------------------------------------------------------------------------


class _DynamicRate:
    """A rate that a callable gives for each request. Each distinct text is parsed once."""

    def __init__(self, rate: Callable[..., str], make: Callable[[RateLimitItem], Budget]) -> None:
        self._rate = takes_request(rate, "limit(rates=…)")
        self._make = make
        self._parsed: dict[str, list[Budget]] = {}

    def budgets(self, run: Run) -> list[Budget]:
        """Return the budgets for the request of `run`.

        :raises ConfigError: if the callable returns anything but a rate. None, for one, does not mean unlimited.
        """
        text = self._rate(run.request)
        found = self._parsed.get(text)
        if found is None:
            items = parse_rates(text, "the callable of limit()").items
            found = [self._make(item) for item in dict.fromkeys(items)]
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.clear()
            self._parsed[text] = found
        return found


def _with_dynamic(budgets: list[Budget], dynamic: list[_DynamicRate], run: Run) -> list[Budget]:
    """Return `budgets` and those of the request of `run`: each once, although two callables may return one rate."""
    distinct = {budget.unit: budget for budget in budgets}
    for rate in dynamic:
        for budget in rate.budgets(run):
            distinct.setdefault(budget.unit, budget)
    return list(distinct.values())


def _cost_finder(cost: int | Callable[..., int]) -> Callable[[Run], int]:
    if not callable(cost):
        return lambda _run: cost
    call = takes_request(cost, "limit(cost=…)")
    return lambda run: whole_cost(call(run.request), "the callable of limit(cost=…)")


# Charges that the response decides -----------------------------------------------------------------------------------


def _deduct_later(deduct_when: Callable[[Response], object], key: object, backend: Backend) -> Leave:
    """Return the function that charges a request that found room, if ``deduct_when`` says so.

    :param key: the key of the charges of the request.
    """

    def leave(run: Run, response: Response) -> None:
        charges = (_LATER.get(run) or {}).pop(key, [])
        denied = run.denial is not None and run.denial.policy in METERED
        if not charges or denied or was_refused(run, charges):
            return
        try:
            wanted = deduct_when(response)
        except Exception:  # charged in case of doubt: else a limit on failures would be open
            log.exception("limit(deduct_when=…) failed: the request is charged")
            wanted = True
        if wanted:
            _deduct(run, charges, backend)

    return leave


def _deduct(run: Run, charges: list[Charge], backend: Backend) -> None:
    try:
        _, standings = backend.counter.take([(budget, client, 0, cost) for budget, client, cost, _ in charges])
    except StoreDown:
        return
    # other requests may have been faster, and left less than nothing
    now = {each.budget.key_for(each.identity): each._replace(remaining=max(0, each.remaining)) for each in standings}
    met = STANDINGS.get(run) or []
    STANDINGS.put(run, [now.get(each.budget.key_for(each.identity), each) for each in met])


limit: Limit = Limit()
