"""Keys in Redis (extra ``redis``)."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..errors import ConfigError
from ..support.extras import extra
from ..support.options import number
from .format import KeyFormat
from .model import KeyStoreUnavailable
from .records import KeyRecord, read_record, readable
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

    :param url: a URL such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
    :param prefix: the beginning of the names in Redis. On a cluster, the part in braces puts all names into one slot.
    :param timeout: seconds that an operation may wait for Redis.
    :param format: the form of the keys.
    :param cache: see :class:`StoredKeys`.
    :raises ConfigError: for an invalid option, and if redis-py is not installed.
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
        number(0.001, math.inf, "seconds")(timeout, "RedisKeys(timeout=…)")
        self._prefix = prefix
        super().__init__(_RedisTable(url, prefix, timeout), format=format, cache=cache)

    def __repr__(self) -> str:
        return f"RedisKeys(prefix={self._prefix!r})"


class _RedisTable:
    """A :class:`KeyTable`: a hash for each key, and a set of their ids."""

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        with extra("redis", "redis-py", "RedisKeys"):
            import redis
        self._errors: tuple[type[Exception], ...] = (redis.RedisError,)
        self._prefix = prefix
        self._ids = f"{prefix}ids"
        try:
            self._redis: Any = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        except (ValueError, TypeError, AttributeError):
            raise ConfigError("RedisKeys(url=…) must be a URL such as redis://localhost:6379/0") from None
        self._insert, self._replace, self._touch = map(self._redis.register_script, (_INSERT, _REPLACE, _TOUCH))

    def insert(self, record: KeyRecord) -> bool:
        with self._reached():
            keys = [self._name(record.id), self._ids]
            return bool(self._insert(keys=keys, args=[_dump(record), record.version, record.id]))

    def read(self, key_id: str) -> KeyRecord | None:
        try:
            with self._reached():
                fields = self._redis.hgetall(self._name(key_id))
        except KeyStoreUnavailable as error:
            if "WRONGTYPE" not in str(error.__cause__):
                raise
            fields = error  # Redis works, but the name has another type
        return read_record(key_id, lambda: _load(fields))

    def replace(self, record: KeyRecord) -> bool:
        with self._reached():
            return bool(self._replace(keys=[self._name(record.id)], args=[_dump(record), record.version]))

    def all(self) -> Iterable[KeyRecord]:
        with self._reached():
            ids = [each.decode("utf-8", "replace") for each in self._redis.smembers(self._ids)]
            pipeline = self._redis.pipeline(transaction=False)
            for key_id in ids:
                pipeline.hgetall(self._name(key_id))
            found = pipeline.execute(raise_on_error=False)
        return readable((key_id, partial(_load, fields)) for key_id, fields in zip(ids, found, strict=True))

    def touch(self, used: Mapping[str, float]) -> None:
        with self._reached():
            for key_id, at in used.items():
                self._touch(keys=[self._name(key_id)], args=[at])

    def close(self) -> None:
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


def _load(fields: Mapping[bytes, bytes] | Exception) -> KeyRecord | None:
    if not fields:
        return None
    if isinstance(fields, Exception):
        raise TypeError
    used = fields.get(b"used")
    values = {**json.loads(fields[b"record"]), "version": int(fields[b"version"])}
    return KeyRecord.from_values({**values, "last_used": float(used) if used else None})
