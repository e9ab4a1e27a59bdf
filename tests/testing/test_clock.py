"""`frozen_clock`: time stands still for what ends by itself, until a test moves it."""

from __future__ import annotations

import ast
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_limiter import Limiter

import flask_guard
from flask_guard import ApiKey, Guard, ban, limit, require_api_key
from flask_guard.concerns import CONCERNS
from flask_guard.keys import SignedKeys
from flask_guard.testing import FrozenClock, assert_denied, frozen_clock
from tests.conftest import MakeApp


@pytest.fixture(params=["memory", "sqlite", "adopted"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Flask:
    uri = f"sqlite:///{tmp_path / 'limits.db'}" if request.param == "sqlite" else "memory://"
    app = make_app(RATELIMIT_STORAGE_URI=uri)
    if request.param == "adopted":
        Limiter(lambda: "client", app=app, storage_uri="memory://")
    Guard(app)
    return app


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_limits_end_when_the_clock_is_moved(app: Flask, algorithm: Any) -> None:
    app.add_url_rule("/", "index", limit("2/minute", algorithm=algorithm)(lambda: "in"))
    client = app.test_client()

    with frozen_clock() as clock:
        clock.advance(60 - clock.time() % 60)  # a fixed window begins
        first = [client.get("/").status_code for _ in range(3)]
        clock.advance(59)
        still = client.get("/").status_code if algorithm != "sliding-window-counter" else 429
        clock.advance(timedelta(minutes=2))
        after = client.get("/").status_code

    assert (first, still, after) == ([200, 200, 429], 429, 200)


def test_bans_end_when_the_clock_is_moved(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app, policies=[ban(after="1/minute", lasting=3600)])
    app.add_url_rule("/", "index", require_api_key(optional=True)(lambda: "in"))
    client = app.test_client()

    with frozen_clock() as clock:
        for _ in range(2):
            client.get("/", headers={"X-API-Key": "wrong"})
        assert_denied(client.get("/"), by=ban)
        clock.advance(3599)
        assert_denied(client.get("/"), by=ban)
        clock.advance(2)
        assert client.get("/").text == "in"


def test_keys_expire_when_the_clock_is_moved(make_app: MakeApp) -> None:
    app = make_app()
    with frozen_clock() as clock:
        end = clock.now + timedelta(hours=1)
        Guard(app, keys=lambda secret: ApiKey("ci", expires=end))
        app.add_url_rule("/", "index", require_api_key(lambda: "in"))
        client = app.test_client()
        inside = client.get("/", headers={"X-API-Key": "any"})
        clock.advance(3600)
        after = client.get("/", headers={"X-API-Key": "any"})

    assert inside.text == "in"
    assert_denied(after, by=require_api_key, reason="expired")


def test_signed_keys_go_by_the_clock(make_app: MakeApp) -> None:
    app = make_app(SECRET_KEY="a secret of at least thirty-two bytes")
    keys = SignedKeys().for_app(app)
    with frozen_clock() as clock:
        found = keys.lookup(keys.issue("ci", expires=clock.now + timedelta(minutes=1)))
        assert found is not None
        before = found.status
        clock.advance(61)
        assert (before, found.status) == ("active", "expired")


def test_other_clocks_go_on_and_all_do_after_the_block() -> None:
    memory: Any = import_module("flask_guard.rate_limits.storage.memory")

    with frozen_clock() as clock:
        assert time.time() != clock.time()
        assert memory.monotonic() == clock.monotonic()

    assert memory.monotonic is time.monotonic


def test_clock_goes_forward_only() -> None:
    with pytest.raises(ValueError, match="backwards"):
        FrozenClock().advance(-1)


NOT_STOPPED = {
    "rate_limits.storage.fallback:monotonic",  # how long a storage takes
    "rate_limits.storage.redis_connections:monotonic",  # how long a connection has rested
    "rate_limits.storage.sqlite:monotonic",  # when the file is tidied
    "rate_limits.storage.sqlite_file:monotonic",  # how long to wait for a lock
    "keys.last_used:time",  # when a last use is written
    "keys.sql_engine:time",  # how long to wait for a database
}


@pytest.mark.slow
def test_every_clock_of_what_ends_can_be_stopped() -> None:
    declared = {each for concern in CONCERNS for each in concern.clocks}
    root = Path(flask_guard.__file__).parent
    used = set()
    for file in (each for room in ("rate_limits", "keys", "authentication") for each in (root / room).rglob("*.py")):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                clocks = [alias for alias in node.names if alias.name in ("time", "monotonic")]
                used |= {f"{name}:{alias.asname or alias.name}" for alias in clocks}
            elif isinstance(node, ast.Import):
                used |= {f"{name}:time" for alias in node.names if alias.name == "time"}

    assert used == declared | NOT_STOPPED
