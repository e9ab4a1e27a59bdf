"""A storage of ``limits`` that keeps states in a table: counted in one step, by the arithmetic of `algorithms`.

It serves both sides: a :class:`~flask_guard.rate_limits.storage.counter.Counter` for the policies, and what the
strategies of ``limits`` call, so that a ``Limiter`` on the same storage counts the same.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from time import time
from typing import TypeVar

from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from .algorithms import BANS, FIXED, LEASES, MOVING, SLIDING, Algorithm, State
from .budgets import BAN, CONCURRENT, Budget, Held, held_under
from .counter import Charge, Standing

T = TypeVar("T")

_TAILS: tuple[tuple[Algorithm, str], ...] = (
    (MOVING, MOVING.suffix),
    (SLIDING, SLIDING.suffix),
    (LEASES, f"/{CONCURRENT}"),
    (BANS, f"/{BAN}"),
)


class TableStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """What the memory and the SQLite storage have in common."""

    @abstractmethod
    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all charges, or none."""

    @abstractmethod
    def change(self, key: str, change: Callable[[State, float], tuple[State, float, T]], *, write: bool = True) -> T:
        """Call `change` with the state of `key` and the time, alone, and store what it returns.

        :param change: returns the new state (None to forget it), when it may be forgotten, and what is to be returned.
        :param write: False if nothing will change.
        """

    @abstractmethod
    def find(self, identity: str | None = None, unit: str | None = None) -> Iterable[Held]:
        """Return what is held."""

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases back."""

        def without(state: State, now: float) -> tuple[State, float, None]:
            left = LEASES.release(state or {}, token)
            return left, max(left.values()) if left else now, None

        for budget, identity, _, _ in charges:
            if budget.algorithm is LEASES:
                self.change(table_key(budget, identity), without)

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client."""

        def banned(_state: State, now: float) -> tuple[State, float, None]:
            return (*budget.algorithm.charge(None, budget.seconds, 1, now, ""), None)

        self.change(table_key(budget, identity), banned)

    def clear_budget(self, budget: Budget, identity: str) -> None:
        """Forget what is counted for a client."""
        self.change(table_key(budget, identity), lambda _state, now: (None, now, None))

    # What the strategies of limits call ----------------------------------------------------------------------------

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Return the errors of a storage that cannot be reached: a table in memory always can."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add `amount` to a counter that expires `expiry` seconds after its first use; return its value."""

        def added(state: State, now: float) -> tuple[State, float, int]:
            new, ends = FIXED.charge(FIXED.current(state, expiry, now), expiry, amount, now, "")
            return new, ends, int(new[0])

        return self.change(key, added)

    def get(self, key: str) -> int:
        """Return the value of a counter."""
        return self._look(key, lambda state, now: int(state[0]) if state is not None and state[1] > now else 0)

    def get_expiry(self, key: str) -> float:
        """Return when a counter expires, in seconds since 1970."""
        return time() + self._look(key, lambda state, now: max(0.0, state[1] - now) if state is not None else 0.0)

    def check(self) -> bool:
        """Return whether the storage can be reached."""
        return True

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` entries to a moving window of `expiry` seconds if `limit` allows it; return whether it did."""

        def added(state: State, now: float) -> tuple[State, float, bool]:
            current = MOVING.current(state, expiry, now)
            if len(current or ()) + amount > limit:
                return current, now + expiry, False
            return (*MOVING.charge(current, expiry, amount, now, ""), True)

        return self.change(key + MOVING.suffix, added)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest entry of a moving window was made (seconds since 1970), and how many there are."""

        def looked(state: State, now: float) -> tuple[float, int]:
            current = MOVING.current(state, expiry, now)
            return (time() - (now - current[0]), len(current)) if current else (time(), 0)

        return self._look(key + MOVING.suffix, looked)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` to a sliding window counter if `limit` allows it; return whether it did."""

        def added(state: State, now: float) -> tuple[State, float, bool]:
            current = SLIDING.current(state, expiry, now)
            if current is not None:
                previous, count, ends = current
                if math.floor(previous * (ends - now) / expiry) + count + amount > limit:
                    return current, ends + expiry, False
            elif amount > limit:
                return None, now, False
            return (*SLIDING.charge(current, expiry, amount, now, ""), True)

        return self.change(key + SLIDING.suffix, added)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the previous window's count and how much of it still weighs (seconds), and the same of this one."""

        def looked(state: State, now: float) -> tuple[int, float, int, float]:
            current = SLIDING.current(state, expiry, now)
            if current is None:
                return 0, 0.0, 0, 0.0
            previous, count, ends = current
            return previous, ends - now if previous else 0.0, count, ends - now + expiry

        return self._look(key + SLIDING.suffix, looked)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a sliding window counter."""
        self.clear(key + SLIDING.suffix)

    def _look(self, key: str, look: Callable[[State, float], T]) -> T:
        return self.change(key, lambda state, now: (state, now, look(state, now)), write=False)


class TableCounter:
    """Counts in the table of a storage."""

    def __init__(self, storage: TableStorage) -> None:
        self.take: Callable[..., tuple[bool, list[Standing]]] = storage.take
        self.release: Callable[[Sequence[Charge], str], None] = storage.release
        self.ban: Callable[[Budget, str], None] = storage.ban
        self.clear: Callable[[Budget, str], None] = storage.clear_budget
        self.find: Callable[..., Iterable[Held]] = storage.find


def table_key(budget: Budget, identity: str) -> str:
    """Return the key in the table of what is counted for a client."""
    return f"{budget.head}{identity}{budget.table_tail}"


def algorithm_of(key: str) -> Algorithm:
    """Return what a key of the table is counted by."""
    for algorithm, tail in _TAILS:
        if key.endswith(tail):
            return algorithm
    return FIXED


def held_in_table(key: str) -> Held | None:
    """Return what a key of the table stands for; None if it is no budget's."""
    algorithm = algorithm_of(key)
    return held_under(key.removesuffix(algorithm.suffix), algorithm)


def cleared_with(key: str) -> tuple[str, str]:
    """Return the keys to forget where a strategy of ``limits`` clears `key`: its moving window has no call of its own.

    A key of a sliding window counter comes with its suffix.
    """
    return key, key + MOVING.suffix


def matches(held: Held, identity: str | None, unit: str | None) -> bool:
    """Return whether `held` is what :meth:`TableStorage.find` was asked for."""
    return identity in (None, held[1]) and (unit is None or held[0].tail.endswith(f"/{unit}"))
