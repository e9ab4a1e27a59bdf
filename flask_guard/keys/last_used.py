"""Timestamps of the last use of keys: noted at most once a minute, and written outside of requests."""

from __future__ import annotations

import logging
import threading
import time

from ..core.request_run import current_run
from .model import KeyStoreUnavailable
from .records import KeyTable

log: logging.Logger = logging.getLogger("flask_guard")

TOUCH_EVERY = 60.0
"""Seconds between two notes of the use of one key."""
TOUCH_DELAY = 0.5
"""Seconds for which notes are gathered before they are written."""
MOST_NOTED = 10_000
"""Keys whose last note is remembered."""


class Usage:
    """Notes when the keys of one table are used."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._noted: dict[str, float] = {}
        self._to_write: dict[str, float] = {}
        self._timer: threading.Timer | None = None

    def note(self, key_id: str, now: float) -> None:
        """Note the use of a key, unless a use was noted within the last minute.

        :param now: the time on the monotonic clock, in seconds.
        """
        if now - self._noted.get(key_id, -TOUCH_EVERY) >= TOUCH_EVERY:
            self._note(key_id, now)

    def _note(self, key_id: str, now: float) -> None:
        run = current_run()
        if run is not None and run.rehearsal:
            return
        with self._lock:
            if len(self._noted) >= MOST_NOTED:
                self._noted.clear()
            self._noted[key_id] = now
            self._to_write[key_id] = time.time()
            if self._timer is None or not self._timer.is_alive():  # a forked worker has no thread of its parent
                self._timer = threading.Timer(TOUCH_DELAY, self.flush)
                self._timer.name = "flask_guard-keys"
                self._timer.start()

    def flush(self) -> None:
        """Write the notes, and wait for a write that has begun. Then the table may be closed."""
        with self._writing:
            with self._lock:
                used, self._to_write = self._to_write, {}
                self._timer = None
            try:
                if used:
                    self._table.touch(used)
            except KeyStoreUnavailable:
                log.warning("the last use of API keys could not be written: the key store is unreachable")
