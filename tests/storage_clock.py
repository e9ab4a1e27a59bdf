"""A clock for the storages of this process, so that no test waits for a window to end."""

from __future__ import annotations

from importlib import import_module

import pytest

STORAGE = "flask_guard.rate_limits.storage"
CLOCKS = (
    f"{STORAGE}.batches:monotonic",
    f"{STORAGE}.pools:monotonic",
    f"{STORAGE}.memory:monotonic",
    f"{STORAGE}.sqlite_file:monotonic",
    f"{STORAGE}.sqlite_file:time",
    f"{STORAGE}.sqlite:monotonic",
    f"{STORAGE}.table:time",
    "flask_guard.support.breaker:monotonic",
)


class Clock:
    """The time, which goes on by itself, and further when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        for name in CLOCKS:
            module, _, attribute = name.partition(":")
            real = getattr(import_module(module), attribute)
            monkeypatch.setattr(f"{module}.{attribute}", lambda real=real: real() + self._ahead)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds
