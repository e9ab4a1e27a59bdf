"""A clock that tests of keys move forward: nothing expires while a busy machine keeps a test waiting."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest

from flask_guard.keys import model, stored


class Clock:
    """The clocks of stored keys and of `ApiKey`, which stand still until they are moved forward."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._passed = 0.0
        monotonic, seconds = time.monotonic(), time.time()
        self._start = datetime.now(timezone.utc)
        patch.setattr(stored, "monotonic", lambda: monotonic + self._passed)
        patch.setattr(stored, "time", lambda: seconds + self._passed)
        patch.setattr(model, "utc_now", self.now)

    def now(self) -> datetime:
        """Return the time that the clocks show."""
        return self._start + timedelta(seconds=self._passed)

    def forward(self, seconds: float) -> None:
        """Move the clocks forward."""
        self._passed += seconds
