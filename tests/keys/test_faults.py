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

from ..conftest import MakeApp, free_port, is_listening, required_program, stop, wait_for
from .conftest import Postgres

CACHE = 0.5
TIMEOUT = 0.5
SLACK = 0.5


@dataclass
class Faulty:
    """A store, and how to take it down and bring it back."""

    open: Callable[[], StoredKeys]
    down: Callable[[], None]
    up: Callable[[], None]


class Redis:
    """A Redis that keeps its keys when it is killed."""

    def __init__(self, program: str, folder: Path) -> None:
        self._port = free_port()
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command = [program, *options, "--appendonly", "yes", "--appendfsync", "always"]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(lambda: is_listening(self._port), self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@contextmanager
def faulty_redis(how: str, folder: Path) -> Iterator[Faulty]:
    server = Redis(required_program("redis-server", "redis-server"), folder)

    def open_store() -> StoredKeys:
        return RedisKeys(server.url, timeout=TIMEOUT, cache=CACHE)

    if how == "stopped":
        yield Faulty(open_store, server.kill, server.start)
    else:
        yield Faulty(open_store, lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT))
    server.send(signal.SIGCONT)
    stop(server.process)


@contextmanager
def faulty_postgres(how: str, server: Postgres) -> Iterator[Faulty]:
    table = f"keys_{uuid4().hex}"

    def open_store() -> StoredKeys:
        return SQLKeys(server.url, table=table, timeout=TIMEOUT, cache=CACHE)

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
            each.join(10)


@contextmanager
def faulty_sqlite(folder: Path) -> Iterator[Faulty]:
    """Make a store whose file cannot be opened while a folder stands in its place."""
    file, aside = folder / "keys.sqlite", folder / "aside"
    store = SQLKeys(f"sqlite:///{file}", timeout=TIMEOUT, cache=CACHE)

    def down() -> None:
        store._table.close()  # a connection that is open goes on reading the file, wherever it was moved
        file.rename(aside)
        file.mkdir()

    def up() -> None:
        file.rmdir()
        aside.rename(file)

    yield Faulty(lambda: store, down, up)


@pytest.fixture(params=["redis stopped", "redis frozen", "postgres stopped", "postgres frozen", "sqlite"])
def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Faulty]:
    kind, _, how = request.param.partition(" ")
    if kind == "redis":
        made = faulty_redis(how, tmp_path)
    elif kind == "postgres":
        made = faulty_postgres(how, request.getfixturevalue("postgres"))
    else:
        made = faulty_sqlite(tmp_path)
    with made as each:
        yield each


@pytest.fixture
def store(faulty: Faulty) -> Iterator[StoredKeys]:
    opened = faulty.open()
    yield opened
    opened.close()


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def client(app: Flask, store: StoredKeys, runs: list[str]) -> FlaskClient:
    Guard(app, keys=store, policies=[require_api_key(failures=None)])

    @app.get("/")
    def view() -> str:
        runs.append("ran")
        return "served"

    return app.test_client()


def get(client: FlaskClient, secret: str) -> TestResponse:
    """Return the answer to a request with a key, which must come in time."""
    started = time.monotonic()
    response = client.get("/", headers={"X-API-Key": secret})
    assert time.monotonic() - started < TIMEOUT + SLACK
    return response


def cached(client: FlaskClient, store: StoredKeys) -> NewKey:
    """Return a key that was just verified."""
    new = store.create()
    assert get(client, new.secret).status_code == 200
    return new


def test_nobody_is_let_in_while_the_store_is_down_and_everybody_again_once_it_is_back(
    faulty: Faulty, store: StoredKeys, client: FlaskClient, runs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    good, unknown = cached(client, store), store.format.new("0123456789")
    time.sleep(CACHE)
    runs.clear()
    faulty.down()

    answers = [get(client, secret) for secret in (good.secret, unknown)]

    assert [(each.status_code, int(each.headers["Retry-After"]) > 0) for each in answers] == [(503, True)] * 2
    assert answers[0].get_json() == answers[1].get_json()
    assert runs == []
    assert good.secret not in caplog.text
    assert "cannot be verified" in caplog.text
    assert get(client, "nonsense").status_code == 401
    faulty.up()
    assert get(client, good.secret).status_code == 200
    assert get(client, unknown).status_code == 401


def test_a_key_that_was_just_verified_works_while_the_store_is_down_but_not_beyond_the_bound(
    faulty: Faulty, store: StoredKeys, client: FlaskClient
) -> None:
    good = cached(client, store)
    assert get(client, good.secret).status_code == 200
    until = time.monotonic() + CACHE

    faulty.down()
    inside = client.get("/", headers={"X-API-Key": good.secret}).status_code
    took = time.monotonic() - until + CACHE
    time.sleep(max(0, until - time.monotonic()))

    assert inside == 200 or took > CACHE / 2  # a slow machine may not get there in time
    assert get(client, good.secret).status_code == 503
    faulty.up()


def test_a_change_that_cannot_be_made_says_so_in_time(faulty: Faulty, store: StoredKeys) -> None:
    new = store.create()
    faulty.down()

    for operation in (store.create, lambda: store.revoke(new.key.id)):
        started = time.monotonic()
        with pytest.raises(KeyStoreUnavailable):
            operation()
        assert time.monotonic() - started < TIMEOUT + SLACK

    faulty.up()


def test_an_app_whose_store_is_down_starts_and_serves_once_it_is_up(faulty: Faulty, make_app: MakeApp) -> None:
    before = faulty.open()
    new = before.create()
    before.close()
    faulty.down()
    store, app = faulty.open(), make_app()
    Guard(app, keys=store, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")

    assert get(app.test_client(), new.secret).status_code == 503
    faulty.up()
    assert get(app.test_client(), new.secret).status_code == 200
    store.close()


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
    assert get(app.test_client(), store.create().secret).status_code == 200
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
    faulty: Faulty, store: StoredKeys, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    cached(client, store)
    faulty.down()

    with caplog.at_level(logging.WARNING, "flask_guard"):
        store.flush()

    assert "last used could not be written" in caplog.text
    faulty.up()
