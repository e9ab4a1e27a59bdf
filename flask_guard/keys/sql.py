"""Keys in a SQL database, through SQLAlchemy Core (extra ``sql``)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..support.extras import extra
from ..support.options import number
from .format import KeyFormat
from .stored import StoredKeys

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.engine import URL


class SQLKeys(StoredKeys):
    """API keys in a SQL database: SQLite (the default, a file in the app's instance folder), PostgreSQL or MySQL.

    The tables are made at the first use, even by several processes at the same time. A SQLite file is for its owner
    only: a symbolic link, or a file of another user, is refused.

    :param url: a SQLAlchemy URL, such as ``postgresql+psycopg://user:password@host/name``; None for the default.
    :param table: the name of the table of keys.
    :param timeout: seconds that a look-up may wait for the database.
    :param format: the form of the keys.
    :param cache: see :class:`StoredKeys`.
    :raises ConfigError: for an invalid option, and if SQLAlchemy is not installed.
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
        number(0.001, math.inf, "seconds")(timeout, "SQLKeys(timeout=…)")
        if not table.isidentifier() or not table.isascii():
            raise ConfigError(f"SQLKeys(table=…) must be a name such as guard_api_keys, not {table!r}")
        with extra("sql", "SQLAlchemy", "SQLKeys"):
            from .sql_engine import KeyEngine
            from .sql_table import SQLTable
        self._options: dict[str, Any] = {"table": table, "timeout": timeout, "format": format, "cache": cache}
        self._url = url
        engine = KeyEngine(url, timeout) if url is not None else None
        super().__init__(SQLTable(engine, table), format=format, cache=cache)

    def for_app(self, app: Flask) -> SQLKeys:
        """Return these keys or, without a URL, the keys in the instance folder of `app`."""
        if self._url is not None:
            return self
        folder = Path(app.instance_path)
        folder.mkdir(parents=True, exist_ok=True)
        return SQLKeys(f"sqlite:///{folder / 'api_keys.sqlite'}", **self._options)

    def __repr__(self) -> str:
        return f"SQLKeys(table={self._options['table']!r})"
