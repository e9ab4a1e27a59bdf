"""Stores of keys that are down: nobody is let in, nobody waits for long, and all is well once they are back."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_guard import Guard, require_api_key
from flask_guard.keys import KeyStoreUnavailable, NewKey, RedisKeys, SignedKeys, SQLKeys, StoredKeys, chain

from ..conftest import MakeApp, free_port, is_listening, required_program, wait_for
from .clock import Clock
from .conftest import IN_POSTGRES, Postgres

pytestmark = pytest.mark.slow

CACHE = 60.0
TIMEOUT = 0.3
PATIENT = 30.0
"""Seconds that a store may wait which shall work, on however busy a machine."""
LONG = 15.0
"""Seconds within which anything must happen that does not hang, on however busy a machine."""


@dataclass
class Faulty:
    """Opens a store with a time-out, takes it down and brings it back. `up` may be called twice."""

    open: Callable[[float], StoredKeys]
    down: Callable[[], None]
    up: Callable[[], None]


class Redis:
    """A Redis that keeps its keys when it is killed."""

    def __init__(self, program: str, folder: Path) -> None:
        self._port = free_port()
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command = [program, *options, "--appendonly", "yes", "--appendfsync", "always"]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
            wait_for(lambda: is_listening(self._port), self._process)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(required_program("redis-server", "redis-server"), tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@contextmanager
def faulty_redis(how: str, server: Redis) -> Iterator[Faulty]:
    prefix = f"{{{uuid4().hex}}}:"

    def open_store(timeout: float) -> StoredKeys:
        return RedisKeys(server.url, prefix=prefix, timeout=timeout, cache=CACHE)

    server.start()
    if how == "stopped":
        yield Faulty(open_store, server.kill, server.start)
        server.start()
    else:
        yield Faulty(open_store, lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT))
        server.send(signal.SIGCONT)


@contextmanager
def faulty_postgres(how: str, server: Postgres) -> Iterator[Faulty]:
    table = f"keys_{uuid4().hex}"

    def open_store(timeout: float) -> StoredKeys:
        return SQLKeys(server.url, table=table, timeout=timeout, cache=CACHE)

    if how == "stopped":
        yield Faulty(open_store, server.stop, server.start)
    else:
        yield Faulty(open_store, server.freeze, lambda: thaw(server))
        thaw(server)
    server.start()


def thaw(server: Postgres) -> None:
    """Let it go on, and wait until nobody waits any more for the answers that it owed."""
    server.thaw()
    for each in threading.enumerate():
        if each.name == "flask_guard-keys-sql":
            each.join(LONG)


@contextmanager
def faulty_sqlite(folder: Path) -> Iterator[Faulty]:
    """Make a store whose file cannot be opened while a folder stands in its place."""
    file, aside = folder / "keys.sqlite", folder / "aside"
    opened: list[SQLKeys] = []

    def open_store(timeout: float) -> StoredKeys:
        opened.append(SQLKeys(f"sqlite:///{file}", timeout=timeout, cache=CACHE))
        return opened[-1]

    def down() -> None:
        for each in opened:
            each._table.close()  # a connection that is open goes on reading the file, wherever it was moved
        file.rename(aside)
        file.mkdir()

    def up() -> None:
        if file.is_dir():
            file.rmdir()
            aside.rename(file)

    yield Faulty(open_store, down, up)


@pytest.fixture(
    params=[
        "redis stopped",
        "redis frozen",
        pytest.param("postgres stopped", marks=IN_POSTGRES),
        pytest.param("postgres frozen", marks=IN_POSTGRES),
        "sqlite",
    ]
)
def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Faulty]:
    kind, _, how = request.param.partition(" ")
    if kind == "redis":
        made = faulty_redis(how, request.getfixturevalue("redis_server"))
    elif kind == "postgres":
        made = faulty_postgres(how, request.getfixturevalue("postgres"))
    else:
        made = faulty_sqlite(tmp_path)
    with made as each:
        yield each


@pytest.fixture
def store(faulty: Faulty) -> Iterator[StoredKeys]:
    """Return the store as those open it who make its keys. It is brought back before it is closed."""
    opened = faulty.open(PATIENT)
    yield opened
    faulty.up()
    opened.close()
    until(lambda: not any(each.name == "flask-guard-probe" for each in threading.enumerate()))


@pytest.fixture
def served(faulty: Faulty, store: StoredKeys) -> Iterator[StoredKeys]:
    """Return the store as the app opens it, which does not wait for long."""
    opened = faulty.open(TIMEOUT)
    yield opened
    faulty.up()
    opened.close()


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def client(app: Flask, served: StoredKeys, runs: list[str]) -> FlaskClient:
    Guard(app, keys=served, policies=[require_api_key(failures=None)])

    @app.get("/")
    def view() -> str:
        runs.append("ran")
        return "served"

    return app.test_client()


def get(client: FlaskClient, secret: str) -> TestResponse:
    """Return the answer to a request with a key, which must not hang."""
    started = time.monotonic()
    response = client.get("/", headers={"X-API-Key": secret})
    assert time.monotonic() - started < LONG
    return response


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def verified(client: FlaskClient, store: StoredKeys) -> NewKey:
    """Return a key that was just verified."""
    new = store.create()
    until(lambda: get(client, new.secret).status_code == 200)
    return new


def test_nobody_is_let_in_while_the_store_is_down_and_everybody_again_once_it_is_back(
    faulty: Faulty,
    store: StoredKeys,
    client: FlaskClient,
    runs: list[str],
    caplog: pytest.LogCaptureFixture,
    clock: Clock,
) -> None:
    good, unknown = verified(client, store), store.format.new("0123456789")
    clock.forward(CACHE)
    runs.clear()
    caplog.clear()
    faulty.down()

    answers = [get(client, secret) for secret in (good.secret, unknown)]

    assert [(each.status_code, int(each.headers["Retry-After"]) > 0) for each in answers] == [(503, True)] * 2
    assert answers[0].get_json() == answers[1].get_json()
    assert runs == []
    assert [each.message[:28] for each in caplog.records if each.levelname == "ERROR"] == [
        "API keys cannot be verified:"  # once
    ]
    assert good.secret not in caplog.text
    assert get(client, "nonsense").status_code == 401
    faulty.up()
    until(lambda: get(client, good.secret).status_code == 200)
    until(lambda: get(client, unknown).status_code == 401)
    assert "the store of API keys is back" in caplog.text


def test_while_the_store_is_down_one_request_waits_for_it_and_the_others_do_not(
    faulty: Faulty, store: StoredKeys, client: FlaskClient
) -> None:
    unknown = [store.format.new(f"{number:010}") for number in range(200)]
    get(client, unknown[0])
    faulty.down()
    asked = threading.active_count()

    started = time.monotonic()
    statuses = {get(client, secret).status_code for secret in unknown[1:]}
    took = time.monotonic() - started

    assert statuses == {503}
    assert took < 199 * TIMEOUT / 2  # a minute, if each waited
    assert threading.active_count() <= asked + 3  # what hangs, and a probe


def test_keys_that_were_just_verified_work_while_the_store_is_down_but_not_beyond_the_bound(
    faulty: Faulty, store: StoredKeys, client: FlaskClient, clock: Clock
) -> None:
    good = verified(client, store)
    faulty.down()
    assert get(client, store.format.new("0123456789")).status_code == 503

    inside = {get(client, good.secret).status_code for _ in range(20)}
    clock.forward(CACHE)

    assert inside == {200}
    assert get(client, good.secret).status_code == 503


def test_a_change_that_cannot_be_made_says_so_and_does_not_hang(
    faulty: Faulty, store: StoredKeys, served: StoredKeys
) -> None:
    new = store.create()
    faulty.down()

    for operation in (served.create, lambda: served.revoke(new.key.id)):
        started = time.monotonic()
        with pytest.raises(KeyStoreUnavailable):
            operation()
        assert time.monotonic() - started < LONG


def test_an_app_whose_store_is_down_starts_and_serves_once_it_is_up(
    faulty: Faulty, store: StoredKeys, make_app: MakeApp
) -> None:
    new = store.create()
    faulty.down()
    late, app = faulty.open(TIMEOUT), make_app()
    Guard(app, keys=late, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")

    assert get(app.test_client(), new.secret).status_code == 503
    faulty.up()
    until(lambda: get(app.test_client(), new.secret).status_code == 200)
    late.close()


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096], ids=["text", "header"])
def test_a_file_that_is_no_database_lets_nobody_in(
    app: Flask, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.sqlite"
    file.write_bytes(content)
    store = SQLKeys(f"sqlite:///{file}", cache=CACHE)
    Guard(app, keys=store, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")

    assert get(app.test_client(), store.format.new("0123456789")).status_code == 503
    assert file.read_bytes() == content

    file.unlink()
    new = store.create()
    until(lambda: get(app.test_client(), new.secret).status_code == 200)
    store.close()


def test_look_ups_do_not_wait_for_somebody_who_writes(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "keys.sqlite"
    first = SQLKeys(f"sqlite:///{file}")
    new = first.create()
    first.close()
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    store = SQLKeys(f"sqlite:///{file}", cache=0)
    Guard(app, keys=store, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")

    assert get(app.test_client(), new.secret).status_code == 200
    assert get(app.test_client(), store.format.new("0123456789")).status_code == 401

    writer.rollback()
    writer.close()
    store.close()


@pytest.mark.parametrize("first", [True, False], ids=["down first", "down last"])
def test_a_chain_goes_on_with_the_stores_that_answer(app: Flask, tmp_path: Path, first: bool) -> None:
    signed, down = SignedKeys.of(app), SQLKeys(f"sqlite:///{tmp_path}")
    Guard(app, keys=chain(down, signed) if first else chain(signed, down), policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")
    client = app.test_client()

    assert get(client, signed.issue("ci")).status_code == 200
    assert get(client, "nonsense").status_code == 401
    answer = get(client, down.format.new("0123456789"))
    assert answer.status_code == 503


def test_uses_that_cannot_be_noted_are_logged_and_harm_nobody(
    faulty: Faulty, store: StoredKeys, served: StoredKeys, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    verified(client, store)
    faulty.down()

    with caplog.at_level(logging.WARNING, "flask_guard"):
        served.flush()

    assert "last use of API keys could not be written" in caplog.text
