"""The pools of a process: the units that it has borrowed, for each client, and until when it may spend them."""

from __future__ import annotations

import math
import os
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic

from .budgets import Budget
from .counter import Standing
from .lending import SHARE, Ask, Loan, Rest

LEASE = 1.0
"""Seconds for which a process may spend a loan."""

DRIFT = 0.005
"""Seconds before the end of a window in which nothing is spent: clocks may run apart by half a percent."""

MOST_POOLS = 10_000
"""Pools of a process at once, some 4 MB. The units of other clients are taken one at a time."""


@dataclass(slots=True, eq=False)
class Pool:
    """The units that a process holds of one budget for one client.

    :ivar since: the beginning of the lease.
    :ivar until: the end of the lease, and of the window if it ends earlier.
    :ivar size: the units of the latest loan, but for what a single request cost more.
    :ivar left: the rest in the storage.
    :ivar ends: the end of the window.
    :ivar borrowing: whether a call is under way.
    """

    budget: Budget
    identity: str
    since: float
    until: float
    ends: float
    left: int
    units: int = 0
    size: int = 1
    note: str = ""
    borrowing: bool = False

    def next_size(self, now: float) -> int:
        """Return the units to ask for: twice as many if the latest loan was used up in half its lease."""
        return min(2 * self.size, self.budget.batch) if now - self.since < LEASE / 2 else self.size

    def standing(self, budget: Budget, need: int, now: float) -> Standing:
        """Return where the client stands. Limits that share this pool have budgets of their own, with other fields."""
        wait = max(0, min(math.ceil(self.ends - now), budget.longest_wait))
        return Standing(budget, self.left + self.units, wait, need, self.identity)

    def may_borrow(self, cost: int, now: float) -> bool:
        """Return whether a loan may serve more than one request, or uses what is in it."""
        return not self.borrowing and (self.units > 0 or min(self.next_size(now), self.left // SHARE) > cost)

    def wish(self, cost: int, now: float) -> Ask:
        """Return the wish to fill it, and keep others from spending what is in it meanwhile."""
        self.size = self.next_size(now)
        held, self.units, self.borrowing = self.units, 0, True
        return Ask(self.budget, self.identity, held, cost, max(cost, self.size), self.note)

    def fill(self, ask: Ask, loan: Loan, sent: float) -> bool:
        """Fill it; return whether it holds what was needed."""
        self.units, self.left = loan.held, loan.left
        if loan.held < ask.need:
            return False
        self.note = loan.note
        self.since = sent
        self.until = sent + min(LEASE, loan.seconds - DRIFT)
        self.ends = monotonic() + loan.seconds
        return True

    def empty(self) -> Rest:
        """Return the units that go back. Nobody can spend them from now on."""
        units, self.units, self.until = self.units, 0, 0.0
        return Rest(self.budget, self.identity, units, self.note)


class Pools:
    """The pools of one process, by storage key."""

    def __init__(self) -> None:
        self.process: int = os.getpid()
        self.holder: str = token_hex(6)
        # reentrant: a body that is deleted meanwhile may come back here
        self.lock: AbstractContextManager[object] = threading.RLock()
        self.pools: dict[str, Pool] = {}
        self.is_watched: bool = False

    def note(self, budget: Budget, identity: str, standing: Standing) -> None:
        """Note where a client stands whose units were taken one at a time: the next ones may be borrowed."""
        now = monotonic()
        key = budget.key_for(identity)
        with self.lock:
            pool = self.pools.get(key)
            if pool is None and len(self.pools) < MOST_POOLS:
                self.pools[key] = Pool(budget, identity, now, now + LEASE, now + standing.wait, standing.remaining)
            elif pool is not None and not pool.borrowing:
                pool.left = standing.remaining
                if not pool.units:
                    pool.ends = now + standing.wait

    def lapsed(self, now: float) -> list[Rest]:
        """Empty the pools whose lease is over, and return what was in them. They lend nothing until they are dropped.

        Else the storage would know of a new loan before it has got the rest of the old one back.
        """
        with self.lock:
            over = [pool for pool in self.pools.values() if pool.until <= now and not pool.borrowing]
            for pool in over:
                pool.borrowing = True
            return [pool.empty() for pool in over]

    def drop(self, rests: list[Rest]) -> bool:
        """Drop the pools that had these rests; return whether there are others."""
        with self.lock:
            for rest in rests:
                self.pools.pop(rest.budget.key_for(rest.identity), None)
            self.is_watched = bool(self.pools)
            return self.is_watched
