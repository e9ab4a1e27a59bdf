"""Records of keys that are damaged: nobody is let in by one, the log names it, and all other keys go on working."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Guard, require_api_key
from flask_guard.keys import KeyStoreUnavailable, NewKey, RedisKeys, SignedKeys, SQLKeys, StoredKeys

Damage = Callable[[str], None]


@dataclass
class Kept:
    """A store, and how to write anything into a field of a record."""

    store: StoredKeys
    write: Callable[[str, str, object], None]


@pytest.fixture(params=["sqlite", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    made = in_sqlite(tmp_path) if request.param == "sqlite" else in_redis(request.getfixturevalue("redis_url"))
    yield made
    made.store.close()


def in_sqlite(folder: Path) -> Kept:
    file = folder / "keys.sqlite"

    def write(key_id: str, field: str, value: object) -> None:
        raw = value if isinstance(value, bytes) or field not in ("scopes", "retiring", "claims") else json.dumps(value)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(f"UPDATE guard_api_keys SET {field} = ? WHERE id = ?", (raw, key_id))  # noqa: S608

    return Kept(SQLKeys(f"sqlite:///{file}", cache=0), write)


def in_redis(url: str) -> Kept:
    prefix = f"{{{uuid4().hex}}}:"

    def write(key_id: str, field: str, value: object) -> None:
        name = f"{prefix}key:{key_id}"
        with redis.Redis.from_url(url) as server:
            if isinstance(value, bytes):
                server.hset(name, "record", value)
            else:
                record = json.loads(server.hget(name, "record") or b"")
                server.hset(name, "record", json.dumps({**record, field: value}))

    return Kept(RedisKeys(url, prefix=prefix, cache=0), write)


@pytest.fixture
def client(app: Flask, kept: Kept) -> FlaskClient:
    Guard(app, keys=kept.store, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")
    return app.test_client()


def status(client: FlaskClient, new: NewKey) -> int:
    return client.get("/", headers={"X-API-Key": new.secret}).status_code


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", b"not json"),
        ("claims", b"\xff\xfe"),
        ("claims", "text"),
        ("scopes", ["two words"]),
        ("scopes", 7),
        ("retiring", [["a hash"]]),
        ("retiring", [[7, 4e9]]),
        ("retiring", [["a hash", "tomorrow"]]),
        ("rate", "often"),
        ("expires", "tomorrow"),
        ("created", "yesterday"),
    ],
)
def test_a_damaged_record_is_a_503_and_an_error_that_names_it_and_harms_no_other_key(
    kept: Kept, client: FlaskClient, caplog: pytest.LogCaptureFixture, field: str, value: object
) -> None:
    damaged, other = kept.store.create(), kept.store.create()
    kept.write(damaged.key.id, field, value)

    answer = client.get("/", headers={"X-API-Key": damaged.secret})

    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert [each.levelname for each in caplog.records if damaged.key.id in each.message] == ["ERROR"]
    assert damaged.secret not in caplog.text
    assert [status(client, each) for each in (other, damaged, other)] == [200, 503, 200]


def test_a_list_leaves_a_damaged_record_out_and_the_log_names_it(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    first, damaged, odd, last = (kept.store.create().key for _ in range(4))
    kept.write(damaged.id, "scopes", b"not json")
    kept.write(odd.id, "rate", "often")

    assert kept.store.list() == [first, last]
    assert [[each in line.message for each in (damaged.id, odd.id)] for line in caplog.records] == [
        [True, False],
        [False, True],
    ]


def test_a_damaged_record_can_be_neither_shown_nor_changed(kept: Kept) -> None:
    key_id = kept.store.create().key.id
    kept.write(key_id, "scopes", b"not json")

    for operation in (kept.store.get, kept.store.rotate, kept.store.revoke):
        with pytest.raises(KeyStoreUnavailable, match=f"record of API key '{key_id}' is damaged"):
            operation(key_id)


def test_a_damaged_revocation_of_a_signed_key_lets_nobody_in(app: Flask, kept: Kept) -> None:
    signed = SignedKeys.of(app, revocations=kept.store)
    secret = signed.issue("ci")
    signed.revoke("ci")
    kept.write("ci", "scopes", b"not json")

    with pytest.raises(KeyStoreUnavailable, match="damaged"):
        signed.lookup(secret)


@pytest.mark.parametrize("other", ["a string", "a list", "the record of another key", "no version"])
def test_something_else_under_the_name_of_a_key_in_redis_is_a_damaged_record(
    redis_url: str, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    prefix = f"{{{uuid4().hex}}}:"
    store = RedisKeys(redis_url, prefix=prefix, cache=0)
    damaged, sound = store.create(), store.create()
    name = f"{prefix}key:{damaged.key.id}"
    with redis.Redis.from_url(redis_url) as server:
        if other == "the record of another key":
            server.hset(name, "record", server.hget(f"{prefix}key:{sound.key.id}", "record") or b"")
        elif other == "no version":
            server.hdel(name, "version")
        else:
            server.delete(name)
            server.set(name, "x") if other == "a string" else server.lpush(name, "x")

    with pytest.raises(KeyStoreUnavailable, match="damaged"):
        store.lookup(damaged.secret)
    assert store.lookup(sound.secret) == sound.key
    with caplog.at_level(logging.ERROR):
        assert store.list() == [sound.key]
    assert damaged.key.id in caplog.text
    store.close()
