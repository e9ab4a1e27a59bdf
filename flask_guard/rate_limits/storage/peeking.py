"""Counting for requests that are only rehearsed: the answer is that of a real request, and nothing is counted."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from .budgets import Budget, Held
from .counter import Charge, Counter, Standing


class PeekingCounter:
    """Answers as `counter` would, and changes nothing there.

    :param charged: the charges of the one rehearsal, by storage key. Its counters share them.
    """

    def __init__(self, counter: Counter, charged: Tally[str]) -> None:
        self._counter = counter
        self._charged = charged

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        before = Tally(self._charged)
        taken, found = self._counter.take(
            [(budget, who, need + before[budget.key_for(who)], 0) for budget, who, need, _ in charges]
        )
        if taken:
            self._charged.update({budget.key_for(who): deduct for budget, who, _, deduct in charges})
        return taken, [self._charged_too(each, before) for each in found]

    def _charged_too(self, found: Standing, before: Tally[str]) -> Standing:
        """Return where the client stands with the charges of the rehearsal. A store that is down tells of some only."""
        key = found.budget.key_for(found.identity)
        return found._replace(remaining=max(0, found.remaining - self._charged[key]), need=found.need - before[key])

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Do nothing: no lease was taken."""

    def ban(self, budget: Budget, identity: str) -> None:
        """Do nothing."""

    def forget(self, budget: Budget, identity: str) -> None:
        """Do nothing."""

    def find(self, unit: str | None = None) -> Iterable[Held]:
        return self._counter.find(unit)
