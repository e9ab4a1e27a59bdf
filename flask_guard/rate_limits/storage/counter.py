"""Counting a request against its budgets: all are charged, or none, and the answer says where the client stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from time import time
from typing import NamedTuple, Protocol, TypeAlias

from limits.storage import Storage
from limits.strategies import STRATEGIES, RateLimiter

from ...errors import ConfigError
from .algorithms import State
from .budgets import Budget, Held

Charge: TypeAlias = tuple[Budget, str, int, int]
"""A budget, the client that draws on it, the amount that must be left, and the amount that is taken."""

Changes: TypeAlias = list[tuple[int, State, float]]
"""New states: the position of a key, its state (None to forget it), and when that may be forgotten."""


class Standing(NamedTuple):
    """Where a client stands.

    :ivar remaining: the rest of the budget, after the charge if one was made.
    :ivar wait: the seconds until the needed amount fits; if it fits now, until more is available.
    :ivar need: the amount that was needed.
    """

    budget: Budget
    remaining: int
    wait: int
    need: int
    identity: str


class Counter(Protocol):
    """Counts in one storage. Called by several threads at once."""

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all of `charges`, or none if one of them lacks the room.

        :param token: names the lease of this request, where a charge is one of concurrency.
        :return: whether they were made, and the standings after that, in the same order.
        """
        ...

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give back the leases that `charges` took for `token`. Unknown ones are passed over."""
        ...

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client for as long as `budget` says, from now."""
        ...

    def forget(self, budget: Budget, identity: str) -> None:
        """Forget what is counted for a client."""
        ...

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what is held for all clients: of all units, or of one such as ``ban``. For people: slow.

        :raises ConfigError: if the storage cannot list what it holds.
        """
        ...


def settle(
    charges: Sequence[Charge], token: str, states: Sequence[State], now: float
) -> tuple[tuple[bool, list[Standing]], Changes]:
    """Work `charges` out on the states of their clients.

    :return: whether they may be made, and the standings; and the changes to store.
    """
    taken = True
    new, ceil = tuple.__new__, math.ceil  # a third of what the named tuple's own constructor costs
    seen: list[tuple[State, int, float]] = []
    for (budget, _, need, _), state in zip(charges, states, strict=True):
        algorithm = budget.algorithm
        current = algorithm.current(state, budget.seconds, now)
        remaining, wait = algorithm.room(current, budget.amount, budget.seconds, need, now)
        if remaining < need:
            taken = False
        seen.append((current, remaining, wait))
    standings: list[Standing] = []
    changes: Changes = []
    for index, (budget, identity, need, deduct) in enumerate(charges):
        current, remaining, wait = seen[index]
        if taken and deduct:
            changes.append((index, *budget.algorithm.charge(current, budget.seconds, deduct, now, token)))
            remaining = max(0, remaining - deduct)
        elif current is not states[index] and current is not None:
            changes.append((index, current, now + 2 * budget.seconds))
        seconds = ceil(wait)
        if seconds > budget.longest_wait:  # by an instant
            seconds = budget.longest_wait
        standings.append(new(Standing, (budget, remaining, seconds, need, identity)))
    return (taken, standings), changes


def lacking_room(standings: Sequence[Standing]) -> tuple[list[Budget], int]:
    """Return the budgets that lack the needed amount, and the seconds until all may have it."""
    lacking = [each for each in standings if each.remaining < each.need] or standings
    return [each.budget for each in lacking], max(1, *(each.wait for each in lacking))


class StrategyCounter:
    """Counts through the strategies of ``limits``, whatever the storage: a call or two for each budget.

    Two requests at the same moment may both find room for the last charge of one budget and be refused by the next:
    the first budget has been charged then. No budget ever lets more through than it has.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._strategies: dict[str, RateLimiter] = {}

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        alone = len(charges) == 1 and charges[0][2:] == (1, 1)  # which limits' fixed window cannot half charge
        taken = alone or all(self._has_room(*charge) for charge in charges)
        if taken:
            taken = all(self._hit(budget, who, deduct) for budget, who, _, deduct in charges if deduct)
        return taken, [self._standing(*charge) for charge in charges]

    def strategy(self, name: str) -> RateLimiter:
        """Return a strategy on the storage.

        :raises NotImplementedError: if the storage cannot count that way.
        """
        if name not in self._strategies:
            self._strategies[name] = STRATEGIES[name](self._storage)
        return self._strategies[name]

    def _has_room(self, budget: Budget, identity: str, need: int, _deduct: int) -> bool:
        if budget.item is None:
            return not self._storage.get(budget.key_for(identity))
        return self._strategy_of(budget).test(budget.item, budget.quoted_scope, identity, cost=need)

    def _hit(self, budget: Budget, identity: str, cost: int) -> bool:
        assert budget.item is not None  # noqa: S101  # places are refused at start, and a ban is never deducted
        return self._strategy_of(budget).hit(budget.item, budget.quoted_scope, identity, cost=cost)

    def _standing(self, budget: Budget, identity: str, need: int, _deduct: int) -> Standing:
        if budget.item is None:
            key = budget.key_for(identity)
            banned = bool(self._storage.get(key))
            wait = math.ceil(self._storage.get_expiry(key) - time()) if banned else 0
            return Standing(budget, 0 if banned else 1, max(0, min(wait, budget.seconds)), need, identity)
        reset, remaining = self._strategy_of(budget).get_window_stats(budget.item, budget.quoted_scope, identity)
        wait = min(budget.longest_wait, max(0, math.ceil(reset - time())))
        return Standing(budget, max(0, remaining), wait, need, identity)

    def _strategy_of(self, budget: Budget) -> RateLimiter:
        return self.strategy(budget.algorithm.name)

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Do nothing: no lease was taken."""

    def ban(self, budget: Budget, identity: str) -> None:
        self._storage.incr(budget.key_for(identity), budget.seconds)

    def forget(self, budget: Budget, identity: str) -> None:
        if budget.item is None:
            self._storage.clear(budget.key_for(identity))
        else:
            self._strategy_of(budget).clear(budget.item, budget.quoted_scope, identity)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Refuse: ``limits`` has no call that lists keys."""
        raise ConfigError("this storage cannot list what it holds; SQLite and Redis can: set RATELIMIT_STORAGE_URI")
