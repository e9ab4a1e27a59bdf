"""Keys in a SQL database, through SQLAlchemy Core (extra ``sql``)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigError
from .format import KeyFormat
from .model import KeyStoreUnavailable
from .records import KeyRecord
from .stored import StoredKeys

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Connection, Engine, MetaData, Table
    from sqlalchemy.engine import URL

T = TypeVar("T")
SCHEMA = 1
"""The version of the tables that this code reads and writes."""
WRITE_WAIT = 10.0
"""Seconds that a change waits for the other writers of a SQLite file. Reading one never waits."""


class SQLKeys(StoredKeys):
    """API keys in a SQL database: SQLite (the default, a file in the app's instance folder), PostgreSQL or MySQL.

    It makes its tables at the first use; several processes may do that at once.

    :param url: a SQLAlchemy URL, such as ``postgresql+psycopg://user:password@host/name``; None for the default.
    :param table: the name of the table of keys.
    :param timeout: for how many seconds a look-up may wait for the database.
    :param format: what the keys look like.
    :param cache: see :class:`StoredKeys`.
    :raises ConfigError: if SQLAlchemy is not installed, or an option cannot be meant.
    """

    def __init__(
        self,
        url: str | URL | None = None,
        *,
        table: str = "guard_api_keys",
        timeout: float = 1.0,
        format: KeyFormat | None = None,
        cache: float = 5.0,
    ) -> None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout <= 0:
            raise ConfigError(f"SQLKeys(timeout=…) must be seconds, not {timeout!r}")
        if not table.isidentifier() or not table.isascii():
            raise ConfigError(f"SQLKeys(table=…) must be a name such as guard_api_keys, not {table!r}")
        self._options = {"table": table, "timeout": timeout, "format": format, "cache": cache}
        self._url = url
        super().__init__(_SQLTable(url, table, timeout), format=format, cache=cache)

    def for_app(self, app: Flask) -> SQLKeys:
        """Return this, or, if it was given no URL, the keys in the instance folder of `app`."""
        if self._url is not None:
            return self
        folder = Path(app.instance_path)
        folder.mkdir(parents=True, exist_ok=True)
        return SQLKeys(f"sqlite:///{folder / 'api_keys.sqlite'}", **self._options)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"SQLKeys(table={self._options['table']!r})"


class _SQLTable:
    """The table of keys. Every operation is a single statement, which commits by itself."""

    def __init__(self, url: str | URL | None, table: str, timeout: float) -> None:
        sqlalchemy = _sqlalchemy()
        self._metadata: MetaData = sqlalchemy.MetaData()
        self._keys = _keys_table(self._metadata, table)
        self._versions = sqlalchemy.Table(
            "guard_schema",
            self._metadata,
            sqlalchemy.Column("name", sqlalchemy.String(64), primary_key=True),
            sqlalchemy.Column("version", sqlalchemy.Integer, nullable=False),
        )
        self._timeout = timeout
        self._process = os.getpid()
        self._ready = False
        self._engine: Engine | None = None
        if url is not None:
            try:
                self._engine = _engine(sqlalchemy.make_url(url), timeout)
            except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
                reason = str(error).replace(str(url), "…")
                raise ConfigError(f"SQLKeys(url=…) cannot be meant, or its driver is not installed: {reason}") from None
            weakref.finalize(self, _dispose, self._engine, self._process)

    def insert(self, record: KeyRecord) -> bool:
        """Add `record`; return False if there is one with its id."""
        from sqlalchemy.exc import IntegrityError

        def run(connection: Connection) -> bool:
            try:
                connection.execute(self._keys.insert().values(**record.to_values()))
            except IntegrityError:
                return False
            return True

        return self._run(run, WRITE_WAIT)

    def read(self, key_id: str) -> KeyRecord | None:
        """Return the record of `key_id`, or None."""
        query = self._keys.select().where(self._keys.c.id == key_id)
        row = self._run(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else KeyRecord.from_values(dict(row))

    def replace(self, record: KeyRecord) -> bool:
        """Write `record` if it is still of the version before."""
        values = record.to_values()
        del values["last_used"]
        unchanged = (self._keys.c.id == record.id) & (self._keys.c.version == record.version - 1)
        update = self._keys.update().where(unchanged).values(**values)
        return self._run(lambda connection: connection.execute(update).rowcount == 1, WRITE_WAIT)

    def all(self) -> Iterable[KeyRecord]:
        """Return every record."""
        rows = self._run(lambda connection: connection.execute(self._keys.select()).mappings().all())
        return [KeyRecord.from_values(dict(row)) for row in rows]

    def touch(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used."""
        column = self._keys.c.last_used

        def run(connection: Connection) -> None:
            for key_id, at in used.items():
                older = column.is_(None) | (column < at)
                connection.execute(self._keys.update().where((self._keys.c.id == key_id) & older).values(last_used=at))

        self._run(run, WRITE_WAIT)

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()

    def _run(self, operation: Callable[[Connection], T], busy: float | None = None) -> T:
        """Return what `operation` returns.

        :param busy: for how many seconds it may wait for other writers of a SQLite file; None for the timeout.
        """
        engine = self._engine
        if engine is None:
            raise ConfigError("these SQLKeys have no database yet: give Guard(keys=SQLKeys()) the app, or write a URL")
        if self._process != os.getpid():  # connections must not be shared with the process that this was forked from
            self._process = os.getpid()
            engine.dispose(close=False)
        if engine.dialect.name == "sqlite":
            return self._execute(engine, operation, busy or self._timeout)
        return _within(self._timeout, lambda: self._execute(engine, operation, 0))

    def _execute(self, engine: Engine, operation: Callable[[Connection], T], busy: float) -> T:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with engine.connect() as connection:
                if busy:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(busy * 1000)}")
                if not self._ready:
                    self._prepare(connection)
                    self._ready = True
                return operation(connection)
        except SQLAlchemyError as error:
            raise KeyStoreUnavailable(f"the database of API keys cannot be used: {type(error).__name__}") from error

    def _prepare(self, connection: Connection) -> None:
        """Make the tables unless they are there, and check that they are of a version that this code knows."""
        from sqlalchemy import inspect

        wanted = self._versions.select().where(self._versions.c.name == self._keys.name)
        made = inspect(connection).has_table(self._versions.name) and connection.execute(wanted).first() is not None
        if not made:
            self._make(connection)
        version = connection.execute(wanted).mappings().one()["version"]
        if version != SCHEMA:
            raise ConfigError(
                f"the table {self._keys.name!r} is of version {version}, and this flask-guard-kit knows {SCHEMA}:"
                " upgrade flask-guard-kit, or name another table"
            )

    def _make(self, connection: Connection) -> None:
        """Make the tables. The version comes last, so that whoever finds it need not write, nor wait for a writer."""
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.schema import CreateTable

        if connection.dialect.name == "sqlite":
            _let_readers_go_on(connection)
        for table in (self._versions, self._keys):
            with contextlib.suppress(SQLAlchemyError):  # another process may be making it; if not, the next line fails
                connection.execute(CreateTable(table, if_not_exists=True))
            connection.execute(table.select().limit(1))
        with contextlib.suppress(SQLAlchemyError):
            connection.execute(self._versions.insert().values(name=self._keys.name, version=SCHEMA))


def _sqlalchemy() -> Any:
    try:
        import sqlalchemy
    except ImportError:
        raise ConfigError("SQLKeys needs SQLAlchemy. Install it with: pip install 'flask-guard-kit[sql]'") from None
    return sqlalchemy


def _keys_table(metadata: MetaData, name: str) -> Table:
    from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text

    moments = ("created", "not_before", "expires", "revoked", "last_used")
    return Table(
        name,
        metadata,
        Column("id", String(255), primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("name", Text, nullable=False),
        *(Column(each, JSON, nullable=False) for each in ("scopes", "retiring", "claims", "addresses")),
        Column("rate", Text),
        *(Column(each, Float(53)) for each in moments),
        Column("version", Integer, nullable=False),
    )


def _dispose(engine: Engine, process: int) -> None:
    if os.getpid() == process:  # not after a fork: the connections are the parent's
        engine.dispose()


def _engine(url: URL, timeout: float) -> Engine:
    from sqlalchemy import create_engine, event

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
        raise ConfigError("SQLKeys(url=…): a database in memory is another one for each thread; name a file")
    options = {"pool_timeout": timeout, "pool_pre_ping": backend != "sqlite"}
    engine = create_engine(url, connect_args=connect_args, isolation_level="AUTOCOMMIT", **options)
    if backend == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _let_readers_go_on(connection: Connection) -> None:
    """Let readers of a SQLite file go on while somebody writes.

    The file remembers that. SQLite does not wait when several processes ask for it at once: it fails.
    """
    from sqlalchemy.exc import OperationalError

    deadline = time.monotonic() + WRITE_WAIT
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _within(seconds: float, operation: Callable[[], T]) -> T:
    """Return what `operation` returns, or give up: drivers wait for ever for a server that is there and does nothing.

    :raises KeyStoreUnavailable: if it takes longer.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(operation())
        except BaseException as error:  # noqa: BLE001  # it is raised where the operation was wanted
            outcome.set_exception(error)

    thread = threading.Thread(target=work, daemon=True, name="flask_guard-keys-sql")
    thread.start()
    thread.join(seconds)
    if not outcome.done():
        raise KeyStoreUnavailable(f"the database of API keys did not answer within {seconds} s")
    return outcome.result()
