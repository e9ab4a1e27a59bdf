"""Apps whose limits are counted in an SQLite file: by the Guard alone, and with a `flask_limiter.Limiter` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_guard import Guard, limit
from tests.conftest import MakeApp

STRATEGIES = ["fixed-window", "moving-window", "sliding-window-counter"]
ALGORITHMS = [*STRATEGIES, "token-bucket"]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'limits.db'}"


def statuses(client: FlaskClient, path: str, count: int) -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


def with_a_limiter(app: Flask, limiter: Limiter) -> FlaskClient:
    limiter.init_app(app)
    Guard(app)

    @app.get("/ours")
    @limiter.exempt
    @limit("2/day")
    def ours() -> str:
        return ""

    @app.get("/theirs")
    @limiter.limit("2/day")
    def theirs() -> str:
        return ""

    return app.test_client()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_apps_that_name_one_file_share_its_counts(make_app: MakeApp, uri: str, algorithm: Any) -> None:
    clients = []
    for _ in range(2):
        app = make_app(RATELIMIT_STORAGE_URI=uri)
        Guard(app, policies=[limit("3/day; 100/day", algorithm=algorithm)])
        app.add_url_rule("/", "view", lambda: "served")
        clients.append(app.test_client())

    answers = [clients[number % 2].get("/") for number in range(5)]

    assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
    assert '"100-per-day";r=97;' in answers[-1].headers["RateLimit"]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", STRATEGIES)
def test_a_limiter_and_our_limits_count_in_one_file(make_app: MakeApp, uri: str, algorithm: str) -> None:
    first, second = (
        with_a_limiter(make_app(), Limiter(get_remote_address, storage_uri=uri, strategy=algorithm)) for _ in range(2)
    )

    assert statuses(first, "/ours", 3) == [200, 200, 429]
    assert statuses(first, "/theirs", 2) == [200, 200]
    assert statuses(second, "/ours", 1) == [429]
    assert statuses(second, "/theirs", 1) == [429]


def test_a_limiter_falls_back_to_memory_and_returns_to_the_file(make_app: MakeApp, tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    limiter = Limiter(get_remote_address, storage_uri=f"sqlite:///{folder}/limits.db", in_memory_fallback=["1/day"])
    client = with_a_limiter(make_app(), limiter)
    down = statuses(client, "/theirs", 2)

    folder.mkdir()

    assert down == [200, 429]
    assert limiter.storage.check()


def test_the_uri_and_the_timeout_can_come_from_the_config(make_app: MakeApp, uri: str, tmp_path: Path) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=uri, RATELIMIT_STORAGE_OPTIONS={"timeout": 0.5})
    Guard(app, policies=[limit("1/day")])
    app.add_url_rule("/", "view", lambda: "served")

    assert statuses(app.test_client(), "/", 2) == [200, 429]
    assert (tmp_path / "limits.db").exists()


def test_what_goes_on_at_once_is_counted_in_the_file(make_app: MakeApp, uri: str) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=uri)
    Guard(app)
    app.add_url_rule("/", "view", limit.concurrent(1)(lambda: app.test_client().get("/inner").text))
    app.add_url_rule("/inner", "inner", lambda: str(app.test_client().get("/").status_code))

    assert [app.test_client().get("/").text for _ in range(2)] == ["429", "429"]


def test_a_ban_holds_for_all_that_share_the_file(make_app: MakeApp, uri: str) -> None:
    from flask_guard import ban

    clients = []
    for _ in range(2):
        app = make_app(RATELIMIT_STORAGE_URI=uri)
        Guard(app, policies=[ban(after="2/minute", on=[404], lasting="1h")])
        app.add_url_rule("/", "view", lambda: "served")
        clients.append(app.test_client())
    before = statuses(clients[1], "/", 1)

    statuses(clients[0], "/missing", 4)

    assert (before, statuses(clients[1], "/", 1)) == ([200], [429])
