"""A circuit breaker: leaves a store alone that has failed, and asks now and then whether the store is back."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable
from time import monotonic

log: logging.Logger = logging.getLogger("flask_guard")

FIRST_WAIT = 0.25
LONGEST_WAIT = 2.0
"""Seconds between two probes: doubled from the first to the longest."""

PROBE_LEASE = 5.0
"""Seconds after which a probe that has not been heard of is followed by another, as after a fork."""


class Breaker:
    """Says whether a store may be asked. Open means that it may not.

    The first failure opens it. While it is open, requests start probes, with pauses between them. A probe has a thread
    of its own, so that no request waits for it.

    :param probe: asks the store, by an operation that writes.
    :param errors: the errors of a probe while the store is down.
    :param opened: called with the error when the breaker opens.
    :param closed: called when the breaker closes.
    """

    def __init__(
        self,
        probe: Callable[[], object],
        errors: tuple[type[Exception], ...],
        *,
        opened: Callable[[Exception], None],
        closed: Callable[[], None],
    ) -> None:
        self.open: bool = False
        self._probe = probe
        self._errors = errors
        self._on_open = opened
        self._on_close = closed
        self._lock = threading.Lock()
        self._wait = FIRST_WAIT
        self._next = 0.0

    def failed(self, error: Exception) -> None:
        """Take note that the store failed."""
        with self._lock:
            if self.open:
                return
            self.open = True
            self._wait = FIRST_WAIT
            self._next = monotonic() + self._wait
        self._on_open(error)

    def probe_if_due(self) -> None:
        """Start a probe if it is time for one."""
        if monotonic() < self._next:
            return
        with self._lock:
            if not self.open or monotonic() < self._next:
                return
            self._next = monotonic() + PROBE_LEASE
        with contextlib.suppress(RuntimeError):  # no thread can be started: as the interpreter ends, for one
            threading.Thread(target=self._try, name="flask-guard-probe", daemon=True).start()

    def _try(self) -> None:
        try:
            self._probe()
        except self._errors:
            with self._lock:
                self._wait = min(2 * self._wait, LONGEST_WAIT)
                self._next = monotonic() + self._wait * random.uniform(0.75, 1.25)  # noqa: S311  # workers spread out
        except Exception:
            log.exception("asking whether the limit store is back failed in an unexpected way")
        else:
            with self._lock:
                was_open, self.open = self.open, False
            if was_open:
                self._on_close()
