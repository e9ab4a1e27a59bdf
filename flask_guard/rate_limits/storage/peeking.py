"""Counting for requests that are only rehearsed: the answer is that of a real request, and nothing is counted."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from .budgets import Budget, Held
from .counter import Charge, Counter, Standing


class PeekingCounter:
    """Answers as `counter` would, and changes nothing there. It remembers the charges of the one rehearsal."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._charged: Tally[str] = Tally()

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Return the answer to `charges`, without making them."""
        keys = [budget.key_for(client) for budget, client, _, _ in charges]
        before = [self._charged[key] for key in keys]
        needed = zip(charges, before, strict=True)
        taken, found = self._counter.take([(budget, who, need + spent, 0) for (budget, who, need, _), spent in needed])
        deducted = [deduct if taken else 0 for _, _, _, deduct in charges]
        self._charged.update(dict(zip(keys, deducted, strict=True)))
        return taken, [
            each._replace(remaining=max(0, each.remaining - spent - deduct), need=each.need - spent)
            for each, spent, deduct in zip(found, before, deducted, strict=True)
        ]

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Do nothing: no lease was taken."""

    def ban(self, budget: Budget, identity: str) -> None:
        """Do nothing."""

    def forget(self, budget: Budget, identity: str) -> None:
        """Do nothing."""

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what is held."""
        return self._counter.find(unit)
