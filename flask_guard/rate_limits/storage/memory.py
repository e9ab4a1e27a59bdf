"""Limits counted in this process: exact among threads, and with no thread of its own.

It stands in for the memory storage of ``limits``, which starts a timer thread every 10 ms of use. Ended states are
dropped a few at a time, as new clients come. Time is the monotonic clock, so that setting the computer's clock neither
ends a window nor stretches one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TypeVar

from .algorithms import State
from .budgets import Held
from .counter import Changes
from .table import Key, TableStorage, held_in_table

T = TypeVar("T")
SCHEME = "guard-memory"
"""The scheme of its storage URI."""

DROPPED_AT_ONCE = 4
"""Ended states that each new one drops, so that the table shrinks faster than it grows."""


class ExactMemoryStorage(TableStorage):
    """A storage of ``limits`` that counts in this process: ``RATELIMIT_STORAGE_URI = "memory://"``."""

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._ends: dict[str, float] = {}  # of each key that is in a queue: once, even if it comes and goes
        self._ending: dict[int, deque[tuple[float, str]]] = {}

    def update(self, keys: Sequence[Key], work: Callable[[Sequence[State], float], tuple[T, Changes]]) -> T:
        """Call `work` with the states of `keys` and the time, alone, and store what it returns."""
        with self._lock:
            now = monotonic()
            states = self._states
            result, changes = work([states.get(key) for key, _ in keys], now)
            for position, state, ends in changes:
                key = keys[position][0]
                if state is None:
                    states.pop(key, None)
                else:
                    self._set(key, state, ends, now)
        return result

    def look(self, key: Key, look: Callable[[State, float], T]) -> T:
        """Return what `look` makes of the state of `key` and the time."""
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

    def reset(self) -> int | None:
        """Forget everything; return the number of keys."""
        with self._lock:
            known = len(self._states)
            self._states.clear()
            self._ends.clear()
            self._ending.clear()
            return known

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what is held in this process."""
        with self._lock:
            now = monotonic()
            keys = [key for key in self._states if self._ends[key] > now]
        return [held for key in keys if (held := held_in_table(key, unit)) is not None]
