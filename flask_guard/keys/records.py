"""The records of stored keys, and the protocol of the tables that hold them.

A table only reads and writes records, in one statement each. :class:`flask_guard.keys.StoredKeys` has the logic of
keys.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ConfigError, GuardError
from ..support.options import is_number
from .model import ApiKey, KeyStoreUnavailable

log: logging.Logger = logging.getLogger("flask_guard")


class DamagedRecord(KeyStoreUnavailable):
    """The record of one key cannot be read. The table and the other keys still work.

    :param reason: the fault of the record, without its content.
    """

    def __init__(self, key_id: str, reason: str) -> None:
        super().__init__(f"the record of API key {key_id!r} is damaged: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A stored key, with hashes in place of secrets. Timestamps are seconds since 1970.

    :ivar digest: the SHA-256 of the whole key, in hexadecimal; empty for a key that is only known as revoked.
    :ivar retiring: the hashes of earlier secrets that are still valid, with their ends, the oldest first.
    :ivar version: the number of changes, so that two simultaneous changes do not overwrite each other.
    """

    id: str
    digest: str = field(repr=False)
    name: str = ""
    scopes: tuple[str, ...] = ()
    created: float = 0.0
    not_before: float | None = None
    expires: float | None = None
    revoked: float | None = None
    retiring: tuple[tuple[str, float], ...] = field(default=(), repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict)
    rate: str | None = None
    addresses: tuple[str, ...] = ()
    version: int = 1
    last_used: float | None = None

    def to_values(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {
            **values,
            "scopes": list(self.scopes),
            "retiring": [list(each) for each in self.retiring],
            "claims": dict(self.claims),
            "addresses": list(self.addresses),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> KeyRecord:
        """Return the record of `values`, the opposite of :meth:`to_values`."""
        retiring = tuple((digest, until) for digest, until in values["retiring"])
        lists = {name: tuple(values[name]) for name in ("scopes", "addresses")}
        return cls(**{**values, **lists, "retiring": retiring})

    def live(self, now: float) -> tuple[tuple[str, float], ...]:
        """Return the hashes of earlier secrets that are valid at `now`, with their ends."""
        return tuple(each for each in self.retiring if each[1] > now)

    def key(self, now: float) -> ApiKey:
        """Return the key as the application sees it."""
        names = (each.name for each in dataclasses.fields(ApiKey) if each.init)
        facts: dict[str, Any] = {name: getattr(self, name) for name in names}
        return ApiKey(**facts | {"retiring": [until for _, until in self.live(now)]})


def read_record(key_id: str, load: Callable[[], KeyRecord | None]) -> KeyRecord | None:
    """Return the record of `key_id` that `load` reads from a table, or None if the table has none.

    :raises DamagedRecord: if the content is not a record, or belongs to another key.
    """
    try:
        record = load()
        if record is not None and not _is_sound(record, key_id):
            raise ValueError("a field has another type")
    except GuardError:  # some of these are ValueErrors
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DamagedRecord(key_id, f"{type(error).__name__} while it was read") from error
    return record


def _is_sound(record: KeyRecord, key_id: str) -> bool:
    digests = (record.digest, *(digest for digest, _ in record.retiring))
    numbers = (record.version, record.created, *(until for _, until in record.retiring))
    return (
        record.id == key_id
        and all(isinstance(each, str) and each.isascii() for each in digests)
        and all(map(is_number, numbers))
    )


def readable(loads: Iterable[tuple[str, Callable[[], KeyRecord | None]]]) -> list[KeyRecord]:
    """Return the records that can be read. The log names the others.

    :param loads: the id of each record, and a function that reads the record.
    """
    records = []
    for key_id, load in loads:
        try:
            record = read_record(key_id, load)
        except DamagedRecord as damage:
            log.error("%s", damage)
        else:
            records += [record] if record is not None else []
    return records


def key_of(record: KeyRecord, now: float) -> ApiKey:
    """Return the key of a record.

    :raises DamagedRecord: if a field has an invalid value.
    """
    try:
        return record.key(now)
    except (ValueError, TypeError) as error:
        raise DamagedRecord(
            record.id, str(error) if isinstance(error, ConfigError) else type(error).__name__
        ) from error


class KeyTable(Protocol):
    """A table of records, used by several threads and processes at the same time.

    Every method raises :class:`~flask_guard.keys.KeyStoreUnavailable` if the table cannot be reached in time.
    """

    def insert(self, record: KeyRecord) -> bool:
        """Add `record`; return False if its id is taken."""
        ...

    def read(self, key_id: str) -> KeyRecord | None:
        """Return the record of `key_id`, or None.

        :raises DamagedRecord: if the record cannot be read.
        """
        ...

    def replace(self, record: KeyRecord) -> bool:
        """Write the next version of `record`; return False if the record has been changed meanwhile."""
        ...

    def all(self) -> Iterable[KeyRecord]:
        """Return every record that can be read. The log names the others."""
        ...

    def touch(self, used: Mapping[str, float]) -> None:
        """Note the last use of keys, by id. The version of a record stays."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
