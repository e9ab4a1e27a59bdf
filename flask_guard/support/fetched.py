"""Values that a callable of the app fetches, such as public keys: cached, and kept longer while fetching fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from ..errors import GuardError
from .callables import refuse_async
from .log import log
from .text import printable, without_credentials

T = TypeVar("T")

PAUSE = 10.0
"""Seconds between two fetches because of a missing value, and after a failed fetch."""

LONGEST_USE = 86_400.0
"""Seconds for which a value is used while fetches fail."""


class NotFetched(GuardError):
    """Fetching fails, and no earlier value is left."""


class Fetched(Generic[T]):
    """The value of a callable, fetched at its first use. For several threads.

    :param fetch: the callable. Its exceptions are logged.
    :param read: makes the value from the result of `fetch`.
    :param what: the name of the value in logs and messages.
    :raises ConfigError: if the callable is ``async``: requests wait for it.
    """

    def __init__(self, fetch: Callable[[], Any], read: Callable[[Any], T], what: str) -> None:
        refuse_async(fetch, what, "request")
        self._fetch = fetch
        self._read = read
        self._what = what
        self._lock = threading.Lock()
        self._kept: tuple[T, float] | None = None
        self._tried_at = -PAUSE
        self._failed = False

    def get(self, max_age: float) -> T:
        """Return the value, fetched at most `max_age` seconds ago, or earlier while fetching fails.

        :raises NotFetched: if fetching fails, and no value of the last day is left.
        """
        kept = self._kept
        if kept is not None and monotonic() - kept[1] < max_age:
            return kept[0]
        can_wait = kept is None or not self._failed  # else one thread tries, and the others use the last value
        if self._lock.acquire(blocking=can_wait):
            try:
                if self._kept is kept:  # else another thread has fetched the value meanwhile
                    self._try()
            finally:
                self._lock.release()
        kept = self._kept
        if kept is None or (self._failed and monotonic() - kept[1] > LONGEST_USE):
            raise NotFetched(f"{self._what} cannot be fetched; the log says why")
        return kept[0]

    def get_newer(self, max_age: float) -> T:
        """Return the value as :meth:`get` does, where the last one lacks an entry: fetched again after a pause."""
        return self.get(min(PAUSE, max_age))

    def _try(self) -> None:
        now = monotonic()
        if self._failed and now - self._tried_at < PAUSE:
            return
        self._tried_at, self._failed = now, True
        try:
            value = self._read(self._fetch())
        except Exception as error:  # noqa: BLE001  # of the app: the last value is used, or the caller refuses
            shown = printable(without_credentials(str(error)), 200)
            log.error("%s could not be fetched: %s: %s", self._what, type(error).__name__, shown)
        else:
            self._kept, self._failed = (value, now), False
