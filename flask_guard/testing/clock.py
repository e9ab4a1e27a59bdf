"""A clock for limits, bans, keys and tokens that tests move forward."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ..concerns import CONCERNS

THEIRS = ("limits.strategies:time", "limits.storage.memory:time")
"""Modules of other packages that call ``time.time()``."""


class FrozenClock:
    """The time in a test, made by :func:`frozen_clock` and the fixture ``guard_clock``."""

    def __init__(self) -> None:
        self._wall, self._monotonic, self._passed = time.time(), time.monotonic(), 0.0

    def advance(self, by: float | timedelta) -> None:
        """Move the clock forward.

        :param by: seconds, or a timedelta.
        :raises ValueError: for a step backwards.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError(f"advance({seconds:g}) would move the clock backwards: give 0 seconds or more")
        self._passed += seconds

    @property
    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.fromtimestamp(self.time(), timezone.utc)

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self._wall + self._passed

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock."""
        return self._monotonic + self._passed


class _TimeModule(ModuleType):
    """The module ``time`` with the time of a frozen clock."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__("time")
        self.time, self.monotonic = clock.time, clock.monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def frozen_clock() -> Iterator[FrozenClock]:
    """Stop the clocks of limits, bans, keys and tokens for a ``with`` block.

    ::

        with frozen_clock() as clock:
            assert client.get("/search").status_code == 429
            clock.advance(60)
            assert client.get("/search").status_code == 200

    Counts in memory and SQLite follow the frozen clock. A Redis server keeps its own time.
    """
    clock = FrozenClock()
    root = __name__.partition(".")[0]
    ours = [f"{root}.{each}" for concern in CONCERNS for each in concern.clocks]
    with ExitStack() as patches:
        for each in (*ours, *THEIRS):
            home, _, name = each.partition(":")
            try:
                module = import_module(home)
            except ModuleNotFoundError:  # the extra is not installed
                continue
            known = {time.time: clock.time, time.monotonic: clock.monotonic, time: _TimeModule(clock)}
            patches.enter_context(patch.object(module, name, known[getattr(module, name)]))
        yield clock
