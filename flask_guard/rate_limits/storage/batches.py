"""Budgets in batches: a worker borrows units of a client's budget in one round trip, and spends them in memory.

A loan counts as used in the storage from the start, so no accident lets more through than there is: a worker that is
killed, an answer that is lost, a storage that fails. Such units stay unused until their window ends.

- A worker spends a loan within `LEASE` seconds, by a clock that nobody sets, and before the window ends. The time runs
  from before the call, so a slow answer shortens it. A forked child begins with nothing.
- What has not been spent after `LEASE` goes back within `PAUSE`, by a thread that lives as long as anything is held,
  and when the process ends. So nobody is refused for longer than both together because another worker sits on units.
- Storages take units back once, and only into the window that lent them (see :mod:`.lending`).
- The first request of a client takes its unit the usual way. Loans double while they are used up in half their lease,
  up to the ``batch`` of the limit. None is more than 1/16 of what is left, and where that is one unit, the usual way
  serves again. All refusals come from there: each asks the storage, as units of other workers may have come back.
- A request spends all of its charges or none. Borrowing is no charge: where another limit refuses, the units go back to
  the pool of the process.
- The fields show the rest of the last call, at most `LEASE` old, less what this process has let through since. The
  figure is too high by what other processes have taken since the call, and leaves out what they hold.

Only fixed windows lend. A unit of a moving window or a token bucket has the time at which it was taken. If the unit is
spent later, it is one too many in another second. For a sliding counter, storages do not tell when the window ends.

Three accidents are not excluded. Each concerns at most one batch for each worker and client, once:

- A machine is suspended in the middle of a lease, and the clock of the process stands still meanwhile. The process
  spends the rest of the lease in a later window.
- C code forks a child without Python's hooks. The child spends the rest of the lease, too, until it first asks the
  storage.
- The clock of the storage jumps ahead, as by a fail-over. Any process spends the rest of its lease in a later window.

A fail-over that loses the last writes loses the notes of the loans together with the counts. So no loan is given back
to a count that has lost it.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep

from .budgets import Budget, Held
from .counter import Charge, Standing
from .drawing import Draw
from .fallback import FallbackCounter
from .lending import Ask, Lender, Loan
from .pools import Pool, Pools

PAUSE = 0.1
"""Seconds between two looks for loans that are over."""

AT_ONCE = 100
"""Loans that one call gives back."""


@dataclass(slots=True)
class Taking:
    """The charges of one request, on their way.

    :ivar spent: the pool of a charge, the units that were spent from it, and the note of their loan, by the position of
        the charge.
    :ivar wishes: the pools that a call is to fill, by position.
    :ivar others: the positions of the charges that the storage decides.
    """

    charges: Sequence[Charge]
    spent: dict[int, tuple[Pool, int, str]] = field(default_factory=dict)
    wishes: dict[int, tuple[Pool, Ask]] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)

    def spend(self, position: int, pool: Pool) -> None:
        """Spend from `pool` for the charge at `position`."""
        deduct = self.charges[position][3]
        pool.units -= deduct
        self.spent[position] = pool, deduct, pool.note

    def undo(self, mine: Pools) -> None:
        """Put back what was spent, unless the pool has another loan by now, perhaps of a later window."""
        with mine.lock:
            for position, (pool, deduct, note) in self.spent.items():
                if pool.note == note:
                    pool.units += deduct
                self.spent[position] = pool, 0, note

    def standings(self, mine: Pools, found: list[Standing]) -> list[Standing]:
        """Return the standings in the order of the charges.

        :param found: those that the storage tells, in that order. While it is down, some are missing.
        """
        if not self.spent:
            return found
        told, standings = deque(found), list[Standing]()
        with mine.lock:
            now = monotonic()
            for position, (budget, identity, need, _) in enumerate(self.charges):
                if position in self.spent:
                    standings.append(self.spent[position][0].standing(budget, need, now))
                elif told and (told[0].budget, told[0].identity) == (budget, identity):
                    standings.append(told.popleft())
        return standings


class BatchingCounter:
    """Counts in batches where a budget has any, and otherwise as `counter` does.

    :param counter: counts in the storage, and goes on without it while it is down.
    :param lender: lends what the storage counts.
    """

    def __init__(self, counter: FallbackCounter, lender: Lender) -> None:
        self._counter = counter
        self._lender = lender
        self._mine = Pools()
        self._is_hooked = False

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all charges, or none.

        :raises StoreDown: if the store is needed and down, and one of the budgets denies then.
        """
        if len(charges) == 1:
            spent = self._spend(*charges[0])
            if spent is not None:
                return True, [spent]
        return self._take(charges, token)

    def drawing(self, budget: Budget, cost: int) -> Draw:
        """Return the function that takes `cost` from `budget`."""

        def draw(identity: str) -> tuple[bool, list[Standing]]:
            spent = self._spend(budget, identity, cost, cost)
            return (True, [spent]) if spent is not None else self._take([(budget, identity, cost, cost)], "")

        return draw

    def _spend(self, budget: Budget, identity: str, need: int, deduct: int) -> Standing | None:
        """Spend from a pool, and return where the client stands; None if the pool has not enough."""
        mine = self._mine
        pool = mine.pools.get(budget.head + identity + budget.tail)
        if pool is None:
            return None
        with mine.lock:
            now = monotonic()
            if now >= pool.until or pool.units < need or pool.units < deduct:
                return None
            pool.units -= deduct
            return pool.standing(budget, need, now)

    def _take(self, charges: Sequence[Charge], token: str) -> tuple[bool, list[Standing]]:
        mine = self._of_this_process()
        sent = monotonic()
        taking = _begin(mine, charges, sent)
        taken, found = True, list[Standing]()
        try:
            if taking.wishes:
                self._borrow(mine, taking, sent)
            if taking.others:
                taken, found = self._counter.take([charges[position] for position in sorted(taking.others)], token)
        except BaseException:
            taking.undo(mine)
            raise
        if not taken:
            taking.undo(mine)
        elif self._note(mine, taking, found):
            self._watch(mine)
        return taken, taking.standings(mine, found)

    def _borrow(self, mine: Pools, taking: Taking, sent: float) -> None:
        """Fill pools, and spend from them. Where there is no room for a loan, the storage decides."""
        loans: list[Loan] | None = None
        asks = [ask for _, ask in taking.wishes.values()]
        try:
            loans = self._counter.if_up(lambda: self._lender.lend(asks, mine.holder))
        finally:
            with mine.lock:
                for index, (position, (pool, ask)) in enumerate(taking.wishes.items()):
                    pool.borrowing = False
                    if loans is None:
                        pool.units = ask.held
                        taking.others.append(position)
                    elif pool.fill(ask, loans[index], sent):
                        taking.spend(position, pool)
                    else:
                        taking.others.append(position)

    def _note(self, mine: Pools, taking: Taking, found: Sequence[Standing]) -> bool:
        """Note the standings of budgets in batches; return whether a thread has to watch the pools from now on."""
        for standing in found:
            if standing.budget.batch:
                mine.note(standing.budget, standing.identity, standing)
        with mine.lock:
            starts = bool(mine.pools) and not mine.is_watched
            mine.is_watched = mine.is_watched or starts
        return starts

    # Giving back ------------------------------------------------------------------------------------------------------

    def _watch(self, mine: Pools) -> None:
        watch = threading.Thread(target=self._give_back_in_time, args=(mine,), name="flask-guard-batches", daemon=True)
        try:
            watch.start()
        except RuntimeError:  # no thread can be started, as when the interpreter ends
            mine.is_watched = False

    def _give_back_in_time(self, mine: Pools) -> None:
        try:
            goes_on = True
            while goes_on:
                sleep(PAUSE)
                goes_on = self._give_back(mine, monotonic())
        except BaseException:
            mine.is_watched = False  # another thread takes over
            raise

    def give_all_back(self) -> None:
        """Give back all that this process holds, as it ends."""
        mine = self._mine
        if mine.process == os.getpid():
            self._give_back(mine, math.inf)

    def _give_back(self, mine: Pools, now: float) -> bool:
        """Give back the units of loans that are over; return whether there are other pools.

        While the store is down, the units count as used.
        """
        rests = mine.lapsed(now)
        try:
            owed = [rest for rest in rests if rest.units]
            for first in range(0, len(owed), AT_ONCE):
                some = owed[first : first + AT_ONCE]
                self._counter.if_up(partial(self._lender.take_back, some, mine.holder))
        finally:
            others = mine.drop(rests)
        return others

    def forget_pools(self) -> None:
        """Forget what is held, without giving it back: what was counted is forgotten, or another process holds it."""
        mine, self._mine = self._mine, Pools()
        for pool in list(mine.pools.values()):  # without the lock, which a thread of a parent may hold for ever
            pool.until = 0.0

    def _of_this_process(self) -> Pools:
        if not self._is_hooked:
            self._is_hooked = True
            _hook_up(weakref.ref(self))
        if self._mine.process != os.getpid():  # C code may fork without calling Python's hooks
            self.forget_pools()
        return self._mine

    # As the counter does ----------------------------------------------------------------------------------------------

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases of places back."""
        self._counter.release(charges, token)

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client."""
        self._counter.ban(budget, identity)

    def forget(self, budget: Budget, identity: str) -> None:
        """Forget a client."""
        mine = self._mine
        with mine.lock:
            pool = mine.pools.pop(budget.key_for(identity), None)
            if pool is not None:
                pool.empty()
        self._counter.forget(budget, identity)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what the store holds. Units that are held in batches count as used there."""
        return self._counter.find(unit)


def _begin(mine: Pools, charges: Sequence[Charge], now: float) -> Taking:
    """Spend what the pools have, as far as it is enough."""
    taking = Taking(charges)
    with mine.lock:
        for position, (budget, identity, need, deduct) in enumerate(charges):
            pool = mine.pools.get(budget.key_for(identity)) if budget.batch else None
            cost = max(need, deduct)
            if pool is not None and now < pool.until and pool.units >= cost:
                taking.spend(position, pool)
            elif pool is not None and deduct and pool.may_borrow(cost, now):
                taking.wishes[position] = pool, pool.wish(cost, now)
            else:
                taking.others.append(position)
    return taking


def _hook_up(counter: weakref.ref[BatchingCounter]) -> None:
    """Give back what is held when the process ends, and begin with nothing in a child. The hooks keep no app."""

    def at_exit() -> None:
        if (found := counter()) is not None:
            found.give_all_back()

    def in_child() -> None:
        if (found := counter()) is not None:
            found.forget_pools()

    atexit.register(at_exit)
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=in_child)
