"""A circuit breaker: after a failure it keeps requests from a store, and probes whether the store is back."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from time import monotonic

from .log import log

FIRST_WAIT = 0.25
LONGEST_WAIT = 2.0
"""Seconds between two probes: doubled from the first to the longest."""

PROBE_LEASE = 5.0
"""Seconds after which a probe without a result counts as lost, as after a fork."""


class Breaker:
    """Says whether requests may use a store. While the breaker is open, they may not.

    The first failure opens the breaker. While it is open, requests start probes, with pauses between them. A probe runs
    in a separate thread, so that no request waits.

    :param probe: tries the store, by an operation that writes.
    :param errors: the exceptions of a probe while the store is down.
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
        self._lock = threading.RLock()  # a body that is deleted meanwhile may come back here
        self._wait = FIRST_WAIT
        self._next = 0.0

    def failed(self, error: Exception) -> None:
        with self._lock:
            if self.open:
                return
            self.open = True
            self._wait = FIRST_WAIT
            self._next = monotonic() + self._wait
        self._on_open(error)

    def probe_if_due(self) -> None:
        if monotonic() < self._next:
            return
        with self._lock:
            if not self.open or monotonic() < self._next:
                return
            self._next = monotonic() + PROBE_LEASE
        with contextlib.suppress(RuntimeError):  # no thread can start, such as at the end of the interpreter
            threading.Thread(target=self._try, name="flask-guard-probe", daemon=True).start()

    def _try(self) -> None:
        try:
            self._probe()
        except self._errors:
            with self._lock:
                self._wait = min(2 * self._wait, LONGEST_WAIT)
                self._next = monotonic() + self._wait * random.uniform(0.75, 1.25)  # noqa: S311  # so that workers do not probe together
        except Exception:
            log.exception("a probe of a store that is down failed with an unexpected error")
        else:
            with self._lock:
                was_open, self.open = self.open, False
            if was_open:
                self._on_close()
