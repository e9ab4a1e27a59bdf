"""The names that other packages do not promise: each is used in one place, which says why."""

from __future__ import annotations

import pytest
import redis
import valkey
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.storage import RedisStorage

from tests.cases import together

NAMES: list[tuple[type, str, str]] = [
    (RedisStorage, "_current_window_key", "RedisCounter.__init__"),
    (RedisStorage, "_previous_window_key", "RedisCounter.__init__"),
    *(
        (owner, name, "redis_connections")
        for connection in (redis.Connection, valkey.Connection)
        for owner, name in [
            (connection, "send_packed_command"),
            (connection, "read_response"),
            (connection, "disconnect"),
        ]
    ),
    *(
        (pool, name, "redis_connections")
        for pool in (redis.ConnectionPool, valkey.ConnectionPool)
        for name in ("get_connection", "release")
    ),
]


@together(("owner", "name", "used"), NAMES)
def test_a_name_that_is_not_promised_is_there(owner: type, name: str, used: str) -> None:
    assert hasattr(owner, name), f"{owner.__module__}.{owner.__qualname__} has no {name} any more: mend {used}"


@pytest.mark.parametrize("library", [redis, valkey])
def test_a_pool_has_the_attributes_that_are_not_promised(library: object) -> None:
    pool = library.ConnectionPool()  # type: ignore[attr-defined]
    for name in ("connection_class", "connection_kwargs", "max_connections"):
        assert hasattr(pool, name), f"a pool of {library!r} has no {name} any more: mend redis_connections"


def test_a_limiter_has_the_attribute_that_is_not_promised() -> None:
    limiter = Limiter(get_remote_address, key_prefix="shop")

    assert getattr(limiter, "_key_prefix", None) == "shop", "a Limiter has no _key_prefix any more: mend Backend"
