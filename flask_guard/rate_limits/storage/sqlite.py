"""Limits counted in a file, for one machine with many workers: exact among them, and with no server to run.

``RATELIMIT_STORAGE_URI = "sqlite:////var/lib/shop/limits.db"``
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic, sleep
from typing import TypeVar
from urllib.parse import parse_qsl

from ...errors import ConfigError
from .algorithms import Algorithm, State
from .budgets import Held
from .counter import Changes
from .sqlite_file import Execute, SQLiteFile
from .table import Key, TableStorage, held_in_table

T = TypeVar("T")
SCHEME = "sqlite"
EXAMPLE = "sqlite:////var/lib/shop/limits.db, or sqlite:///limits.db in the working directory"

TIMEOUT = 2.0
"""Seconds that a request waits for the file by default: several times the wait among 64 busy threads on two cores."""

LONGEST_TIMEOUT = 60.0

TIDY_EVERY = 60.0
TIDY_AFTER = 1000
"""Seconds, and charges, after which a process tidies up."""

BATCH = 200
"""Rows looked at in one step of tidying up."""

PAUSE = 0.001
"""Seconds between those steps, for others to write in."""

ATTEMPTS = 50
"""Of copying the end of the log while others write."""

SETUP = (
    "PRAGMA page_size = 1024",  # of a new file: a charge writes one page
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # waits for the disk now and then, in an order that a power cut does not corrupt
    "PRAGMA wal_autocheckpoint = 32768",  # should tidying up not be possible
    "CREATE TABLE IF NOT EXISTS guard_limits_1 (key TEXT PRIMARY KEY, state, ends REAL NOT NULL) WITHOUT ROWID",
)
SELECT = "SELECT state FROM guard_limits_1 WHERE key = ?"
SET = (
    "INSERT INTO guard_limits_1 VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET state = excluded.state, ends = excluded.ends"
)
DELETE = "DELETE FROM guard_limits_1 WHERE key = ?"
DELETE_ENDED = "DELETE FROM guard_limits_1 WHERE key = ? AND ends <= ?"
DELETE_ALL = "DELETE FROM guard_limits_1 WHERE key != ''"
PAGE = "SELECT key, ends FROM guard_limits_1 WHERE key > ? ORDER BY key LIMIT ?"
ENDS = "SELECT ends FROM guard_limits_1 WHERE key = ?"
TURN = ""
"""The key of a row that ends when the rows are due to be swept, by whichever process comes first."""


class SQLiteStorage(TableStorage):
    """A storage of ``limits`` that counts in an SQLite file of its own.

    Exact among all threads and processes of one machine. Not for a network file system. Counts survive a restart. A
    power cut may lose the counts of the last moments. The file, and two beside it (``-wal`` and ``-shm``), are readable
    to their owner only. Delete all three to begin anew, as when one is corrupt: workers notice within a second. A
    moving window stores 8 bytes for each of its requests, and each request writes all of them again.

    :param uri: ``sqlite:///`` and a path, relative to the working directory unless it begins with another slash.
        ``?timeout=0.5`` may follow.
    :param options: ``timeout``, the seconds that a request waits while others write, by default 2. After that the
        storage counts as down.
    :ivar path: the path of the file.
    :raises ConfigError: for a database in memory, where each worker would count alone, and for unknown options.
    """

    STORAGE_SCHEME: list[str] | None = [SCHEME]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.path: str
        self.path, in_uri = _parsed(uri or "")
        options = {"timeout": TIMEOUT, **in_uri, **options}
        seconds = _seconds(options.pop("timeout"))
        if options:
            name = min(options)
            raise ConfigError(f"SQLite limits have no option {name!r}; write 'timeout'")
        self._file = SQLiteFile(self.path, seconds, SETUP)
        self._tidier_file = SQLiteFile(self.path, seconds, SETUP)
        self._tidier: threading.Thread | None = None
        self._charges = 0
        self._next_tidying = monotonic() + TIDY_EVERY

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return (sqlite3.Error,)

    def update(self, keys: Sequence[Key], work: Callable[[Sequence[State], float], tuple[T, Changes]]) -> T:
        stored = [(_storable(key), algorithm) for key, algorithm in keys]

        def transaction(execute: Execute, now: float) -> tuple[T, bool]:
            result, changes = work([_state(execute, *each) for each in stored], now)
            for position, state, ends in changes:
                key, algorithm = stored[position]
                if state is None:
                    execute(DELETE, (key,))
                else:
                    execute(SET, (key, algorithm.pack(state), ends))
            return result, self._is_time_to_tidy()

        result, due = self._file.write(transaction)
        if due:
            self._start_tidying()
        return result

    def look(self, key: Key, look: Callable[[State, float], T]) -> T:
        stored, algorithm = _storable(key[0]), key[1]
        return self._file.read(lambda execute, now: look(_state(execute, stored, algorithm), now))

    def reset(self) -> int | None:
        return self._file.write(lambda execute, _now: execute(DELETE_ALL).rowcount)

    def check(self) -> bool:
        try:
            self._file.write(lambda _execute, _now: None)
        except sqlite3.Error:
            return False
        return True

    def find(self, unit: str | None = None) -> Iterable[Held]:
        for page, now in self._pages(self._file):
            for key, ends in page:
                held = held_in_table(key, unit) if ends > now else None
                if held is not None:
                    yield held

    # Tidying up, in a thread of its own ----------------------------------------------------------------------------

    def sweep(self) -> int:
        """Drop ended rows, a few at a time; return their number.

        One of the processes does this every minute, in the background.
        """
        dropped = 0
        for page, now in self._pages(self._tidier_file):
            ended = [(key, now) for key, ends in page if ends <= now]
            if ended:
                dropped += self._tidier_file.write(partial(_delete_ended, ended))
            sleep(PAUSE)
        return dropped

    def _pages(self, file: SQLiteFile) -> Iterator[tuple[list[tuple[str, float]], float]]:
        """Walk through the keys and their ends, with the time."""
        last = TURN
        while True:
            page, now = file.read(partial(_page, last))
            if not page:
                return
            yield page, now
            last = page[-1][0]

    def _is_time_to_tidy(self) -> bool:
        """Count a charge, and return whether it is the one that starts a thread. Called by one thread at a time."""
        self._charges += 1
        if self._charges < TIDY_AFTER and monotonic() < self._next_tidying:
            return False
        if self._tidier is not None and self._tidier.is_alive():
            return False
        self._charges, self._next_tidying = 0, monotonic() + TIDY_EVERY
        return True

    def _start_tidying(self) -> None:
        self._tidier = threading.Thread(target=self._tidy, name="flask-guard-sqlite", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started, as when the interpreter ends
            self._tidier.start()

    def _tidy(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # a request that meets the same error reports it
            if self._tidier_file.write(_takes_turn):
                self.sweep()
            self._tidier_file.read(_copy_log)
        self._tidier_file.close()


def _state(execute: Execute, key: str, algorithm: Algorithm) -> State:
    """Return the state of `key`. A value that the algorithm did not write counts as none."""
    row = execute(SELECT, (key,)).fetchall()
    try:
        return algorithm.unpack(row[0][0]) if row else None
    except (AttributeError, TypeError, ValueError):
        return None


def _page(last: str, execute: Execute, now: float) -> tuple[list[tuple[str, float]], float]:
    return execute(PAGE, (last, BATCH)).fetchall(), now


def _delete_ended(ended: list[tuple[str, float]], execute: Execute, _now: float) -> int:
    return sum(execute(DELETE_ENDED, each).rowcount for each in ended)


def _takes_turn(execute: Execute, now: float) -> bool:
    """Return whether no process has swept for long enough, and note that this one does."""
    row = execute(ENDS, (TURN,)).fetchall()
    if row and now < row[0][0] <= now + TIDY_EVERY:
        return False
    execute(SET, (TURN, None, now + TIDY_EVERY))
    return True


def _copy_log(execute: Execute, _now: float) -> None:
    """Copy the write-ahead log into the database, so that the log begins anew. Only its last part holds writers up."""
    execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    for _ in range(ATTEMPTS):
        busy, _, _ = execute("PRAGMA wal_checkpoint(RESTART)").fetchall()[0]
        if not busy:
            return
        sleep(PAUSE)


def _storable(key: str) -> str:
    """Return `key` as text in UTF-8, which has no lone surrogates."""
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()


def _parsed(uri: str) -> tuple[str, dict[str, str]]:
    """Return the absolute path of the file that a URI names, and its options.

    :raises ConfigError: if the URI names no file.
    """
    location, _, query = uri.removeprefix(f"{SCHEME}://").partition("?")
    if not location.startswith("/"):
        raise ConfigError(f"an SQLite URI has a path and no host: write {EXAMPLE}")
    path = location[1:]
    if not path or path.startswith(":memory:"):
        raise ConfigError(f"each worker would count alone in an SQLite database in memory: write {EXAMPLE}")
    if path.startswith("file:") or "\0" in path:
        raise ConfigError(f"SQLite limits need the path of a file: write {EXAMPLE}")
    return os.path.abspath(path), dict(parse_qsl(query, keep_blank_values=True))  # noqa: PTH100  # resolves no links


def _seconds(timeout: float | str) -> float:
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ConfigError(f"timeout must be seconds, more than 0 and at most {LONGEST_TIMEOUT:g}, not {timeout!r}")
    return seconds
