"""The life of stored keys: made, verified, rotated and revoked."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import time as time_of_day
from datetime import timedelta
from time import monotonic, time
from typing import Any, Generic, TypeVar

from flask import Flask

from ..errors import ConfigError
from ..signals import key_created, key_revoked, key_rotated
from ..support.addresses import networks
from ..support.breaker import Breaker
from ..support.durations import parse_span
from ..support.options import number
from ..support.text import printable
from .format import KeyFormat, new_id
from .last_used import Usage
from .model import ApiKey, KeyStoreUnavailable, Timestamp, scope_tokens, timestamp
from .records import DamagedRecord, KeyRecord, KeyTable, key_of

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")
log: logging.Logger = logging.getLogger("flask_guard")

TRIES = 100
"""The tries of a change while others change the same key."""
MOST_RETIRING = 2
"""The largest number of valid earlier secrets, beside the current one."""
LONGEST_OVERLAP = timedelta(days=90)
MOST = 10_000
"""The largest number of answers in a cache."""
PROBED = "0" * 10
"""The id of the look-up that checks whether the table is back. No key needs to have it."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key with its secret. The secret is stored nowhere: show it once."""

    key: ApiKey
    secret: str = field(repr=False)


class Remembered(Generic[Q, A]):
    """Answers of a table by question, for several threads. A change of a key removes its answers.

    :ivar generation: the number of changes so far. Read the number before the table, and pass it to :meth:`put`: an
        answer from before a change must not be cached after the change.
    """

    def __init__(self) -> None:
        self.generation: int = 0
        self._lock = threading.Lock()
        self._answers: dict[Q, tuple[float, A, str]] = {}

    def get(self, question: Q, now: float) -> A | None:
        """Return the answer, or None if there is no answer at `now`."""
        found = self._answers.get(question)
        return found[1] if found is not None and found[0] > now else None

    def put(self, question: Q, key_id: str, answer: A, until: float, generation: int) -> None:
        """Remember an answer about a key, unless a key has changed since `generation`."""
        with self._lock:
            if generation == self.generation:
                if len(self._answers) >= MOST:
                    self._answers.clear()
                self._answers[question] = (until, answer, key_id)

    def clear(self) -> None:
        with self._lock:
            self.generation += 1
            self._answers = {}

    def forget(self, key_id: str) -> None:
        with self._lock:
            self.generation += 1
            self._answers = {question: each for question, each in self._answers.items() if each[2] != key_id}


class StoredKeys:
    """Keys that can be made, listed, rotated and revoked while the application runs.

    While the table is unreachable, keys that were verified within the last `cache` seconds still work. For another key
    the first look-up waits for the table. The next ones fail immediately, until a probe in the background succeeds.

    :param table: the table of the records.
    :param format: the form of the keys.
    :param cache: seconds for which a verified key is used without another look-up: the delay until a revocation
        reaches other processes.
    """

    def __init__(self, table: KeyTable, *, format: KeyFormat | None = None, cache: float = 5.0) -> None:
        number(0, 3600, "seconds")(cache, "cache=…")
        self.format: KeyFormat = format or KeyFormat()
        self._table = table
        self._usage = Usage(table)
        self._cache = cache
        self._verified: Remembered[bytes, ApiKey] = Remembered()
        self._revoked: Remembered[str, bool] = Remembered()
        self._breaker = Breaker(
            lambda: table.read(PROBED), (KeyStoreUnavailable,), opened=self._say_down, closed=self._say_up
        )

    def forget_verified(self) -> None:
        """Clear the cache: every key is looked up again at its next use."""
        self._verified.clear()
        self._revoked.clear()

    def for_app(self, app: Flask) -> StoredKeys:
        """Return these keys: every app has the same table."""
        return self

    # Looking up ------------------------------------------------------------------------------------------------------

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None.

        :raises KeyStoreUnavailable: if the key is not cached, and the table is unreachable.
        """
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        now = monotonic()
        key = self._verified.get(digest, now)
        if key is None:
            key = self._verify(presented, digest, now)
            if key is None:
                return None
        self._usage.note(key.id, now)
        return key

    def _verify(self, presented: str, digest: bytes, now: float) -> ApiKey | None:
        """Look a key up. An unknown id and a wrong secret get the same answer."""
        key_id = self.format.id_of(presented)
        if key_id is None:
            return None
        generation = self._verified.generation
        record = self._read(key_id)
        wall, hexadecimal = time(), digest.hex()
        seconds = self._cache if hmac.compare_digest(record.digest if record is not None else "", hexadecimal) else None
        for retiring, until in record.live(wall) if record is not None else ():
            if hmac.compare_digest(retiring, hexadecimal):
                seconds = min(self._cache, until - wall)
        if record is None or seconds is None or record.revoked is not None:
            return None
        key = key_of(record, wall)
        if self._cache:
            self._verified.put(digest, key_id, key, now + seconds, generation)
        return key

    def is_revoked(self, key_id: str) -> bool:
        """Return whether `key_id` is revoked, for keys that are verified elsewhere, such as signed ones.

        :raises KeyStoreUnavailable: if the answer is not cached, and the table is unreachable.
        """
        now = monotonic()
        revoked = self._revoked.get(key_id, now)
        if revoked is None:
            generation = self._revoked.generation
            record = self._read(key_id)
            revoked = record is not None and record.revoked is not None
            if self._cache:
                self._revoked.put(key_id, key_id, revoked, now + self._cache, generation)
        return revoked

    def _read(self, key_id: str) -> KeyRecord | None:
        """Return a record, without waiting for a table that is known to be unreachable."""
        if self._breaker.open:
            self._breaker.probe_if_due()
            still = KeyStoreUnavailable("the store of API keys is unreachable")
            still.is_logged = True
            raise still
        try:
            return self._table.read(key_id)
        except DamagedRecord:  # the table works
            raise
        except KeyStoreUnavailable as error:
            self._breaker.failed(error)
            error.is_logged = True
            raise

    def _say_down(self, error: Exception) -> None:
        log.error("API keys cannot be verified: %s. Cached keys still work", printable(str(error)))

    def _say_up(self) -> None:
        log.warning("the store of API keys is back")

    # Changing --------------------------------------------------------------------------------------------------------

    def create(
        self,
        *,
        name: str = "",
        scopes: str | Iterable[str] = (),
        expires: Timestamp = None,
        not_before: Timestamp = None,
        claims: Mapping[str, Any] | None = None,
        rate: str | None = None,
        addresses: str | Iterable[str] = (),
    ) -> NewKey:
        """Make a key, with the parameters of :class:`~flask_guard.ApiKey`.

        :raises ConfigError: for an invalid parameter.
        :raises KeyStoreUnavailable: if the table is unreachable.
        """
        starts = timestamp(not_before, "not_before", of_day=time_of_day.min)
        ends = timestamp(expires, "expires")
        options = {
            "name": name,
            "scopes": tuple(sorted(scope_tokens(scopes, "scopes"))),
            "expires": ends.timestamp() if ends is not None else None,
            "not_before": starts.timestamp() if starts is not None else None,
            "claims": _plain(claims),
            "rate": rate,
            "addresses": tuple(str(each) for each in networks(addresses, "addresses")),
            "created": time(),
        }
        while True:
            key_id = new_id()
            secret = self.format.new(key_id)
            record = KeyRecord(id=key_id, digest=_digest(secret), **options)  # type: ignore[arg-type]
            key = record.key(time())
            if self._table.insert(record):
                key_created.send(self, key=key)
                return NewKey(key, secret)

    def rotate(self, key_id: str, *, overlap: float | str | timedelta = 0) -> NewKey:
        """Give a key a new secret.

        :param overlap: the time for which the previous secret stays valid: seconds, a timedelta, or a duration such as
            ``"24h"``; at most 90 days. 0 ends all earlier secrets. With an overlap, at most two earlier secrets stay
            valid, each until its own end; the oldest is dropped first.
        :raises LookupError: for an unknown or revoked key.
        :raises ConfigError: for an invalid overlap.
        """
        seconds = _overlap(overlap)
        secret = self.format.new(key_id)

        def change(record: KeyRecord) -> KeyRecord:
            if record.revoked is not None or not record.digest:
                raise LookupError(f"key {key_id!r} has been revoked")
            now = time()
            retiring = (*record.live(now), (record.digest, now + seconds)) if seconds else ()
            return dataclasses.replace(record, digest=_digest(secret), retiring=retiring[-MOST_RETIRING:])

        key = key_of(self._change(key_id, change)[0], time())
        key_rotated.send(self, key=key)
        return NewKey(key, secret)

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key: immediately in this process, within ``cache`` seconds in others.

        Revoking a revoked key changes nothing, and sends no signal.

        :raises LookupError: for an unknown key.
        """
        record, is_changed = self._change(key_id, _revoked)
        key = key_of(record, time())
        if is_changed:
            key_revoked.send(self, key=key)
        return key

    def revoke_unknown(self, key_id: str) -> None:
        """Note the revocation of a key that is not stored, such as a signed one."""
        record = KeyRecord(id=key_id, digest="", created=time(), revoked=time())
        if self._table.insert(record):
            self._forget(key_id)
            key_revoked.send(self, key=record.key(time()))
        else:
            self.revoke(key_id)

    def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> tuple[KeyRecord, bool]:
        """Change a record. Return its new state, and whether it differs."""
        for _ in range(TRIES):
            record = self._record(key_id)
            changed = change(record)
            if changed is record or self._table.replace(dataclasses.replace(changed, version=record.version + 1)):
                self._forget(key_id)
                return changed, changed is not record
        raise KeyStoreUnavailable(f"key {key_id!r} is being changed by too many processes. Try again")

    def _forget(self, key_id: str) -> None:
        self._verified.forget(key_id)
        self._revoked.forget(key_id)

    def _record(self, key_id: str) -> KeyRecord:
        record = self._table.read(key_id)
        if record is None:
            raise LookupError(f"there is no key {key_id!r}")
        return record

    # Listing ---------------------------------------------------------------------------------------------------------

    def get(self, key_id: str) -> ApiKey:
        """Return a key by its id, even if it is no longer valid.

        :raises LookupError: for an unknown id.
        """
        return key_of(self._record(key_id), time())

    def list(self) -> builtins.list[ApiKey]:
        """Return all keys, the oldest first. The log names keys with a damaged record."""
        now, keys = time(), []
        for record in sorted(self._table.all(), key=lambda each: (each.created, each.id)):
            try:
                keys.append(key_of(record, now))
            except DamagedRecord as damage:
                log.error("%s", damage)
        return keys

    def flush(self) -> None:
        """Write the last use of keys now, and not half a second later."""
        self._usage.flush()

    def close(self) -> None:
        """Write the last use of keys, and close connections."""
        self.flush()
        self._table.close()


def _revoked(record: KeyRecord) -> KeyRecord:
    return record if record.revoked is not None else dataclasses.replace(record, revoked=time(), retiring=())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _overlap(value: float | str | timedelta) -> float:
    """Return an overlap in seconds."""
    span = parse_span(value) if isinstance(value, str) else value
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    return number(0, LONGEST_OVERLAP.total_seconds(), "seconds, a timedelta or a duration")(
        seconds, "rotate(overlap=…)"
    )


def _plain(claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of `claims` as a table returns them."""
    try:
        return dict(json.loads(json.dumps(dict(claims or {}), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"claims must be a mapping that JSON can hold: {error}") from None
