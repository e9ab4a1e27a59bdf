"""A connection of this process to an SQLite file that many processes write to."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic, sleep, time
from typing import TypeAlias, TypeVar

from ...support.callables import while_alive
from ...support.private_file import refuse_unsafe

T = TypeVar("T")
Execute: TypeAlias = Callable[..., sqlite3.Cursor]
"""Executes a statement."""

SHORTEST_SLEEP = 0.0002
LONGEST_SLEEP = 0.003
"""Seconds between two attempts to get the lock of the file. SQLite's own waiting sleeps for up to 0.1."""

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file is still the one that was opened."""

Identity: TypeAlias = tuple[int, int]
"""The device and the inode of a file."""


class SQLiteFile:
    """One connection to a file, opened when it is first needed, for all threads of this process in turn.

    The connection is closed before a fork, as SQLite demands: a child that inherits one loses locks, and damages the
    file. It is also closed after any error, and when the file has been deleted, so that the next use begins anew.

    :param path: the path of the file. A missing file is made, readable to its owner only.
    :param timeout: the seconds that a use may wait for other threads and processes.
    :param setup: statements to execute on a new connection.
    """

    def __init__(self, path: str, timeout: float, setup: tuple[str, ...]) -> None:
        self._path = path
        self._timeout = timeout
        self._setup = setup
        self._lock = threading.Lock()
        self._held_for_fork = False
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._process = 0
        self._inherited: list[sqlite3.Connection] = []
        self._identity: Identity | None = None
        self._next_look = 0.0
        _tell_of_forks(self)  # now: a file that is first opened while a fork is prepared would be inherited

    def write(self, work: Callable[[Execute, float], T]) -> T:
        """Call `work` with an `Execute` and the time, alone among all threads and processes.

        :raises sqlite3.Error: if the file cannot be used, or was not free in time. Nothing has been written then.
        """

        def transaction(execute: Execute, deadline: float) -> T:
            _patiently(partial(execute, "BEGIN IMMEDIATE"), deadline)
            result = work(execute, time())
            execute("COMMIT")
            return result

        return self._use(transaction)

    def read(self, work: Callable[[Execute, float], T]) -> T:
        """Call `work` with an `Execute` and the time, for one statement, of which it fetches all.

        :raises sqlite3.Error: if the file cannot be used, or was not free in time.
        """
        return self._use(lambda execute, deadline: _patiently(lambda: work(execute, time()), deadline))

    def close(self) -> None:
        """Close the connection. The next use opens another."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        self._close()

    def _use(self, work: Callable[[Execute, float], T]) -> T:
        started = monotonic()
        if not self._lock.acquire(timeout=self._timeout):
            raise sqlite3.OperationalError(f"database is locked: other threads have held it for {self._timeout} s")
        try:
            if self._cursor is None or self._process != os.getpid() or started >= self._next_look:
                self._ensure_open(started)
            assert self._cursor is not None  # noqa: S101
            return work(self._cursor.execute, started + self._timeout)
        except BaseException:
            self._close()
            raise
        finally:
            self._lock.release()

    def _ensure_open(self, now: float) -> None:
        if self._process != os.getpid() and self._connection is not None:
            self._inherited.append(self._connection)  # by a fork that Python did not see: it must not be closed here
            self._connection = self._cursor = None
        if self._connection is not None and self._identity != _identity(self._path):
            self._close()
        if self._connection is None:
            self._open(now + self._timeout)
        self._next_look = now + LOOK_EVERY

    def _open(self, deadline: float) -> None:
        _create(self._path)
        self._process = os.getpid()
        try:
            refuse_unsafe(self._path)
        except OSError as error:
            raise sqlite3.OperationalError(str(error)) from error
        try:
            self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:  # its message does not name the file
            raise sqlite3.OperationalError(f"{error} {self._path!r}") from error
        cursor = self._connection.cursor()
        for statement in self._setup:
            _patiently(partial(cursor.execute, statement), deadline)
            cursor.fetchall()
        self._identity = _identity(self._path)
        self._cursor = cursor

    def _close(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None and self._process == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def before_fork(self) -> None:
        """Wait until no thread uses the connection, and close it."""
        if self._lock.acquire(timeout=self._timeout):
            self._held_for_fork = True
            self._close()

    def after_fork(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, in the child, where no other thread is left that could hold the lock."""
        self._lock, self._held_for_fork = threading.Lock(), False


def _patiently(attempt: Callable[[], T], deadline: float) -> T:
    """Return what `attempt` returns, as soon as the file is not locked."""
    pause = SHORTEST_SLEEP
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if "lock" not in str(error) or monotonic() >= deadline:
                raise
        sleep(pause * random.random())  # noqa: S311  # so that waiting processes do not march in step
        pause = min(2 * pause, LONGEST_SLEEP)


def _create(path: str) -> None:
    """Make an empty file that only its owner may read. SQLite gives the files beside it the same mode.

    The files beside an older file, which was deleted without them, would be taken for the new one's: they are deleted
    first.
    """
    with contextlib.suppress(OSError):  # SQLite reports the error
        if not os.path.exists(path):  # noqa: PTH110  # on the path of a request
            with _alone_in(os.path.dirname(path)):  # noqa: PTH120
                _create_alone(path)


def _create_alone(path: str) -> None:
    if not os.path.exists(path):  # noqa: PTH110
        for beside in ("-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + beside)  # noqa: PTH108
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Keep other processes from making files in a folder, where the system and its permissions allow that."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: str) -> Identity | None:
    try:
        found = os.lstat(path)  # not through a link
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _tell_of_forks(file: SQLiteFile) -> None:
    """Call the methods of `file` around each fork, for as long as it is used."""
    if not hasattr(os, "register_at_fork"):  # Windows
        return
    os.register_at_fork(
        before=while_alive(file, SQLiteFile.before_fork),
        after_in_parent=while_alive(file, SQLiteFile.after_fork),
        after_in_child=while_alive(file, SQLiteFile.after_fork_in_child),
    )
