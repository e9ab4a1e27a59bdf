"""Values that a callable of the app fetches, such as public keys: kept for a while, and longer while fetching fails."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from ..errors import ConfigError, GuardError
from .text import printable, without_credentials

T = TypeVar("T")
log: logging.Logger = logging.getLogger("flask_guard")

PAUSE = 10.0
"""Seconds between two fetches for a value that is missing, and after a fetch that failed."""

LONGEST_USE = 86_400.0
"""Seconds after which a value is no longer used, although fetching a new one fails."""


class NotFetched(GuardError):
    """There is no value to use, because fetching one fails."""


class Fetched(Generic[T]):
    """The value of a callable, fetched when it is first asked for. Used by several threads at once.

    :param fetch: the callable. What it raises is logged.
    :param read: makes the value of what `fetch` returns.
    :param what: names the value in logs and messages.
    :raises ConfigError: if the callable is ``async``: it is called while requests wait.
    """

    def __init__(self, fetch: Callable[[], Any], read: Callable[[Any], T], what: str) -> None:
        if inspect.iscoroutinefunction(fetch):
            raise ConfigError(f"{what}: {fetch!r} is async; it is called while the request waits, so make it plain")
        self._fetch = fetch
        self._read = read
        self._what = what
        self._lock = threading.Lock()
        self._kept: tuple[T, float] | None = None
        self._tried_at = -PAUSE
        self._failed = False

    def get(self, max_age: float) -> T:
        """Return the value, fetched at most `max_age` seconds ago, or earlier while fetching fails.

        :raises NotFetched: if fetching fails, and there is no value of the last day.
        """
        kept = self._kept
        if kept is not None and monotonic() - kept[1] < max_age:
            return kept[0]
        can_wait = kept is None or not self._failed  # else one thread in turn tries, and the others go on
        if self._lock.acquire(blocking=can_wait):
            try:
                if self._kept is kept:  # else another thread has fetched it, while this one waited
                    self._try()
            finally:
                self._lock.release()
        kept = self._kept
        if kept is None or (self._failed and monotonic() - kept[1] > LONGEST_USE):
            raise NotFetched(f"{self._what} cannot be fetched; the log says why")
        return kept[0]

    def get_newer(self, max_age: float) -> T:
        """Return the value as :meth:`get` does, where what is wanted is not in the one at hand: not again at once."""
        return self.get(min(PAUSE, max_age))

    def _try(self) -> None:
        now = monotonic()
        if self._failed and now - self._tried_at < PAUSE:
            return
        self._tried_at, self._failed = now, True
        try:
            value = self._read(self._fetch())
        except Exception as error:  # noqa: BLE001  # a callable of the app: what is at hand is used, or the caller refuses
            shown = printable(without_credentials(str(error)), 200)
            log.error("%s could not be fetched: %s: %s", self._what, type(error).__name__, shown)
        else:
            self._kept, self._failed = (value, now), False
