"""The database of SQL keys. No request waits longer than the timeout for it. Needs SQLAlchemy."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from ..errors import ConfigError
from ..support.private_file import UnsafeFile, claim, refuse_unsafe
from .model import KeyStoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

T = TypeVar("T")


class KeyEngine:
    """Runs operations on a database.

    :param timeout: seconds that an operation may wait for the database.
    :raises ConfigError: for an invalid URL, and if its driver is not installed.
    """

    def __init__(self, url: str | URL, timeout: float) -> None:
        self._timeout = timeout
        self._process = os.getpid()
        try:
            self._engine = _engine(make_url(url), timeout)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            reason = str(error).replace(str(url), "…")
            raise ConfigError(
                "SQLKeys(url=…) is not a database URL such as postgresql+psycopg://user:password@host/name, or its"
                f" driver is missing: {reason}"
            ) from None
        weakref.finalize(self, _dispose, self._engine, self._process)

    def run(self, operation: Callable[[Connection], T], busy: float | None = None) -> T:
        """Return the result of `operation`.

        :param busy: seconds that the operation may wait for other writers of a SQLite file; None for the timeout.
        :raises KeyStoreUnavailable: if the database does not answer in time.
        """
        if self._process != os.getpid():  # a forked process must not use the connections of its parent
            self._process = os.getpid()
            self._engine.dispose(close=False)
        if self._engine.dialect.name == "sqlite":
            return self._execute(operation, busy or self._timeout)
        return _within(self._timeout, lambda: self._execute(operation, 0))

    def _execute(self, operation: Callable[[Connection], T], busy: float) -> T:
        try:
            with self._engine.connect() as connection:
                if busy:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(busy * 1000)}")
                return operation(connection)
        except UnsafeFile as error:
            raise KeyStoreUnavailable(f"the database of API keys is not safe: {error}") from error
        except SQLAlchemyError as error:
            raise KeyStoreUnavailable(f"the database of API keys cannot be used: {type(error).__name__}") from error

    def close(self) -> None:
        self._engine.dispose()


def _dispose(engine: Engine, process: int) -> None:
    if os.getpid() == process:  # in a forked process the connections belong to the parent
        engine.dispose()


def _engine(url: URL, timeout: float) -> Engine:
    backend = url.get_backend_name()
    seconds = max(1, round(timeout))
    connect_args: dict[str, Any] = {}
    if backend == "sqlite":
        connect_args = {"timeout": timeout}
    elif backend == "postgresql":
        connect_args = {"connect_timeout": seconds, "options": f"-c statement_timeout={int(timeout * 1000)}"}
    elif backend in ("mysql", "mariadb"):
        connect_args = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError("SQLKeys(url=…): each thread would have another database in memory. Name a file")
    options = {"pool_timeout": timeout, "pool_pre_ping": backend != "sqlite"}
    engine = create_engine(url, connect_args=connect_args, isolation_level="AUTOCOMMIT", **options)
    if backend == "sqlite":
        _guard_sqlite(engine, str(url.database))
    return engine


def _within(seconds: float, operation: Callable[[], T]) -> T:
    """Return the result of `operation`, or give up: drivers wait without end for a server that hangs.

    :raises KeyStoreUnavailable: if the operation takes longer.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(operation())
        except BaseException as error:  # noqa: BLE001  # raised again in the calling thread
            outcome.set_exception(error)

    thread = threading.Thread(target=work, daemon=True, name="flask_guard-keys-sql")
    thread.start()
    thread.join(seconds)
    if not outcome.done():
        raise KeyStoreUnavailable(f"the database of API keys did not answer within {seconds} s")
    return outcome.result()


# SQLite -----------------------------------------------------------------------------------------------------------


def _guard_sqlite(engine: Engine, path: str) -> None:
    """Let only this user read the file, and do not wait for the disk at each change.

    :raises ConfigError: for a symbolic link, and for a file of another user.
    """
    is_uri = path.startswith("file:")  # only SQLite can read the path in a URI

    def before(*_: object) -> None:
        if not is_uri:
            try:
                claim(path)
            except UnsafeFile:
                raise
            except OSError:  # SQLite reports the failure
                pass

    def after(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    if not is_uri:
        try:
            refuse_unsafe(path)
        except UnsafeFile as error:
            raise ConfigError(f"SQLKeys: {error}") from None
    event.listen(engine, "do_connect", before)
    event.listen(engine, "connect", after)


def let_readers_go_on(connection: Connection, seconds: float) -> None:
    """Let readers of a SQLite file work while another process writes.

    The setting is stored in the file. SQLite fails, without waiting, when several processes change it at the same
    time.
    """
    if connection.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
