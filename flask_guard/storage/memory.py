"""Limits counted in this process: exact among threads, and with no thread of its own.

It stands in for the memory storage of ``limits``, which starts a timer thread every 10 ms of use. What has expired is
dropped a little at a time, as new windows begin. Time is the monotonic clock, so that setting the computer's clock
neither ends a window nor stretches one.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic, time
from typing import TypeAlias

from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

SCHEME = "guard-memory"
"""The scheme of its storage URI."""

Window: TypeAlias = tuple[str, int, int, int]
"""A storage key, the amount that fits into its window, the window's seconds, and what to charge."""

DROPPED_AT_ONCE = 4
"""Expired windows that the beginning of a new one drops, so that what is kept shrinks faster than it grows."""


class ExactMemoryStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """A storage of ``limits`` that counts in this process: ``RATELIMIT_STORAGE_URI = "memory://"``."""

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._lock = threading.RLock()
        self._counts: dict[str, tuple[int, float]] = {}
        self._entries: dict[str, deque[float]] = {}
        self._expiring: dict[int, deque[tuple[float, str]]] = {}

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Return the errors of a storage that cannot be reached: this one always can."""
        return ()

    def take(self, windows: Sequence[Window]) -> tuple[bool, list[tuple[int, int]]]:
        """Charge all of these fixed windows, or none if one lacks the room.

        :return: whether they were charged; and for each window what remains of it, and its seconds to go.
        """
        taken = True
        standings = []
        with self._lock:
            now = monotonic()
            for key, amount, seconds, cost in windows:
                used, expires = self._window(key, seconds, now)
                taken = taken and used + cost <= amount
                standings.append((amount - used, min(seconds, math.ceil(expires - now))))
            if taken:
                for index, (key, _, seconds, cost) in enumerate(windows):
                    used, expires = self._window(key, seconds, now)
                    self._set(key, used + cost, expires, seconds, now)
                    standings[index] = (standings[index][0] - cost, standings[index][1])
        return taken, standings

    def _window(self, key: str, seconds: int, now: float) -> tuple[int, float]:
        found = self._counts.get(key)
        return found if found is not None and found[1] > now else (0, now + seconds)

    def _set(self, key: str, count: int, expires: float, seconds: int, now: float) -> None:
        known = self._counts.get(key)
        self._counts[key] = (count, expires)
        if known is None or known[1] != expires:
            self._expect_end(key, expires, seconds, now)

    def _expect_end(self, key: str, expires: float, seconds: int, now: float) -> None:
        """Note that `key` ends at `expires`, and drop some of what has ended."""
        queue = self._expiring.setdefault(seconds, deque())
        queue.append((expires, key))
        for _ in range(DROPPED_AT_ONCE):
            if queue[0][0] > now:
                break
            ended = queue.popleft()[1]
            if ended in self._counts and self._counts[ended][1] <= now:
                del self._counts[ended]
            entries = self._entries.get(ended)
            if entries and entries[-1] > now - seconds:
                queue.append((entries[-1] + seconds, ended))
            elif entries is not None:
                del self._entries[ended]

    # What the strategies of limits call ----------------------------------------------------------------------------

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add `amount` to a counter that expires `expiry` seconds after its first use; return its value."""
        with self._lock:
            now = monotonic()
            used, expires = self._window(key, expiry, now)
            self._set(key, used + amount, expires, expiry, now)
            return used + amount

    def get(self, key: str) -> int:
        """Return the value of a counter."""
        return self._window(key, 0, monotonic())[0]

    def get_expiry(self, key: str) -> float:
        """Return when a counter expires, in seconds since 1970."""
        now = monotonic()
        return time() + self._window(key, 0, now)[1] - now

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._counts.pop(key, None)
            self._entries.pop(key, None)

    def check(self) -> bool:
        """Return whether the storage can be reached."""
        return True

    def reset(self) -> int | None:
        """Forget everything; return how many keys that were."""
        with self._lock:
            known = len(self._counts) + len(self._entries)
            self._counts.clear()
            self._entries.clear()
            self._expiring.clear()
            return known

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` entries to a moving window of `expiry` seconds if `limit` allows it; return whether it did."""
        with self._lock:
            now = monotonic()
            entries = self._live_entries(key, expiry, now)
            if len(entries) + amount > limit:
                return False
            entries.extend([now] * amount)
            if key not in self._entries:
                self._entries[key] = entries
                self._expect_end(key, now + expiry, expiry, now)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest entry of a moving window was made (seconds since 1970), and how many there are."""
        with self._lock:
            now = monotonic()
            entries = self._live_entries(key, expiry, now)
            return time() - (now - entries[0] if entries else 0), len(entries)

    def _live_entries(self, key: str, expiry: int, now: float) -> deque[float]:
        entries = self._entries.get(key, deque())
        while entries and entries[0] <= now - expiry:
            entries.popleft()
        return entries

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` to a sliding window counter if `limit` allows it; return whether it did."""
        with self._lock:
            now = monotonic()
            previous, previous_left, current, _ = self.get_sliding_window(key, expiry)
            if math.floor(previous * previous_left / expiry) + current + amount > limit:
                return False
            current_key = _slot(key, expiry, now)
            self._set(current_key, current + amount, (now // expiry + 2) * expiry, 2 * expiry, now)
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the previous window's count and how much of it still weighs (seconds), and the same of this one."""
        with self._lock:
            now = monotonic()
            previous = self.get(_slot(key, expiry, now - expiry))
            current = self.get(_slot(key, expiry, now))
            left = expiry - now % expiry
            return previous, left if previous else 0.0, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a sliding window counter."""
        now = monotonic()
        self.clear(_slot(key, expiry, now - expiry))
        self.clear(_slot(key, expiry, now))


def _slot(key: str, expiry: int, at: float) -> str:
    return f"{key}/{int(at // expiry)}"
