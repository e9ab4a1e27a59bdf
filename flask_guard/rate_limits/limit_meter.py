"""From a request to what it is charged: which budgets, for whom, and how much."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.request_run import Leave, Slot
from ..errors import ConfigError
from ..support.callables import takes_request
from ..typing import Response
from .charge import METERED, was_refused
from .fields import STANDINGS
from .identity import identifier
from .metered import Meter
from .storage import Backend, Budget, Charge, StoreDown, parse_rates, rate_budget, rate_name

if TYPE_CHECKING:
    from limits import RateLimitItem

    from ..core.request_run import Run
    from .limit import Limit

log: logging.Logger = logging.getLogger("flask_guard")

MOST_PARSED = 1000
"""Distinct texts of a dynamic rate that are kept parsed."""


def limit_meter(policy: Limit, scope: str, names: list[str], backend: Backend) -> Meter:
    """Return what charges a request for `policy`.

    :param scope: the name of its budget.
    :param names: what the RateLimit fields call its fixed rates.
    """
    make = _budget_maker(policy, scope, backend)
    budgets = [make(item, name) for item, name in zip(policy.items(), names, strict=True)]
    dynamic = [_DynamicRate(rate, policy, make) for rate in policy.rates if callable(rate)]
    identify = identifier(policy.by, "limit(by=…)")
    applies = takes_request(policy.when, "limit(when=…)") if policy.when else None
    cost_of = _cost(policy.cost)
    deducted_later = policy.deduct_when is not None

    def charge(run: Run, charges: list[Charge]) -> None:
        if applies is None or applies(run.request):
            identity, cost = identify(run), cost_of(run)
            deduct = 0 if deducted_later else cost
            due = _with_dynamic(budgets, dynamic, run) if dynamic else budgets
            found = [(budget, identity, cost, deduct) for budget in due]
            charges.extend(found)
            if deducted_later:
                _LATER.made(run, dict)[charge] = found

    return Meter(charge, _deduct_later(policy.deduct_when, charge, backend) if policy.deduct_when else None)


_LATER: Slot[dict[object, list[Charge]]] = Slot("limit.later")


def _with_dynamic(budgets: list[Budget], dynamic: list[_DynamicRate], run: Run) -> list[Budget]:
    """Return `budgets` and those of the request of `run`: each once, although two callables may return one rate."""
    distinct = {budget.tail: budget for budget in budgets}
    for rate in dynamic:
        for budget in rate.budgets(run):
            distinct.setdefault(budget.tail, budget)
    return list(distinct.values())


def takes_response(callback: Callable[..., object], what: str) -> None:
    """Raise ConfigError unless `callback` can be called with the response."""
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"{what}: {callback!r} is async; it is called while the response waits, so make it plain")
    try:
        inspect.signature(callback).bind("response")
    except TypeError:
        raise ConfigError(f"{what}: {callback!r} must take the response") from None
    except ValueError:  # some builtins have no signature
        return


def _deduct_later(deduct_when: Callable[[Response], object], key: object, backend: Backend) -> Leave:
    """Return what charges a request that found room, if its response is one to charge for.

    :param key: what the charges of the request are found by.
    """

    def leave(run: Run, response: Response) -> None:
        charges = (_LATER.get(run) or {}).pop(key, [])
        denied = run.denial is not None and run.denial.policy in METERED
        if not charges or denied or was_refused(run, charges):
            return
        try:
            wanted = deduct_when(response)
        except Exception:  # what cannot be told apart is charged: else a limit on failures would be open
            log.exception("limit(deduct_when=…) failed: the request is charged")
            wanted = True
        if wanted:
            _deduct(run, charges, backend)

    return leave


def _deduct(run: Run, charges: list[Charge], backend: Backend) -> None:
    try:
        _, standings = backend.counter.take([(budget, who, 0, cost) for budget, who, cost, _ in charges])
    except StoreDown:
        return
    now = {  # others may have been faster, and left less than nothing
        each.budget.key_for(each.identity): each._replace(
            remaining=max(0, each.remaining)
        )  # others may have been faster
        for each in standings
    }
    met = STANDINGS.get(run) or []
    STANDINGS.put(run, [now.get(each.budget.key_for(each.identity), each) for each in met])


def _budget_maker(policy: Limit, scope: str, backend: Backend) -> Callable[[RateLimitItem, str], Budget]:
    algorithm = backend.algorithm(policy.algorithm)

    def make(item: RateLimitItem, name: str) -> Budget:
        return rate_budget(
            item,
            f"{backend.key_prefix}{scope}",
            algorithm,
            name=name,
            shown=policy.headers,
            partitioned=policy.partition_key,
            on_error=policy.on_store_error or backend.on_store_error,
        )

    return make


class _DynamicRate:
    """A rate that a callable gives for each request. Each distinct text is parsed once."""

    def __init__(self, rate: Callable[..., str], policy: Limit, make: Callable[[RateLimitItem, str], Budget]) -> None:
        self._rate = takes_request(rate, "limit(rate)")
        self._prefix = policy.name_prefix
        self._make = make
        self._parsed: dict[str, list[Budget]] = {}

    def budgets(self, run: Run) -> list[Budget]:
        """Return the budgets for the request of `run`.

        :raises ConfigError: if the callable returns no rate: None, for one, does not mean unlimited.
        """
        text = self._rate(run.request)
        found = self._parsed.get(text)
        if found is None:
            items = parse_rates(text, "what the callable of limit() returned")
            found = [self._make(item, self._prefix + rate_name(item)) for item in dict.fromkeys(items)]
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.clear()
            self._parsed[text] = found
        return found


def _cost(cost: int | Callable[..., int]) -> Callable[[Run], int]:
    if not callable(cost):
        return lambda _run: cost
    call = takes_request(cost, "limit(cost=…)")

    def cost_of(run: Run) -> int:
        return whole_cost(call(run.request), "the callable of limit(cost=…)")

    return cost_of


def whole_cost(value: object, what: str) -> int:
    """Return a cost as a number that gives nothing back.

    :raises TypeError: if it is no whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what}: a cost is a whole number, not {value!r}")
    return max(0, value)
