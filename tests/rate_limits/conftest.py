"""Fixtures of the tests of limits."""

from __future__ import annotations

import pytest

from ..storage_clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the storages in memory and in SQLite."""
    return Clock(monkeypatch)
