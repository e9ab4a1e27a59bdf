"""A clock in the place of `time.perf_counter`, so that a test need not wait, nor depend on a busy machine."""

from __future__ import annotations

import sys
from time import perf_counter

import pytest

import flask_guard.access_log.log_timing
import flask_guard.prometheus.metrics
import flask_guard.wsgi  # noqa: F401  # with everything that reads the clock


class Clock:
    """Stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += milliseconds / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of all modules of the package."""
    clock = Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("flask_guard.") and vars(module).get("perf_counter") is perf_counter:
            monkeypatch.setattr(module, "perf_counter", clock)
    return clock
