"""From a request to what it is charged: which budgets, for whom, and how much."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ..address import client_network
from ..callbacks import takes_request
from ..storage import Backend, Charge, Rate
from .api_key import VALUE as API_KEY

if TYPE_CHECKING:
    from ..plan import Place
    from ..run import Run
    from .limit import By, Limit

LONGEST_IDENTITY = 128
"""Characters of a client's identity beyond which its hash is stored instead."""

Charging: TypeAlias = "Callable[[Run, list[Charge]], None]"
"""Adds the charges of one limit for a request."""


def charging_for(policy: Limit, place: Place, backend: Backend) -> Charging:
    """Return what adds the charges of one limit for a request."""
    scope = f"{backend.key_prefix}{_scope(policy, place)}"
    taken = Counter(name for each in place.earlier if isinstance(each, type(policy)) for name in each.rate_names())
    rates = []
    for item, name in zip(policy.items(), policy.rate_names(), strict=True):
        taken[name] += 1
        number = f"-{taken[name]}" if taken[name] > 1 else ""
        rates.append(Rate(item, scope, name=f"{name}{number}", shown=policy.headers))
    identify = _identify(policy.by)
    applies = takes_request(policy.when, "limit(when=…)") if policy.when else None
    cost_of = _cost(policy.cost)

    def charge(run: Run, charges: list[Charge]) -> None:
        if applies is None or applies(run.request):
            identity, cost = identify(run), cost_of(run)
            charges.extend([(rate, identity, cost) for rate in rates])

    return charge


def _scope(policy: Limit, place: Place) -> str:
    """Return the name of the budget: shared by all that names it, or the endpoint's own."""
    if policy.shared:
        return f"shared:{policy.shared}"
    own = f"view:{place.endpoint}" if place.endpoint is not None else f"404:{place.blueprint or ''}"
    if place.scope.kind == "method":
        own += f":{'GET' if place.method == 'HEAD' else place.method}"
    return f"{own}#{place.ordinal}" if place.ordinal else own


def _identify(by: By) -> Callable[[Run], str]:
    if by == "address":
        return _address
    if by == "api_key":
        return lambda run: f"key:{key.id}" if (key := run.values.get(API_KEY)) else _address(run)
    who = takes_request(by, "limit(by=…)")

    def identity(run: Run) -> str:
        value = who(run.request)
        if value is None or value == "":
            return _address(run)
        text = str(value)
        if len(text) > LONGEST_IDENTITY or not text.isprintable():
            text = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"by:{text}"

    return identity


def _address(run: Run) -> str:
    return client_network(run.request.remote_addr)


def _cost(cost: int | Callable[..., int]) -> Callable[[Run], int]:
    if not callable(cost):
        return lambda _run: cost
    call = takes_request(cost, "limit(cost=…)")

    def cost_of(run: Run) -> int:
        value = call(run.request)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"limit(cost=…) must return a whole number, not {value!r}")
        return max(0, value)

    return cost_of
