"""The table of SQL keys. Needs SQLAlchemy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from sqlalchemy import JSON, Column, Connection, Float, Integer, MetaData, String, Table, Text, inspect
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from ..errors import ConfigError, GuardError
from .records import KeyRecord, read_record, readable
from .sql_engine import KeyEngine, let_readers_go_on

T = TypeVar("T")
SCHEMA = 1
"""The version of the tables."""
WRITE_WAIT = 10.0
"""Seconds that a change waits for other writers of a SQLite file. A read never waits."""


class SQLTable:
    """A :class:`KeyTable`. Every operation is a single statement, committed automatically."""

    def __init__(self, engine: KeyEngine | None, table: str) -> None:
        self._engine = engine
        self._metadata = MetaData()
        self._keys = _keys_table(self._metadata, table)
        self._versions = Table(
            "guard_schema",
            self._metadata,
            Column("name", String(64), primary_key=True),
            Column("version", Integer, nullable=False),
        )
        self._ready = False

    def insert(self, record: KeyRecord) -> bool:

        def run(connection: Connection) -> bool:
            try:
                connection.execute(self._keys.insert().values(**record.to_values()))
            except IntegrityError:
                return False
            return True

        return self._run(run, WRITE_WAIT)

    def read(self, key_id: str) -> KeyRecord | None:
        return read_record(key_id, lambda: self._load(key_id))

    def _load(self, key_id: str) -> KeyRecord | None:
        query = self._keys.select().where(self._keys.c.id == key_id)
        row = self._run(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else KeyRecord.from_values(dict(row))

    def replace(self, record: KeyRecord) -> bool:
        values = record.to_values()
        del values["last_used"]
        unchanged = (self._keys.c.id == record.id) & (self._keys.c.version == record.version - 1)
        update = self._keys.update().where(unchanged).values(**values)
        return self._run(lambda connection: connection.execute(update).rowcount == 1, WRITE_WAIT)

    def all(self) -> Iterable[KeyRecord]:
        try:
            rows = self._run(lambda connection: connection.execute(self._keys.select()).mappings().all())
            return [KeyRecord.from_values(dict(row)) for row in rows]
        except GuardError:
            raise
        except (ValueError, TypeError, LookupError):  # of one record, which the next lines find
            ids = self._run(lambda connection: connection.scalars(self._keys.select()).all())
            return readable((key_id, partial(self._load, key_id)) for key_id in ids)

    def touch(self, used: Mapping[str, float]) -> None:
        column = self._keys.c.last_used

        def run(connection: Connection) -> None:
            for key_id, at in used.items():
                older = column.is_(None) | (column < at)
                connection.execute(self._keys.update().where((self._keys.c.id == key_id) & older).values(last_used=at))

        self._run(run, WRITE_WAIT)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _run(self, operation: Callable[[Connection], T], busy: float | None = None) -> T:
        """Run `operation` as :meth:`KeyEngine.run` does, on tables that exist."""
        if self._engine is None:
            raise ConfigError("these SQLKeys have no database yet: write Guard(app, keys=SQLKeys()), or SQLKeys(url=…)")

        def prepared(connection: Connection) -> T:
            if not self._ready:
                self._prepare(connection)
                self._ready = True
            return operation(connection)

        return self._engine.run(prepared, busy)

    def _prepare(self, connection: Connection) -> None:
        """Make the tables if they are missing, and check their version."""
        wanted = self._versions.select().where(self._versions.c.name == self._keys.name)
        made = inspect(connection).has_table(self._versions.name) and connection.execute(wanted).first() is not None
        if not made:
            self._make(connection)
        version = connection.execute(wanted).mappings().one()["version"]
        if version != SCHEMA:
            raise ConfigError(
                f"the table {self._keys.name!r} has version {version}, and this flask-guard-kit supports {SCHEMA}:"
                " upgrade flask-guard-kit, or name another table"
            )

    def _make(self, connection: Connection) -> None:
        """Make the tables. The version is written last: a process that finds it neither writes nor waits."""
        let_readers_go_on(connection, WRITE_WAIT)
        for table in (self._versions, self._keys):
            with contextlib.suppress(SQLAlchemyError):  # another process may make it; if not, the next line fails
                connection.execute(CreateTable(table, if_not_exists=True))
            connection.execute(table.select().limit(1))
        with contextlib.suppress(SQLAlchemyError):
            connection.execute(self._versions.insert().values(name=self._keys.name, version=SCHEMA))


def _keys_table(metadata: MetaData, name: str) -> Table:
    timestamps = ("created", "not_before", "expires", "revoked", "last_used")
    return Table(
        name,
        metadata,
        Column("id", String(255), primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("name", Text, nullable=False),
        *(Column(each, JSON, nullable=False) for each in ("scopes", "retiring", "claims", "addresses")),
        Column("rate", Text),
        *(Column(each, Float(53)) for each in timestamps),
        Column("version", Integer, nullable=False),
    )
