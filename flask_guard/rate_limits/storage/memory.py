"""Limits counted in this process: exact among threads, and with no thread of its own.

It stands in for the memory storage of ``limits``, which starts a timer thread every 10 ms of use. Ended states are
dropped a few at a time, as new clients come. Time is the monotonic clock, so that setting the computer's clock neither
ends a window nor stretches one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from time import monotonic
from typing import TypeVar

from ...support.log import log
from .algorithms import LEASES, State
from .budgets import Budget, Held
from .counter import Changes, Charge, Standing, settle
from .drawing import Draw, advancing
from .table import Key, TableStorage, held_in_table, table_key

T = TypeVar("T")

SCHEME = "guard-memory"
"""The scheme of its storage URI."""

MOST_STATES = 1_000_000
"""States that are kept by default: some 450 MB."""

DROPPED_AT_ONCE = 4
"""Ended states that each new one drops, so that the table shrinks faster than it grows."""

MOST_GONE = 50
"""Keys of states that are gone, beyond as many as there are states, which are kept until they would have ended."""

LOOKED_AT = 16
"""States that a new one looks at for one to drop, where there are as many as may be."""

_new = tuple.__new__
OTHERS = "%others"
"""The identity that stands for all clients for whom there is no room. No client's own has a bare percent sign."""


class ExactMemoryStorage(TableStorage):
    """A storage of ``limits`` that counts in this process: ``RATELIMIT_STORAGE_URI = "memory://"``.

    Where there are as many states as may be, a new client takes the place of the one whose state ends first, but never
    of one that is being limited. Where all that can be found are, new clients share one budget.

    :ivar most: the number of states to keep.
    """

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._ends: dict[str, float] = {}  # of each key in a queue, where a key is once
        self._ending: dict[int, deque[tuple[float, str]]] = {}
        self.most: int = MOST_STATES
        self._is_full = self._shares = False

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        keys = [budget.head + identity + budget.table_tail for budget, identity, _, _ in charges]
        with self._lock:  # as `update` does, in half the time
            states = self._states
            if len(states) >= self.most:
                return super().take(charges, token)
            now = monotonic()
            answer, changes = settle(charges, token, [states.get(key) for key in keys], now)
            for position, state, ends in changes:
                self._set(keys[position], state, ends, now)
        return answer

    def drawing(self, budget: Budget, cost: int) -> Draw:
        """Return `take` for one charge: as fast as can be for a client with a state, as most requests have."""
        advance, head, tail = advancing(budget, cost), budget.head, budget.table_tail

        def draw(identity: str) -> tuple[bool, list[Standing]]:
            key = head + identity + tail
            with self._lock:
                states = self._states
                state = states.get(key)
                advanced = advance(state, monotonic()) if state is not None else None
                if advanced is None:
                    return self.take([(budget, identity, cost, cost)])
                charged, ends, remaining, wait = advanced
                if charged is not None:
                    states[key] = charged
                    self._ends[key] = ends
            return charged is not None, [_new(Standing, (budget, remaining, wait, cost, identity))]

        return draw

    def update(self, keys: Sequence[Key], work: Callable[[Sequence[State], float], tuple[T, Changes]]) -> T:
        with self._lock:
            now = monotonic()
            states = self._states
            if len(states) >= self.most:
                keys = [self._with_room(key, now) for key in keys]
            result, changes = work([states.get(key) for key, _ in keys], now)
            for position, state, ends in changes:
                key = keys[position][0]
                if state is None:
                    states.pop(key, None)
                    self._forget_gone()
                else:
                    self._set(key, state, ends, now)
        return result

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases back: also those of clients that share one budget."""
        with self._lock:
            for budget, identity, _, _ in charges:
                for client in (identity, OTHERS) if self._shares else (identity,):
                    key = budget.head + client + budget.table_tail
                    leases = self._states.get(key)
                    if leases is not None and budget.algorithm is LEASES:
                        leases.pop(token, None)
                        if not leases:
                            del self._states[key]
                            self._forget_gone()

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client, if there is room: never all that share one budget."""
        key = table_key(budget, identity)
        with self._lock:
            if len(self._states) < self.most or self._with_room(key, monotonic()) == key:
                super().ban(budget, identity)

    def look(self, key: Key, look: Callable[[State, float], T]) -> T:
        with self._lock:
            return look(self._states.get(key[0]), monotonic())

    def _set(self, key: str, state: State, ends: float, now: float) -> None:
        """Set a state. A new key drops some of the ended states."""
        known = key in self._ends
        self._states[key] = state
        self._ends[key] = ends
        if not known:
            self._ending.setdefault(int(ends - now).bit_length(), deque()).append((ends, key))
            for queue in self._ending.values():
                for _ in range(DROPPED_AT_ONCE):
                    if not queue or queue[0][0] > now:
                        break
                    self._drop_if_ended(queue, now)

    def _drop_if_ended(self, queue: deque[tuple[float, str]], now: float) -> None:
        key = queue.popleft()[1]
        ends = self._ends[key]
        if ends > now and key in self._states:  # it has been used again since
            queue.append((ends, key))
        else:
            self._states.pop(key, None)
            del self._ends[key]

    def _forget_gone(self) -> None:
        """Forget the keys whose states are gone before their end, where those of places given back are many."""
        states = self._states
        if len(self._ends) <= 2 * len(states) + MOST_GONE:
            return
        self._ends = {key: ends for key, ends in self._ends.items() if key in states}
        self._ending = {
            length: deque(each for each in queue if each[1] in states) for length, queue in self._ending.items()
        }

    # Where there is no room -------------------------------------------------------------------------------------------

    def _with_room(self, key: Key, now: float) -> Key:
        """Return the key to count under, where there are as many states as may be."""
        if key[0] in self._states:
            return key
        if not self._is_full:
            self._is_full = True
            log.warning(
                "limits in memory are counted for %s clients, and no more. A new client replaces the one whose count"
                " ends first, but never one that is being denied. Set GUARD_LIMIT_CLIENTS to keep more, or"
                " RATELIMIT_STORAGE_URI to count elsewhere",
                self.most,
            )
        if self._drop_one(now):
            return key
        held = held_in_table(key[0], None)
        if held is None:
            return key
        if not self._shares:
            self._shares = True
            log.error("limits in memory are used up by %s clients that are all limited: new ones share one", self.most)
        return table_key(held[0], OTHERS)

    def _drop_one(self, now: float) -> bool:
        """Drop the state that ends first, of those that may be dropped; return whether there was one."""
        for _ in range(LOOKED_AT):
            queue = min((each for each in self._ending.values() if each), key=itemgetter(0), default=None)
            if queue is None:
                return False
            ends, key = queue.popleft()
            latest = self._ends[key]
            if key in self._states and latest > now and (latest > ends or self._is_limited(key, now)):
                queue.append((latest, key))
                continue
            del self._ends[key]
            if self._states.pop(key, None) is not None:
                return True
        return False

    def _is_limited(self, key: str, now: float) -> bool:
        """Return whether a client has used a budget up. Places that are held are as good as that."""
        held = held_in_table(key, None)
        if held is None:
            return False
        budget = held[0]
        state = budget.algorithm.current(self._states[key], budget.seconds, now)
        if state is None or budget.algorithm is LEASES:
            return state is not None
        return budget.algorithm.room(state, budget.amount, budget.seconds, 1, now)[0] < 1

    def reset(self) -> int | None:
        with self._lock:
            known = len(self._states)
            self._states.clear()
            self._ends.clear()
            self._ending.clear()
            return known

    def find(self, unit: str | None = None) -> Iterable[Held]:
        with self._lock:
            now = monotonic()
            keys = [key for key in self._states if self._ends[key] > now]
        return [held for key in keys if (held := held_in_table(key, unit)) is not None]
