"""The whole life of a stored key, as an app and its clients see it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_guard import ApiKey, ConfigError, Guard, current_api_key, limit, request_denied, require_api_key
from flask_guard.keys import NewKey, SignedKeys, SQLKeys, StoredKeys, last_used
from flask_guard.signals import key_created, key_revoked, key_rotated, key_used

from ..conftest import MakeApp
from .clock import Clock

BOUND = 60.0


@pytest.fixture
def store(sqlite_url: str) -> Iterator[SQLKeys]:
    opened = SQLKeys(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(sqlite_url: str) -> Iterator[SQLKeys]:
    """Return the store as another process opens it."""
    opened = SQLKeys(sqlite_url, cache=BOUND)
    yield opened
    opened.close()


def guarded(app: Flask, store: StoredKeys | SignedKeys) -> FlaskClient:
    """Guard `app` by `store` and return a client."""
    Guard(app, keys=store, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: current_api_key.id)
    app.add_url_rule("/claims", "claims", lambda: dict(current_api_key.claims))
    app.add_url_rule("/write", "write", require_api_key(scopes="orders:write", failures=None)(lambda: "written"))
    return app.test_client()


@pytest.fixture
def client(app: Flask, store: SQLKeys) -> FlaskClient:
    return guarded(app, store)


def get(client: FlaskClient, secret: str, path: str = "/", address: str = "127.0.0.1") -> TestResponse:
    return client.get(path, headers={"X-API-Key": secret}, environ_base={"REMOTE_ADDR": address})


def test_scopes_and_claims_reach_the_view(client: FlaskClient, store: SQLKeys) -> None:
    writer = store.create(scopes="orders:write", claims={"tenant": {"id": 7}})

    assert get(client, writer.secret, "/write").status_code == 200
    assert get(client, writer.secret, "/claims").get_json() == {"tenant": {"id": 7}}
    assert get(client, store.create(scopes="orders:read").secret, "/write").status_code == 403


def test_a_key_works_from_not_before_until_it_expires_though_it_is_cached(
    app: Flask, sqlite_url: str, clock: Clock
) -> None:
    store = SQLKeys(sqlite_url, cache=3600)
    client, now = guarded(app, store), clock.now()
    new = store.create(not_before=now + timedelta(seconds=60), expires=now + timedelta(seconds=120))
    answers = []
    for _ in range(3):
        answers.append(get(client, new.secret))
        clock.forward(60)

    assert [each.status_code for each in answers] == [401, 200, 401]
    assert "expired" in answers[-1].headers["WWW-Authenticate"]
    store.close()


@pytest.mark.parametrize(
    ("allowed", "address", "status"),
    [
        ("192.0.2.0/24", "192.0.2.7", 200),
        ("192.0.2.0/24", "192.0.3.7", 401),
        ("192.0.2.7", "192.0.2.7", 200),
        ("192.0.2.0/24", "::ffff:192.0.2.7", 200),
        ("192.0.2.0/24", "::ffff:192.0.3.7", 401),
        ("192.0.2.0/24", "2001:db8::1", 401),
        ("2001:db8::/32", "2001:db8:1::1", 200),
        ("2001:db8::/32", "2001:DB8:0:0::1", 200),
        ("2001:db8::/32", "2001:db9::1", 401),
        ("2001:db8::/32", "192.0.2.7", 401),
        ("::/0", "192.0.2.7", 401),
        (["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1", 200),
        ("192.0.2.0/24", "nonsense", 401),
        ("192.0.2.0/24", "", 401),
        ("0.0.0.0/0", "", 401),
    ],
)
def test_a_key_works_from_where_it_may(
    client: FlaskClient, store: SQLKeys, allowed: str | list[str], address: str, status: int
) -> None:
    new = store.create(addresses=allowed)

    assert [get(client, new.secret, address=address).status_code for _ in range(2)] == [status] * 2


def test_a_rate_of_its_own_limits_a_key(app: Flask, store: SQLKeys) -> None:
    Guard(app, keys=store, policies=[require_api_key])
    app.add_url_rule("/", "view", limit(lambda: current_api_key.rate or "1/day", by="api_key")(lambda: "served"))
    client, new = app.test_client(), store.create(rate="3/day")

    assert [get(client, new.secret).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [get(client, store.create().secret).status_code for _ in range(2)] == [200, 200]


def test_rotation_leaves_clients_the_overlap_to_change_over(client: FlaskClient, store: SQLKeys, clock: Clock) -> None:
    old = store.create()
    new = store.rotate(old.key.id, overlap=timedelta(minutes=1))

    assert [get(client, each.secret).text for each in (old, new)] == [old.key.id] * 2
    clock.forward(61)
    assert [get(client, each.secret).status_code for each in (old, new)] == [401, 200]


def test_revocation_works_at_once_here_and_within_the_bound_elsewhere(
    client: FlaskClient, make_app: MakeApp, store: SQLKeys, elsewhere: SQLKeys, clock: Clock
) -> None:
    other, new = guarded(make_app(), elsewhere), store.create()
    assert [get(each, new.secret).status_code for each in (client, other)] == [200, 200]

    store.revoke(new.key.id)

    assert [get(each, new.secret).status_code for each in (client, other)] == [401, 200]
    clock.forward(BOUND)
    assert get(other, new.secret).status_code == 401


def test_without_a_cache_every_request_looks_the_key_up(app: Flask, store: SQLKeys, sqlite_url: str) -> None:
    uncached = SQLKeys(sqlite_url, cache=0)
    client, new = guarded(app, uncached), store.create()
    assert get(client, new.secret).status_code == 200

    store.revoke(new.key.id)

    assert get(client, new.secret).status_code == 401
    uncached.close()


def test_a_use_is_written_soon_and_off_the_request_path(
    client: FlaskClient, store: SQLKeys, elsewhere: SQLKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, touch = threading.Event(), store._table.touch

    def touch_and_tell(used: Mapping[str, float]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        touch(used)
        written.set()

    monkeypatch.setattr(store._table, "touch", touch_and_tell)
    monkeypatch.setattr(last_used, "TOUCH_DELAY", 0.01)
    new = store.create()

    get(client, new.secret)

    assert written.wait(20)
    assert elsewhere.get(new.key.id).last_used is not None


def test_a_use_is_noted_once_a_minute(
    client: FlaskClient, store: SQLKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(store._table, "touch", written.extend)
    new = store.create()

    for seconds in (0, 30, 29, 2):
        clock.forward(seconds)
        get(client, new.secret)
        store.flush()

    assert written == [new.key.id] * 2


def test_every_step_is_signalled_and_no_signal_carries_a_secret(
    app: Flask, client: FlaskClient, store: SQLKeys
) -> None:
    seen: list[tuple[str, object, ApiKey]] = []

    def on(name: str) -> Any:
        return lambda sender, key, **_rest: seen.append((name, sender, key))

    handlers = {each: on(each.name) for each in (key_created, key_used, key_rotated, key_revoked)}
    denied: list[str] = []
    with request_denied.connected_to(lambda _app, denial, **_rest: denied.append(denial.reason)):
        for signal, handler in handlers.items():
            signal.connect(handler)
        new = store.create()
        get(client, new.secret)
        rotated = store.rotate(new.key.id)
        get(client, new.secret)
        store.revoke(new.key.id)
        get(client, rotated.secret)
        for signal, handler in handlers.items():
            signal.disconnect(handler)

    expected = [("key-created", store), ("key-used", app), ("key-rotated", store), ("key-revoked", store)]
    assert [(name, sender) for name, sender, _ in seen] == expected
    assert {key.id for _, _, key in seen} == {new.key.id}
    assert denied == ["unknown", "unknown"]
    assert new.secret[18:] not in repr(seen)


def test_a_known_id_with_a_wrong_secret_is_answered_as_an_unknown_one(client: FlaskClient, store: SQLKeys) -> None:
    known, revoked, late = store.create(), store.create(), store.create(expires="2020-01-31")
    store.revoke(revoked.key.id)
    ids = [known.key.id, revoked.key.id, late.key.id, "0123456789"]

    answers = [get(client, secret) for secret in [*map(store.format.new, ids), revoked.secret, "nonsense"]]

    assert [each.status_code for each in answers] == [401] * 6
    assert len({each.data for each in answers}) == 1
    assert len({str(each.headers) for each in answers}) == 1
    assert get(client, late.secret).headers["WWW-Authenticate"] != answers[0].headers["WWW-Authenticate"]


@pytest.mark.slow
def test_async_views_and_16_threads_share_a_store(app: Flask, store: SQLKeys, sqlite_url: str) -> None:
    shared = SQLKeys(sqlite_url, cache=0)
    Guard(app, keys=shared, policies=[require_api_key(failures=None)])

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return current_api_key.id

    keys = [store.create() for _ in range(16)]

    def use(new: NewKey) -> set[str]:
        client = app.test_client()
        return {get(client, new.secret).text for _ in range(10)}

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(use, keys)) == [{each.key.id} for each in keys]
    shared.close()


def test_no_secret_is_in_a_repr_a_log_an_error_or_the_file(
    client: FlaskClient, store: SQLKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    new = store.create()
    answers = [get(client, new.secret), get(client, new.secret + "x"), get(client, store.format.new(new.key.id))]
    with pytest.raises(LookupError) as unknown:
        store.revoke(new.secret)
    store.flush()

    files = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    texts = [repr(new), repr(new.key), repr(store), caplog.text, files.decode("latin-1"), *(a.text for a in answers)]
    assert [text for text in texts if new.secret[18:] in text] == []
    assert new.key.id in files.decode("latin-1")
    assert "there is no key" in str(unknown.value)


@pytest.mark.parametrize("url", ["postgresql+nonsense://u:hunter2@h/d", "nonsense://u:hunter2@h", "u:hunter2@h"])
def test_the_password_of_a_database_is_in_no_error(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SQLKeys(url)
    assert "hunter2" not in str(refused.value)


def test_signed_keys_are_revoked_through_stored_ones(
    app: Flask, make_app: MakeApp, sqlite_url: str, clock: Clock
) -> None:
    here, there = SQLKeys(sqlite_url), SQLKeys(sqlite_url, cache=BOUND)
    signed, also = SignedKeys.of(app, revocations=here), SignedKeys.of(app, revocations=there)
    client, other = guarded(app, signed), guarded(make_app(), also)
    leaked, kept = signed.issue("leaked"), signed.issue("kept")
    for _ in range(3):  # its signature is remembered after the first look-up, and its revocation asked for all the same
        assert [get(each, leaked).status_code for each in (client, other)] == [200, 200]

    signed.revoke("leaked")

    assert [get(client, each).status_code for each in (leaked, kept)] == [401, 200]
    assert get(other, leaked).status_code == 200
    clock.forward(BOUND)
    assert [get(other, each).status_code for each in (leaked, kept)] == [401, 200]
    here.close()
    there.close()
