"""Keys in Redis (extra ``redis``)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from .format import KeyFormat
from .model import KeyStoreUnavailable
from .records import KeyRecord
from .stored import StoredKeys

_INSERT = """
if redis.call('exists', KEYS[1]) == 1 then return 0 end
redis.call('hset', KEYS[1], 'record', ARGV[1], 'version', ARGV[2])
redis.call('sadd', KEYS[2], ARGV[3])
return 1
"""
_REPLACE = """
if tonumber(redis.call('hget', KEYS[1], 'version') or -1) ~= tonumber(ARGV[2]) - 1 then return 0 end
redis.call('hset', KEYS[1], 'record', ARGV[1], 'version', ARGV[2])
return 1
"""
_TOUCH = """
if redis.call('exists', KEYS[1]) == 0 then return 0 end
if tonumber(redis.call('hget', KEYS[1], 'used') or 0) < tonumber(ARGV[1]) then
  redis.call('hset', KEYS[1], 'used', ARGV[1])
end
return 1
"""


class RedisKeys(StoredKeys):
    """API keys in Redis.

    :param url: such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
    :param prefix: what the names of its Redis keys begin with. On a cluster, the part in braces keeps them in one slot.
    :param timeout: for how many seconds an operation may wait for Redis.
    :param format: what the keys look like.
    :param cache: see :class:`StoredKeys`.
    :raises ConfigError: if redis-py is not installed, or an option cannot be meant.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "{guard:keys}:",
        timeout: float = 1.0,
        format: KeyFormat | None = None,
        cache: float = 5.0,
    ) -> None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout <= 0:
            raise ConfigError(f"RedisKeys(timeout=…) must be seconds, not {timeout!r}")
        self._prefix = prefix
        super().__init__(_RedisTable(url, prefix, timeout), format=format, cache=cache)

    def __repr__(self) -> str:
        return f"RedisKeys(prefix={self._prefix!r})"


class _RedisTable:
    """A hash for each key, and a set of their ids."""

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigError(
                "RedisKeys needs redis-py. Install it with: pip install 'flask-guard-kit[redis]'"
            ) from None
        self._errors: tuple[type[Exception], ...] = (redis.RedisError,)
        self._prefix = prefix
        self._ids = f"{prefix}ids"
        try:
            self._redis: Any = redis.Redis.from_url(
                url, decode_responses=True, socket_timeout=timeout, socket_connect_timeout=timeout
            )
        except (ValueError, TypeError, AttributeError):
            raise ConfigError("RedisKeys(url=…) must be a URL such as redis://localhost:6379/0") from None
        self._insert, self._replace, self._touch = map(self._redis.register_script, (_INSERT, _REPLACE, _TOUCH))

    def insert(self, record: KeyRecord) -> bool:
        """Add `record`; return False if there is one with its id."""
        with self._reached():
            keys = [self._name(record.id), self._ids]
            return bool(self._insert(keys=keys, args=[_dump(record), record.version, record.id]))

    def read(self, key_id: str) -> KeyRecord | None:
        """Return the record of `key_id`, or None."""
        with self._reached():
            return _load(self._redis.hgetall(self._name(key_id)))

    def replace(self, record: KeyRecord) -> bool:
        """Write `record` if it is still of the version before."""
        with self._reached():
            return bool(self._replace(keys=[self._name(record.id)], args=[_dump(record), record.version]))

    def all(self) -> Iterable[KeyRecord]:
        """Return every record."""
        with self._reached():
            pipeline = self._redis.pipeline(transaction=False)
            for key_id in self._redis.smembers(self._ids):
                pipeline.hgetall(self._name(key_id))
            return [record for values in pipeline.execute() if (record := _load(values)) is not None]

    def touch(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used."""
        with self._reached():
            for key_id, at in used.items():
                self._touch(keys=[self._name(key_id)], args=[at])

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def _name(self, key_id: str) -> str:
        return f"{self._prefix}key:{key_id}"

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise KeyStoreUnavailable(f"the Redis of API keys cannot be used: {type(error).__name__}") from error


def _dump(record: KeyRecord) -> str:
    values = record.to_values()
    del values["last_used"], values["version"]
    return json.dumps(values)


def _load(fields: Mapping[str, str]) -> KeyRecord | None:
    if not fields:
        return None
    used = fields.get("used")
    values = {**json.loads(fields["record"]), "version": int(fields["version"])}
    return KeyRecord.from_values({**values, "last_used": float(used) if used else None})
