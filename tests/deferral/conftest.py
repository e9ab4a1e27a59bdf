"""What the tests of deferred work share."""

from __future__ import annotations

import pytest

from flask_guard import deferral


@pytest.fixture
def hurried_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let idle threads end at once. Each test waits for them."""
    monkeypatch.setattr(deferral, "IDLE", 0.01)
