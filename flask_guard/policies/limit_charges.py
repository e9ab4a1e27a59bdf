"""From a request to what it is charged: which budgets, for whom, and how much."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ..address import client_network
from ..callbacks import takes_request
from ..storage import Backend, Charge, Rate, parse_rates, rate_name
from .api_key import VALUE as API_KEY
from .auth_schemes import PRINCIPAL_ID

if TYPE_CHECKING:
    from ..plan import Place
    from ..run import Run
    from .limit import By, Limit

LONGEST_IDENTITY = 128
"""Characters of a client's identity beyond which its hash is stored instead."""

MOST_PARSED = 1000
"""Distinct texts of a dynamic rate that are kept parsed."""

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
    dynamic = [_DynamicRate(rate, scope, policy) for rate in policy.rates if callable(rate)]
    identify = _identify(policy.by)
    applies = takes_request(policy.when, "limit(when=…)") if policy.when else None
    cost_of = _cost(policy.cost)

    def charge(run: Run, charges: list[Charge]) -> None:
        if applies is None or applies(run.request):
            identity, cost = identify(run), cost_of(run)
            charges.extend([(rate, identity, cost) for rate in rates])
            for each in dynamic:
                charges.extend([(rate, identity, cost) for rate in each.rates(run)])

    return charge


class _DynamicRate:
    """A rate that a callable gives for each request. Each distinct text is parsed once."""

    def __init__(self, rate: Callable[..., str], scope: str, policy: Limit) -> None:
        self._rate = takes_request(rate, "limit(rate)")
        self._scope = scope
        self._prefix = f"{policy.shared}-" if policy.shared else ""
        self._shown = policy.headers
        self._parsed: dict[str, list[Rate]] = {}

    def rates(self, run: Run) -> list[Rate]:
        """Return the rates for the request of `run`.

        :raises ConfigError: if the callable returns no rate: None, for one, does not mean unlimited.
        """
        text = self._rate(run.request)
        found = self._parsed.get(text)
        if found is None:
            items = parse_rates(text, "what the callable of limit() returned")
            found = [Rate(item, self._scope, name=self._prefix + rate_name(item), shown=self._shown) for item in items]
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.clear()
            self._parsed[text] = found
        return found


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
    if by == "principal":
        return lambda run: f"principal:{_short(name)}" if (name := run.values.get(PRINCIPAL_ID)) else _address(run)
    who = takes_request(by, "limit(by=…)")

    def identity(run: Run) -> str:
        value = who(run.request)
        if value is None or value == "":
            return _address(run)
        return f"by:{_short(str(value))}"

    return identity


def _short(text: str) -> str:
    if len(text) > LONGEST_IDENTITY or not text.isprintable():
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text


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
