"""Drawing on one budget, at one cost: what most requests do, worked out for that budget beforehand.

It does as :meth:`Counter.take <flask_guard.rate_limits.storage.counter.Counter.take>` does for one charge.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Protocol, TypeAlias, runtime_checkable

from .algorithms import FIXED, State
from .budgets import Budget
from .counter import Counter, Standing

Draw: TypeAlias = Callable[[str], tuple[bool, list[Standing]]]
"""Draws on a budget for a client, if there is room. Returns what :meth:`Counter.take` returns."""

Advance: TypeAlias = Callable[[State, float], "tuple[State, float, int, int] | None"]
"""Works one charge out on a state, given the time: the new state (None if there is no room), when that may be
forgotten, the remaining units and the seconds to wait. None where that takes more, as for a window that has ended."""


@runtime_checkable
class Drawable(Protocol):
    """A counter that has a way of its own to draw on one budget."""

    def drawing(self, budget: Budget, cost: int) -> Draw:
        """Return the function that takes `cost` from `budget`, which is at least 1."""
        ...


def drawing(counter: Counter, budget: Budget, cost: int) -> Draw:
    """Return the fastest function that takes `cost` from `budget` in `counter`."""
    if isinstance(counter, Drawable):
        return counter.drawing(budget, cost)
    return lambda identity: counter.take([(budget, identity, cost, cost)])


def advancing(budget: Budget, cost: int) -> Advance:
    """Return the arithmetic of taking `cost` from `budget`. That of fixed windows, the default, is one function."""
    if budget.algorithm is FIXED:
        return _advancing_fixed_window(budget.amount, budget.seconds, cost)
    return _advancing(budget, cost)


@lru_cache(maxsize=256)
def _advancing_fixed_window(amount: int, seconds: int, cost: int) -> Advance:
    """Return the arithmetic of fixed windows: one function for all budgets of a rate, as endpoints have many."""

    def advance(state: State, now: float) -> tuple[State, float, int, int] | None:
        used, ends = state
        left = ends - now
        if not 0 < left <= seconds:
            return None
        used_then = used + cost
        if used_then > amount:
            return None, ends, amount - used if used < amount else 0, ceil(left)
        return (used_then, ends), ends, amount - used_then, ceil(left)

    return advance


def _advancing(budget: Budget, cost: int) -> Advance:
    algorithm, amount, seconds, longest = budget.algorithm, budget.amount, budget.seconds, budget.longest_wait

    def advance(state: State, now: float) -> tuple[State, float, int, int] | None:
        current = algorithm.current(state, seconds, now)
        remaining, wait = algorithm.room(current, amount, seconds, cost, now)
        shown = min(ceil(wait), longest)
        if remaining < cost:
            return (None, now, remaining, shown) if current is state else None
        charged, ends = algorithm.charge(current, seconds, cost, now, "")
        return charged, ends, remaining - cost, shown

    return advance
