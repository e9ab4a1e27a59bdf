"""Fixtures of the tests of limits."""

from __future__ import annotations

from functools import partial

import pytest

from ..conftest import MakeApp, patient
from ..storage_clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the storages in memory and in SQLite."""
    return Clock(monkeypatch)


@pytest.fixture
def make_app(make_app: MakeApp) -> MakeApp:
    """Return a function that makes an app whose storage may be as slow as a busy machine makes it."""
    return partial(make_app, GUARD_LIMIT_SLOW_MS=None)


@pytest.fixture(scope="session")
def redis_url(redis_url: str) -> str:
    """Return the URL of a real Redis, with patience."""
    return patient(redis_url)
