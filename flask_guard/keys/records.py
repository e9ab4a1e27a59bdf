"""A stored key as a table holds it, and what a table has to do.

A table only reads and writes records, one statement each; all that is clever about keys is in
:class:`flask_guard.keys.StoredKeys`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .model import ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A stored key. It holds hashes of secrets and no secret; moments are seconds since 1970.

    :ivar digest: the SHA-256 of the whole key, in hexadecimal; empty for a key that is only known as revoked.
    :ivar retiring: hashes of earlier secrets that still work, and until when.
    :ivar version: counts the changes, so that none is lost to another made at the same time.
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
        """Return the record with the fields `values`, as :meth:`to_values` gives them."""
        retiring = tuple((digest, until) for digest, until in values["retiring"])
        lists = {name: tuple(values[name]) for name in ("scopes", "addresses")}
        return cls(**{**values, **lists, "retiring": retiring})

    def key(self) -> ApiKey:
        """Return what the application sees of it."""
        return ApiKey(
            self.id,
            self.name,
            frozenset(self.scopes),
            self.expires,  # type: ignore[arg-type]  # it takes seconds, too
            self.not_before,  # type: ignore[arg-type]
            self.claims,
            self.rate,
            self.addresses,  # type: ignore[arg-type]
            self.created,  # type: ignore[arg-type]
            self.last_used,  # type: ignore[arg-type]
            self.revoked,  # type: ignore[arg-type]
        )


class KeyTable(Protocol):
    """Where records are kept. Called by several threads, and changed by several processes, at once.

    Every method raises :class:`~flask_guard.keys.KeyStoreUnavailable` if the table cannot be reached in time.
    """

    def insert(self, record: KeyRecord) -> bool:
        """Add `record`; return False if there is one with its id."""
        ...

    def read(self, key_id: str) -> KeyRecord | None:
        """Return the record of `key_id`, or None."""
        ...

    def replace(self, record: KeyRecord) -> bool:
        """Write `record`, whose version is one more than it was; return False if it has been changed since."""
        ...

    def all(self) -> Iterable[KeyRecord]:
        """Return every record."""
        ...

    def touch(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used, by id. This does not count as a change."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
