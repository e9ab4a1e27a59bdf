"""Lending: a storage hands units of a fixed window to one process, and takes back what the process has not spent.

Units that are lent count as used. So no accident lets too much through: at worst, units stay unused until their window
ends. A *note* says which loan a process holds. Storages take units back against the note, once, and only into the
window that they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .algorithms import FIXED, State
from .budgets import Budget
from .counter import Changes
from .table import TableStorage, table_key

SHARE = 16
"""One loan is at most one part in so many of what is left, so that the last units are taken one at a time."""


class Ask(NamedTuple):
    """A wish for a loan.

    :ivar held: the units that the process still holds of its earlier loan.
    :ivar need: the units that it must hold for its request; else it wants none.
    :ivar want: the units that it would like to hold.
    :ivar note: the note of the earlier loan.
    """

    budget: Budget
    identity: str
    held: int
    need: int
    want: int
    note: str


class Loan(NamedTuple):
    """The answer to a wish.

    :ivar held: the units that the process holds now. Fewer than it needed: there is no room for a loan.
    :ivar left: the rest of the budget in the storage.
    :ivar seconds: until the window ends.
    :ivar note: the note of the loan.
    """

    held: int
    left: int
    seconds: float
    note: str


class Rest(NamedTuple):
    """The units of a loan that have not been spent."""

    budget: Budget
    identity: str
    units: int
    note: str


class Lender(Protocol):
    """Lends units of the fixed windows of one storage. Called by several threads at once."""

    def lend(self, asks: Sequence[Ask], holder: str) -> list[Loan]:
        """Lend what is wished for, as far as there is room: each wish for itself, and all in one call.

        Nothing is taken back, even if more is held than wanted: the answer may be lost.

        :param holder: the name of the process.
        """
        ...

    def take_back(self, rests: Sequence[Rest], holder: str) -> None:
        """Take units back. Those of an ended window, and those that have been taken back, are passed over."""
        ...


class TableLender:
    """Lends what a table counts. The note is the end of the window, which tells windows of one client apart."""

    def __init__(self, storage: TableStorage) -> None:
        self._storage = storage

    def lend(self, asks: Sequence[Ask], holder: str) -> list[Loan]:
        """Lend what is wished for."""

        def lent(states: Sequence[State], now: float) -> tuple[list[Loan], Changes]:
            loans: list[Loan] = []
            changes: Changes = []
            for index, (ask, state) in enumerate(zip(asks, states, strict=True)):
                budget = ask.budget
                used, ends = FIXED.current(state, budget.seconds, now) or (0, now + budget.seconds)
                held = ask.held if repr(ends) == ask.note else 0
                left = max(0, budget.amount - used)
                granted = granted_of(left, ask.need - held, ask.want - held)
                if granted:
                    changes.append((index, (used + granted, ends), ends))
                loans.append(Loan(held + granted, left - granted, ends - now, repr(ends)))
            return loans, changes

        return self._storage.update([table_key(ask.budget, ask.identity) for ask in asks], lent)

    def take_back(self, rests: Sequence[Rest], holder: str) -> None:
        """Take units back."""

        def without(states: Sequence[State], _now: float) -> tuple[None, Changes]:
            return None, [
                (index, (max(0, state[0] - rest.units), state[1]), state[1])
                for index, (rest, state) in enumerate(zip(rests, states, strict=True))
                if state is not None and repr(state[1]) == rest.note
            ]

        self._storage.update([table_key(rest.budget, rest.identity) for rest in rests], without)


def granted_of(left: int, need: int, want: int) -> int:
    """Return the units to lend where so many are left: 0 if there is less than the need."""
    return max(0, need, min(want, left // SHARE)) if left >= need else 0
