"""The algorithms, as arithmetic on plain values: they know no storage, no client and no clock of their own.

The count of one client is a *state*, None at first. A storage reads states, asks the algorithm, and writes the new
state. Timestamps are seconds on the storage's clock. A clock that is set back by hours leaves states whose end lies
further ahead than their length: `current` shortens those, so that no client is locked out for the hours.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from typing import Any, Protocol, TypeAlias

State: TypeAlias = Any
"""The count of a client: a value of the algorithm's own. None if nothing is counted."""

INSTANT = 1e-5
"""Seconds that count as none: forty times the resolution of a clock of seconds since 1970."""


class Algorithm(Protocol):
    """One way of counting.

    :ivar name: its name in options and ``RATELIMIT_STRATEGY``; empty for what is not a rate.
    :ivar code: a letter that names it to scripts, and the numbers that they need beside those of a budget.
    :ivar suffix: the end of its keys in a table where all algorithms count.
    """

    name: str
    code: str
    suffix: str

    def current(self, state: State, seconds: int, now: float) -> State:
        """Return the rest of `state` at `now`: the same object if nothing has changed, None if nothing is left."""
        ...

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        """Return the rest of `amount`, and the seconds until `need` fits; if it fits now, until more is available."""
        ...

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        """Return the state with `cost` added, and when it may be forgotten. A list or dict is changed in place."""
        ...

    def pack(self, state: State) -> float | str | bytes:
        """Return `state` as a value that a database holds."""
        ...

    def unpack(self, value: Any) -> State:
        """Return the state that was packed as `value`."""
        ...


class FixedWindow:
    """Counts from a client's first request for the length of the window. The state is (used, end)."""

    name = "fixed-window"
    code = "F"
    suffix = ""

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None or state[1] <= now:
            return None
        return state if state[1] - now <= seconds else (state[0], now + seconds)

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        return (amount, seconds) if state is None else (max(0, amount - state[0]), state[1] - now)

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        used, ends = (0, now + seconds) if state is None else state
        return (used + cost, ends), ends

    def pack(self, state: State) -> str:
        return f"{state[0]} {state[1]!r}"

    def unpack(self, value: Any) -> State:
        used, ends = value.split()
        return (int(used), float(ends))


class MovingWindow:
    """Counts the requests of the last so many seconds. The state lists their timestamps, the newest last."""

    name = "moving-window"
    code = "M"
    suffix = "|moving"

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None or not state:
            return None
        if state[-1] > now:
            back = state[-1] - now
            state = [each - back for each in state]
        if state[0] > now - seconds:
            return state
        return state[bisect_right(state, now - seconds) :] or None

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        if state is None:
            return amount, seconds
        remaining = max(0, amount - len(state))
        leaving = len(state) - amount + need - 1 if remaining < need else 0
        return remaining, state[min(leaving, len(state) - 1)] + seconds - now

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        entries = [] if state is None else state
        entries.extend([now] * cost)
        return entries, now + seconds

    def pack(self, state: State) -> bytes:
        return array("d", state).tobytes()

    def unpack(self, value: Any) -> State:
        return array("d", value).tolist()


class SlidingWindowCounter:
    """Counts this window, and of the previous one the part that lies within a window's length.

    The state is (count of the previous window, count of this one, its end).
    """

    name = "sliding-window-counter"
    code = "S"
    suffix = "|sliding"

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None or state[2] + seconds <= now:
            return None
        previous, count, ends = state
        if ends <= now:
            return (count, 0, ends + seconds) if count else None
        return state if ends - now <= seconds else (previous, count, now + seconds)

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        if state is None:
            return amount, seconds
        previous, count, ends = state
        left = ends - now
        used = math.floor(previous * left / seconds) + count
        remaining = max(0, amount - used)
        if remaining >= need:
            return remaining, min(left, left % (seconds / previous)) if previous else left
        if count + need <= amount:  # as soon as less of the previous window weighs
            return remaining, left - (amount - count - need + 1) * seconds / previous + INSTANT
        kept = amount - min(need, amount) + 1  # so much of this window may weigh yet
        return remaining, left + max(0.0, seconds - kept * seconds / max(1, count)) + INSTANT

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        previous, count, ends = (0, 0, now + seconds) if state is None else state
        return (previous, count + cost, ends), ends + seconds

    def pack(self, state: State) -> str:
        return f"{state[0]} {state[1]} {state[2]!r}"

    def unpack(self, value: Any) -> State:
        previous, count, end = value.split()
        return (int(previous), int(count), float(end))


class TokenBucket:
    """Lets requests through at a steady rate, and a burst of them at once (the generic cell rate algorithm).

    Requests run up a debt, which is paid off at the rate. A request fits unless the debt would exceed the burst. The
    state is (debt, its timestamp in milliseconds), in units so small that all numbers are whole: storages agree on
    them to the last one.

    :param amount: the requests that are paid off in `seconds`.
    :param burst: the requests that fit into an empty bucket.
    :ivar unit: the units of one request.
    :ivar drain: the units that are paid off in a millisecond.
    :ivar capacity: the units of the burst.
    """

    name: str = "token-bucket"
    suffix: str = ""

    def __init__(self, amount: int, seconds: int, burst: int) -> None:
        divisor = math.gcd(amount, 1000 * seconds)
        self.drain: int = amount // divisor
        self.unit: int = 1000 * seconds // divisor
        self.capacity: int = burst * self.unit
        self.code: str = f"T{self.drain}:{self.unit}"

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None:
            return None
        debt, since = state
        passed = int(1000 * now + 0.5) - since
        if passed < 0:
            return debt, since + passed
        return state if debt > passed * self.drain else None

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        unit = self.unit
        debt = 0 if state is None else state[0] - (int(1000 * now + 0.5) - state[1]) * self.drain
        remaining: int = (self.capacity - debt) // unit
        fits = remaining >= need
        over = (debt % unit or unit) if fits else debt + min(need, amount) * unit - self.capacity
        return remaining, -(-over // self.drain) / 1000

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        since = int(1000 * now + 0.5)
        debt = 0 if state is None else state[0] - (since - state[1]) * self.drain
        debt = min(self.capacity, debt + cost * self.unit)
        return (debt, since), (since - (-debt // self.drain)) / 1000

    def pack(self, state: State) -> str:
        return f"{state[0]} {state[1]}"

    def unpack(self, value: Any) -> State:
        debt, since = value.split()
        return (int(debt), int(since))


class Leases:
    """Counts requests at work. The state maps the token of each to the end of its lease."""

    name = ""
    code = "C"
    suffix = ""

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None:
            return None
        latest = now + seconds
        if all(now < ends <= latest for ends in state.values()):
            return state
        return {token: min(ends, latest) for token, ends in state.items() if ends > now} or None

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        return (amount if state is None else max(0, amount - len(state))), 1.0

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        leases = {} if state is None else state
        leases[token] = now + seconds
        return leases, now + seconds

    def release(self, state: State, token: str) -> State:
        """Return the state without the lease of `token`."""
        return {each: ends for each, ends in state.items() if each != token} or None

    def pack(self, state: State) -> str:
        return " ".join(f"{token}={ends!r}" for token, ends in state.items())

    def unpack(self, value: Any) -> State:
        return {token: float(end) for token, _, end in (each.partition("=") for each in value.split())}


class Bans:
    """Lets nothing through until a ban ends. The state is the end; to charge is to ban."""

    name = ""
    code = "B"
    suffix = ""

    def current(self, state: State, seconds: int, now: float) -> State:
        if state is None or state <= now:
            return None
        return min(state, now + seconds)

    def room(self, state: State, amount: int, seconds: int, need: int, now: float) -> tuple[int, float]:
        return (1, 0.0) if state is None else (0, state - now)

    def charge(self, state: State, seconds: int, cost: int, now: float, token: str) -> tuple[State, float]:
        return now + seconds, now + seconds

    def pack(self, state: State) -> float:
        return float(state)

    def unpack(self, value: Any) -> State:
        return float(value)


FIXED: Algorithm = FixedWindow()
MOVING: Algorithm = MovingWindow()
SLIDING: Algorithm = SlidingWindowCounter()
LEASES: Leases = Leases()
BANS: Algorithm = Bans()
