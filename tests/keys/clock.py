"""A clock that tests of keys move forward, where they would only wait."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest

from flask_guard.keys import model, stored


class Clock:
    """The clocks of stored keys and of `ApiKey`, which go on as ever, and can be moved forward."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._passed = 0.0
        patch.setattr(stored, "monotonic", lambda: time.monotonic() + self._passed)
        patch.setattr(stored, "time", lambda: time.time() + self._passed)
        patch.setattr(model, "utc_now", lambda: datetime.now(timezone.utc) + timedelta(seconds=self._passed))

    def forward(self, seconds: float) -> None:
        """Move the clocks forward."""
        self._passed += seconds
