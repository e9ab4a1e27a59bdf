"""The life of stored keys: made, verified, rotated and revoked."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..signals import key_created, key_revoked, key_rotated
from ..support.addresses import networks
from .format import KeyFormat, new_id
from .last_used import Usage
from .model import ApiKey, KeyStoreUnavailable, Moment, moment, scope_tokens
from .records import KeyRecord, KeyTable

if TYPE_CHECKING:
    from flask import Flask

MOST_CACHED = 10_000
"""Verified keys that are remembered at once."""
TRIES = 100
"""How often a change is tried again when others change the same key at the same time."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, with its secret. The secret is nowhere else: show it once, and forget it."""

    key: ApiKey
    secret: str = field(repr=False)


class StoredKeys:
    """Keys that can be made, listed, rotated and revoked while the application runs.

    :param table: where they are kept.
    :param format: what they look like.
    :param cache: for how many seconds a verified key may be used without being looked up again: the time within which
        a revocation reaches other processes, and for which verified keys go on working when the table is down.
    """

    def __init__(self, table: KeyTable, *, format: KeyFormat | None = None, cache: float = 5.0) -> None:
        if not isinstance(cache, (int, float)) or isinstance(cache, bool) or not 0 <= cache <= 3600:
            raise ConfigError(f"cache=… must be seconds from 0 to 3600, not {cache!r}")
        self.format: KeyFormat = format or KeyFormat()
        self._table = table
        self._usage = Usage(table)
        self._cache = cache
        self._lock = threading.Lock()
        self._verified: dict[bytes, tuple[float, ApiKey]] = {}
        self._revoked: dict[str, tuple[float, bool]] = {}
        self._changes = 0

    def for_app(self, app: Flask) -> StoredKeys:
        """Return this: its table is the same for every app."""
        return self

    # Looking up ------------------------------------------------------------------------------------------------------

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None.

        :raises KeyStoreUnavailable: if it has not been verified lately, and the table cannot be reached.
        """
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        now = time.monotonic()
        cached = self._verified.get(digest)
        if cached is not None and cached[0] > now:
            key = cached[1]
        else:
            changes = self._changes
            found = self._verify(presented, digest.hex(), now)
            if found is None:
                return None
            until, key = found
            self._remember(digest, until, key, changes)
        self._usage.note(key.id, now)
        return key

    def _verify(self, presented: str, digest: str, now: float) -> tuple[float, ApiKey] | None:
        """Return the key, and until when it may be cached. A wrong id and a wrong secret are the same to it."""
        key_id = self.format.id_of(presented)
        if key_id is None:
            return None
        record = self._table.read(key_id)
        wanted = record.digest if record is not None else ""
        until = now + self._cache if hmac.compare_digest(wanted, digest) else None
        left = time.time()
        for retiring, ends in record.retiring if record is not None else ():
            if hmac.compare_digest(retiring, digest) and ends > left:
                until = now + min(self._cache, ends - left)
        if record is None or until is None or record.revoked is not None:
            return None
        return until, record.key()

    def _remember(self, digest: bytes, until: float, key: ApiKey, changes: int) -> None:
        """Cache a verified key, unless one was changed here since it was read."""
        with self._lock:
            if self._cache and changes == self._changes:
                if len(self._verified) >= MOST_CACHED:
                    self._verified.clear()
                self._verified[digest] = (until, key)

    def _forget(self, key_id: str) -> None:
        with self._lock:
            self._changes += 1
            self._verified = {digest: entry for digest, entry in self._verified.items() if entry[1].id != key_id}
            self._revoked.pop(key_id, None)

    def is_revoked(self, key_id: str) -> bool:
        """Return whether `key_id` is known as revoked; for keys that are verified elsewhere, such as signed ones.

        :raises KeyStoreUnavailable: if that has not been asked lately, and the table cannot be reached.
        """
        now = time.monotonic()
        cached = self._revoked.get(key_id)
        if cached is not None and cached[0] > now:
            return cached[1]
        changes = self._changes
        record = self._table.read(key_id)
        revoked = record is not None and record.revoked is not None
        with self._lock:
            if self._cache and changes == self._changes:
                if len(self._revoked) >= MOST_CACHED:
                    self._revoked.clear()
                self._revoked[key_id] = (now + self._cache, revoked)
        return revoked

    # Changing --------------------------------------------------------------------------------------------------------

    def create(
        self,
        *,
        name: str = "",
        scopes: str | Iterable[str] = (),
        expires: Moment = None,
        not_before: Moment = None,
        claims: Mapping[str, Any] | None = None,
        rate: str | None = None,
        addresses: str | Iterable[str] = (),
    ) -> NewKey:
        """Make a key. The parameters are those of :class:`~flask_guard.ApiKey`.

        :raises ConfigError: if one cannot be meant.
        :raises KeyStoreUnavailable: if the table cannot be reached.
        """
        options = {
            "name": name,
            "scopes": tuple(sorted(scope_tokens(scopes, "scopes"))),
            "expires": _seconds(expires, "expires"),
            "not_before": _seconds(not_before, "not_before"),
            "claims": _plain(claims),
            "rate": rate,
            "addresses": tuple(str(each) for each in networks(addresses, "addresses")),
            "created": time.time(),
        }
        while True:
            key_id = new_id()
            secret = self.format.new(key_id)
            record = KeyRecord(id=key_id, digest=_digest(secret), **options)  # type: ignore[arg-type]
            key = record.key()
            if self._table.insert(record):
                key_created.send(self, key=key)
                return NewKey(key, secret)

    def rotate(self, key_id: str, *, overlap: float | timedelta = 0) -> NewKey:
        """Give a key a new secret.

        :param overlap: for how long (seconds) the old secret still works.
        :raises LookupError: if there is no such key, or it has been revoked.
        """
        seconds = overlap.total_seconds() if isinstance(overlap, timedelta) else overlap
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise ConfigError(f"rotate(overlap=…) must be seconds or a timedelta, not {overlap!r}")
        secret = self.format.new(key_id)

        def change(record: KeyRecord) -> KeyRecord:
            if record.revoked is not None or not record.digest:
                raise LookupError(f"key {key_id!r} has been revoked")
            now = time.time()
            live = [each for each in record.retiring if each[1] > now]
            if seconds:
                live.append((record.digest, now + seconds))
            return dataclasses.replace(record, digest=_digest(secret), retiring=tuple(live))

        key = self._change(key_id, change).key()
        key_rotated.send(self, key=key)
        return NewKey(key, secret)

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key work no more: at once in this process, within ``cache`` seconds in every other.

        :raises LookupError: if there is no such key.
        """
        key = self._change(key_id, _revoked).key()
        key_revoked.send(self, key=key)
        return key

    def revoke_unknown(self, key_id: str) -> None:
        """Note a key that is kept elsewhere, such as a signed one, as revoked."""
        record = KeyRecord(id=key_id, digest="", created=time.time(), revoked=time.time())
        if self._table.insert(record):
            self._forget(key_id)
            key_revoked.send(self, key=record.key())
        else:
            self.revoke(key_id)

    def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        for _ in range(TRIES):
            record = self._table.read(key_id)
            if record is None:
                raise LookupError(f"there is no key {key_id!r}")
            changed = change(record)
            done = changed is record
            if done or self._table.replace(dataclasses.replace(changed, version=record.version + 1)):
                self._forget(key_id)
                return changed
        raise KeyStoreUnavailable(f"key {key_id!r} is being changed by too many at once")

    # Listing ---------------------------------------------------------------------------------------------------------

    def get(self, key_id: str) -> ApiKey:
        """Return a key by its id, whether it works or not.

        :raises LookupError: if there is none.
        """
        record = self._table.read(key_id)
        if record is None:
            raise LookupError(f"there is no key {key_id!r}")
        return record.key()

    def list(self) -> list[ApiKey]:
        """Return all keys, the oldest first."""
        return [record.key() for record in sorted(self._table.all(), key=lambda each: (each.created, each.id))]

    def flush(self) -> None:
        """Write when keys were last used, which otherwise happens half a second later."""
        self._usage.flush()

    def close(self) -> None:
        """Write what is to be written, and let go of connections."""
        self.flush()
        self._table.close()


def _revoked(record: KeyRecord) -> KeyRecord:
    return record if record.revoked is not None else dataclasses.replace(record, revoked=time.time(), retiring=())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _plain(claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `claims` as they will come back from a table."""
    try:
        return dict(json.loads(json.dumps(dict(claims or {}), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"claims must be a mapping that JSON can hold: {error}") from None


def _seconds(value: Moment, what: str) -> float | None:
    at = moment(value, what)
    return at.timestamp() if at is not None else None
