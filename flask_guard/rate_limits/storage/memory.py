"""Limits counted in this process: exact among threads, and with no thread of its own.

It stands in for the memory storage of ``limits``, which starts a timer thread every 10 ms of use. What has expired is
dropped a little at a time, as new clients come. Time is the monotonic clock, so that setting the computer's clock
neither ends a window nor stretches one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TypeVar

from .algorithms import State
from .budgets import Held
from .counter import Charge, Standing, settle
from .table import TableStorage, cleared_with, held_in_table, matches

T = TypeVar("T")
SCHEME = "guard-memory"
"""The scheme of its storage URI."""

DROPPED_AT_ONCE = 4
"""States that have ended of which a new one drops as many, so that what is kept shrinks faster than it grows."""


class ExactMemoryStorage(TableStorage):
    """A storage of ``limits`` that counts in this process: ``RATELIMIT_STORAGE_URI = "memory://"``."""

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._ends: dict[str, float] = {}  # of each key that is in a queue: once, even if it comes and goes
        self._ending: dict[int, deque[tuple[float, str]]] = {}

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all charges, or none."""
        keys = [f"{budget.head}{identity}{budget.table_tail}" for budget, identity, _, _ in charges]
        with self._lock:
            now = monotonic()
            states = self._states
            taken, standings, changed = settle(charges, [states.get(key) for key in keys], now, token)
            for index, state, ends in changed:
                self._set(keys[index], state, ends, now)
        return taken, standings

    def change(self, key: str, change: Callable[[State, float], tuple[State, float, T]], *, write: bool = True) -> T:
        """Change the state of one key."""
        with self._lock:
            now = monotonic()
            state, ends, result = change(self._states.get(key), now)
            if write and state is None:
                self._states.pop(key, None)
            elif write:
                self._set(key, state, ends, now)
            return result

    def _set(self, key: str, state: State, ends: float, now: float) -> None:
        """Set a state. A key that is new lets go of some that have ended."""
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

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            for each in cleared_with(key):
                self._states.pop(each, None)

    def reset(self) -> int | None:
        """Forget everything; return how many keys that were."""
        with self._lock:
            known = len(self._states)
            self._states.clear()
            self._ends.clear()
            self._ending.clear()
            return known

    def find(self, identity: str | None = None, unit: str | None = None) -> Iterable[Held]:
        """Return what is held in this process."""
        with self._lock:
            now = monotonic()
            keys = [key for key in self._states if self._ends[key] > now]
        found = [held for key in keys if (held := held_in_table(key)) is not None]
        return [held for held in found if matches(held, identity, unit)]
