"""Counting a request against its limits: all are charged, or none, and the answer says where the client stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import time
from typing import Protocol, TypeAlias

from limits.strategies import FixedWindowRateLimiter, RateLimiter

from .memory import ExactMemoryStorage
from .rates import Rate

Charge: TypeAlias = tuple[Rate, str, int]
"""A rate, the client that it is counted for, and the cost (requests)."""

Standing: TypeAlias = tuple[Rate, int, int, int]
"""A rate, what remains of it (requests), in how many seconds some of it is available again, and the cost asked for."""


class Counter(Protocol):
    """Counts in one storage by one algorithm. Called by several threads at once."""

    def take(self, charges: Sequence[Charge]) -> tuple[bool, list[Standing]]:
        """Make all of `charges`, or none if one of them lacks the room.

        :return: whether they were made, and the standings after that, in the same order.
        """
        ...


class StrategyCounter:
    """Counts through a strategy of ``limits``, whatever the storage: a call or two for each rate."""

    def __init__(self, strategy: RateLimiter) -> None:
        self._strategy = strategy

    def take(self, charges: Sequence[Charge]) -> tuple[bool, list[Standing]]:
        """Make all charges, or none."""
        strategy = self._strategy
        alone = len(charges) == 1 and charges[0][2] == 1  # which limits' fixed window cannot half charge
        taken = alone or all(strategy.test(rate, who, cost=cost) for rate, who, cost in charges)
        if taken:
            taken = all(strategy.hit(rate, who, cost=cost) for rate, who, cost in charges)
        return taken, [self._standing(*charge) for charge in charges]

    def _standing(self, rate: Rate, identity: str, cost: int) -> Standing:
        reset, remaining = self._strategy.get_window_stats(rate, identity)
        return rate, max(0, remaining), min(rate.seconds, max(0, math.ceil(reset - time()))), cost


class MemoryCounter:
    """Counts fixed windows in this process, in one step."""

    def __init__(self, storage: ExactMemoryStorage) -> None:
        self._take = storage.take

    def take(self, charges: Sequence[Charge]) -> tuple[bool, list[Standing]]:
        """Make all charges, or none."""
        taken, left = self._take([(rate.key_for(who), rate.amount, rate.seconds, cost) for rate, who, cost in charges])
        return taken, [
            (rate, remaining, seconds, cost)
            for (rate, _, cost), (remaining, seconds) in zip(charges, left, strict=True)
        ]


def lacking_room(standings: Sequence[Standing]) -> tuple[list[Rate], int]:
    """Return the rates into which their cost does not fit, and the seconds until it may."""
    lacking = [each for each in standings if each[1] < each[3]] or standings
    return [rate for rate, _, _, _ in lacking], max(1, *(seconds for _, _, seconds, _ in lacking))


def counter_for(strategy: RateLimiter) -> Counter:
    """Return the best way to count by `strategy` in its storage."""
    if type(strategy) is FixedWindowRateLimiter and isinstance(strategy.storage, ExactMemoryStorage):
        return MemoryCounter(strategy.storage)
    return StrategyCounter(strategy)
