"""A storage of ``limits`` that keeps states in a table: counted in one step, by the arithmetic of `algorithms`.

It serves both sides: it is a :class:`~flask_guard.rate_limits.storage.counter.Counter` for the policies, and the
strategies of ``limits`` call it, so that a ``Limiter`` on the same storage counts the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import time
from typing import TypeAlias, TypeVar

from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from .algorithms import BANS, FIXED, LEASES, MOVING, SLIDING, Algorithm, State
from .budgets import BAN, CONCURRENT, Budget, Held, held_under
from .counter import Changes, Charge, Standing, settle

T = TypeVar("T")
Key: TypeAlias = tuple[str, Algorithm]
"""A key of the table, and the algorithm of the state there."""

_TAILS: tuple[tuple[Algorithm, str], ...] = (
    (MOVING, MOVING.suffix),
    (SLIDING, SLIDING.suffix),
    (LEASES, f"/{CONCURRENT}"),
    (BANS, f"/{BAN}"),
)


class TableStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """The common part of the memory and the SQLite storage."""

    @abstractmethod
    def update(self, keys: Sequence[Key], work: Callable[[Sequence[State], float], tuple[T, Changes]]) -> T:
        """Call `work` with the states of `keys` and the time, alone, and store what it returns.

        :param work: returns the result, and the changes: the position of a key, its new state (None to forget it), and
            when that may be forgotten.
        """

    @abstractmethod
    def look(self, key: Key, look: Callable[[State, float], T]) -> T:
        """Return what `look` makes of the state of `key` and the time."""

    @abstractmethod
    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what is held."""

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        keys = [table_key(budget, identity) for budget, identity, _, _ in charges]
        return self.update(keys, partial(settle, charges, token))

    def release(self, charges: Sequence[Charge], token: str) -> None:
        def without(states: Sequence[State], now: float) -> tuple[None, Changes]:
            left = LEASES.release(states[0] or {}, token)
            return None, [(0, left, max(left.values()) if left else now)]

        for budget, identity, _, _ in charges:
            if budget.algorithm is LEASES:
                self.update([table_key(budget, identity)], without)

    def ban(self, budget: Budget, identity: str) -> None:
        self.update(
            [table_key(budget, identity)],
            lambda _states, now: (None, [(0, *budget.algorithm.charge(None, budget.seconds, 1, now, ""))]),
        )

    def forget(self, budget: Budget, identity: str) -> None:
        self.update([table_key(budget, identity)], lambda _states, now: (None, [(0, None, now)]))

    # The calls of the strategies of limits ---------------------------------------------------------------------------

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Return the errors of an unreachable storage: a table in memory has none."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add `amount` to a counter that expires `expiry` seconds after its first use; return its value."""

        def added(states: Sequence[State], now: float) -> tuple[int, Changes]:
            new, ends = FIXED.charge(FIXED.current(states[0], expiry, now), expiry, amount, now, "")
            return int(new[0]), [(0, new, ends)]

        return self.update([(key, FIXED)], added)

    def get(self, key: str) -> int:
        """Return the value of a counter."""
        return self.look((key, FIXED), lambda state, now: int(state[0]) if state and state[1] > now else 0)

    def get_expiry(self, key: str) -> float:
        """Return when a counter expires, in seconds since 1970."""
        return time() + self.look((key, FIXED), lambda state, now: max(0.0, state[1] - now) if state else 0.0)

    def check(self) -> bool:
        return True

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` entries to a moving window of `expiry` seconds if `limit` allows it; return whether it did."""
        return self._acquire((key + MOVING.suffix, MOVING), limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest entry of a moving window was made (seconds since 1970), and how many there are."""

        def looked(state: State, now: float) -> tuple[float, int]:
            current = MOVING.current(state, expiry, now)
            return (time() - (now - current[0]), len(current)) if current else (time(), 0)

        return self.look((key + MOVING.suffix, MOVING), looked)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` to a sliding window counter if `limit` allows it; return whether it did."""
        return self._acquire((key + SLIDING.suffix, SLIDING), limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the previous window's count and how much of it still weighs (seconds), and the same of this one."""

        def looked(state: State, now: float) -> tuple[int, float, int, float]:
            current = SLIDING.current(state, expiry, now)
            if current is None:
                return 0, 0.0, 0, 0.0
            previous, count, ends = current
            return previous, ends - now if previous else 0.0, count, ends - now + expiry

        return self.look((key + SLIDING.suffix, SLIDING), looked)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a sliding window counter."""
        self.clear(key + SLIDING.suffix)

    def clear(self, key: str) -> None:
        """Forget a key, and the moving window beside it, for which the strategies of ``limits`` have no call."""
        keys = [(key, algorithm_of(key)), (key + MOVING.suffix, MOVING)]
        self.update(keys, lambda _states, now: (None, [(0, None, now), (1, None, now)]))

    def _acquire(self, key: Key, limit: int, expiry: int, amount: int) -> bool:
        algorithm = key[1]

        def added(states: Sequence[State], now: float) -> tuple[bool, Changes]:
            current = algorithm.current(states[0], expiry, now)
            if algorithm.room(current, limit, expiry, amount, now)[0] < amount:
                return False, []
            return True, [(0, *algorithm.charge(current, expiry, amount, now, ""))]

        return self.update([key], added)


def table_key(budget: Budget, identity: str) -> Key:
    """Return the key in the table of what is counted for a client."""
    return budget.head + identity + budget.table_tail, budget.algorithm


def algorithm_of(key: str) -> Algorithm:
    """Return the algorithm of a key of the table."""
    return next((algorithm for algorithm, tail in _TAILS if key.endswith(tail)), FIXED)


def held_in_table(key: str, unit: str | None) -> Held | None:
    """Return the budget and the client of a key of the table; None for other keys, and for other units."""
    algorithm = algorithm_of(key)
    held = held_under(key.removesuffix(algorithm.suffix), algorithm)
    return held if held is not None and is_of_unit(held, unit) else None


def is_of_unit(held: Held, unit: str | None) -> bool:
    """Return whether `held` is what :meth:`TableStorage.find` was asked for."""
    return unit is None or held[0].unit.endswith(f"/{unit}")
