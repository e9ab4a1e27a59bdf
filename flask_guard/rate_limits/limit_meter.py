"""The meter of a limit: from a request to its charges, now or once the response is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from limits import RateLimitItem

from ..core.request_run import Leave, Run, Slot
from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.log import log
from ..typing import Response
from .charge import METERED, needed, was_refused, whole_cost
from .fields import STANDINGS
from .metered import ClientOf, FixedCharge, Meter
from .rates import parse_rates
from .storage import Budget, Charge, Counter, StoreDown

Add: TypeAlias = "Callable[[Run, list[Charge]], None]"
"""Adds the charges of a request."""
CostOf: TypeAlias = "Callable[[Run], int]"

MOST_PARSED = 1000
"""Distinct texts of a dynamic rate that are kept parsed."""

_LATER: Slot[dict[object, list[Charge]]] = Slot("limit.later")
"""The charges that depend on the response."""


def limit_meter(
    budgets: list[Budget],
    dynamic: list[DynamicRate],
    client_of: ClientOf,
    cost: int | Callable[..., int],
    deduct_when: Callable[[Response], object] | None,
    counter: Counter,
) -> Meter:
    """Return the meter of a limit; see :meth:`Metered.meter`.

    :param budgets: the budgets of its fixed rates.
    :param dynamic: its rates that are callables.
    :param counter: counts what the response decides.
    """
    if deduct_when is not None:
        charge = _charge(budgets, dynamic, client_of, _cost_finder(cost), later=True)
        return Meter(charge, _deduct_later(deduct_when, charge, counter))
    if dynamic or callable(cost):
        return Meter(_charge(budgets, dynamic, client_of, _cost_finder(cost)))
    alone = FixedCharge(budgets[0], client_of, cost) if len(budgets) == 1 else None
    return Meter(_fixed_charge(budgets, client_of, cost), alone=alone)


def _fixed_charge(budgets: list[Budget], client_of: ClientOf, cost: int) -> Add:
    """Return the function that charges `cost` to `budgets`: the usual case."""

    def add(run: Run, charges: list[Charge]) -> None:
        client = client_of(run)
        if client is not None:
            charges += [(budget, client, cost, cost) for budget in budgets]

    return add


def _charge(
    budgets: list[Budget], dynamic: list[DynamicRate], client_of: ClientOf, cost_of: CostOf, *, later: bool = False
) -> Add:
    """Return the function that charges by the rates and costs that the request decides.

    :param later: only test for room, and note the charges to make once the response is known.
    """

    def add(run: Run, charges: list[Charge]) -> None:
        client = client_of(run)
        if client is not None:
            cost = cost_of(run)
            due = _with_dynamic(budgets, dynamic, run)
            charges += [(budget, client, needed(cost), 0 if later else cost) for budget in due]
            if later:
                _LATER.made(run, dict)[add] = [(budget, client, 0, cost) for budget in due]

    return add


# Rates and costs that the request decides ----------------------------------------------------------------------------


class DynamicRate:
    """A rate that a callable gives for each request. Each distinct text is parsed once."""

    def __init__(self, rate: Callable[..., str], make: Callable[[RateLimitItem], Budget], *, is_for_one: bool) -> None:
        self._is_for_one = is_for_one
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
            if len(items) > 1 and self._is_for_one:
                raise ConfigError(f"limit(burst=…) is for one rate, and its callable returned {text!r}")
            found = [self._make(item) for item in dict.fromkeys(items)]
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.clear()
            self._parsed[text] = found
        return found


def _with_dynamic(budgets: list[Budget], dynamic: list[DynamicRate], run: Run) -> list[Budget]:
    """Return `budgets` and those of the request of `run`: each once, although two callables may return one rate."""
    if not dynamic:
        return budgets
    distinct = {budget.unit: budget for budget in budgets}
    for rate in dynamic:
        for budget in rate.budgets(run):
            distinct.setdefault(budget.unit, budget)
    return list(distinct.values())


def _cost_finder(cost: int | Callable[..., int]) -> CostOf:
    if not callable(cost):
        return lambda _run: cost
    call, what = takes_request(cost, "limit(cost=…)"), "the callable of limit(cost=…)"

    def cost_of(run: Run) -> int:
        value = call(run.request)
        whole = whole_cost(value, what)
        if whole > value and run.state.once("negative cost"):
            log.error("%s returned %s, which counts as 0: no request gives anything back", what, value)
        return whole

    return cost_of


# Charges that the response decides -----------------------------------------------------------------------------------


def _deduct_later(deduct_when: Callable[[Response], object], key: object, counter: Counter) -> Leave:
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
            _deduct(run, charges, counter)

    return leave


def _deduct(run: Run, charges: list[Charge], counter: Counter) -> None:
    try:
        _, standings = counter.take(charges)
    except StoreDown:
        return
    # other requests may have been faster, and left less than nothing
    now = {each.budget.key_for(each.identity): each._replace(remaining=max(0, each.remaining)) for each in standings}
    met = STANDINGS.get(run) or []
    STANDINGS.put(run, [now.get(each.budget.key_for(each.identity), each) for each in met])
