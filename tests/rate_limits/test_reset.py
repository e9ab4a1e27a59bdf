"""`guard.reset()` forgets all that limits have counted: for the tests of an app, between two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response, abort
from flask.testing import FlaskClient
from flask_limiter import Limiter

from flask_guard import ConfigError, Guard, ban, limit, protect, require_api_key
from flask_guard.rate_limits.storage import StoreDown

from ..conftest import MakeApp, free_port
from .unlistable import Unlistable

BAD = {"X-API-Key": "not a key"}


@pytest.fixture(params=["memory", "sqlite", "redis"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the config of an app that counts in each of the storages."""
    config: dict[str, Any] = {"GUARD_API_KEYS": {"ci": "secret"}, "RATELIMIT_KEY_PREFIX": uuid4().hex}
    if request.param == "sqlite":
        config["RATELIMIT_STORAGE_URI"] = f"sqlite:///{tmp_path}/limits.db?timeout=20"
    if request.param == "redis":
        config["RATELIMIT_STORAGE_URI"] = request.getfixturevalue("redis_url")
    return config


def statuses(client: FlaskClient, path: str, times: int, **request: Any) -> list[int]:
    """Return the status codes of requests to `path`."""
    return [client.get(path, **request).status_code for _ in range(times)]


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_limits_are_whole_again(make_app: MakeApp, config: dict[str, Any], algorithm: Any) -> None:
    app = make_app(**config)
    guard = Guard(app)
    app.add_url_rule("/", "view", limit("2/hour", by=("address", lambda: "a+b"), algorithm=algorithm)(lambda: "served"))
    client = app.test_client()
    before = statuses(client, "/", 3)

    guard.reset()

    assert (before, statuses(client, "/", 3)) == ([200, 200, 429], [200, 200, 429])


def test_bans_end_and_what_led_to_them_is_forgotten(make_app: MakeApp, config: dict[str, Any]) -> None:
    app = make_app(**config)
    guard = Guard(app, policies=[ban(after="2/hour", on=401)])
    app.add_url_rule("/", "view", lambda: abort(401))
    client = app.test_client()
    before = statuses(client, "/", 3)

    guard.reset()

    assert (before, statuses(client, "/", 3)) == ([401, 401, 429], [401, 401, 429])


def test_failures_are_forgotten(make_app: MakeApp, config: dict[str, Any]) -> None:
    app = make_app(**config)
    guard = Guard(app, policies=[require_api_key(failures="2/hour")])
    client = app.test_client()
    before = statuses(client, "/", 3, headers=BAD)

    guard.reset()

    assert (before, statuses(client, "/", 3, headers=BAD)) == ([401, 401, 429], [401, 401, 429])


def test_places_are_free_and_those_who_held_them_give_nothing_back(make_app: MakeApp, config: dict[str, Any]) -> None:
    app = make_app(**config)
    guard = Guard(app)
    app.add_url_rule("/", "view", limit.concurrent(1)(lambda: Response(iter(["a", "b"]))))
    client = app.test_client()
    held = client.get("/", buffered=False)
    before = client.get("/").status_code

    guard.reset()
    another = client.get("/", buffered=False)
    held.close()

    assert (before, another.status_code, client.get("/").status_code) == (429, 200, 429)
    another.close()
    assert client.get("/", buffered=True).status_code == 200


def test_other_apps_on_the_same_storage_are_left_alone(make_app: MakeApp, config: dict[str, Any]) -> None:
    clients, guards = [], []
    for name in ("ours", "theirs"):
        app = make_app(**{**config, "RATELIMIT_KEY_PREFIX": config["RATELIMIT_KEY_PREFIX"] + name})
        guards.append(Guard(app))
        app.add_url_rule("/", "view", limit("1/hour")(lambda: ""))
        clients.append(app.test_client())
        statuses(clients[-1], "/", 1)

    guards[0].reset()

    assert [client.get("/").status_code for client in clients] == [200, 429]


def test_what_was_counted_in_this_process_while_the_store_was_down_is_forgotten(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    guard = Guard(app)
    app.add_url_rule("/", "view", limit("2/hour")(lambda: "served"))
    client = app.test_client()
    before = statuses(client, "/", 3)

    with pytest.raises(StoreDown):
        guard.reset()

    assert (before, statuses(client, "/", 3)) == ([200, 200, 429], [200, 200, 429])


@pytest.mark.parametrize("uri", ["memory://", "guard-memory://"])
def test_counts_in_the_memory_of_an_adopted_limiter_are_forgotten(app: Flask, uri: str) -> None:
    Limiter(lambda: "client", app=app, storage_uri=uri)
    guard = Guard(app)
    app.add_url_rule("/", "view", limit("2/hour")(lambda: "served"))
    client = app.test_client()
    before = statuses(client, "/", 3)

    guard.reset()

    assert (before, statuses(client, "/", 3)) == ([200, 200, 429], [200, 200, 429])


def test_a_storage_that_others_share_and_that_cannot_list_its_keys_is_refused(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"{Unlistable.STORAGE_SCHEME[0]}://")  # which a guard does not keep alive
    guard = Guard(app)

    with pytest.raises(ConfigError, match="cannot list what it holds"):
        guard.reset()


def test_where_limits_are_switched_off_nothing_is_forgotten(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_ENABLED=False)
    guard = Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "served", limit("1/hour")))

    guard.reset()

    assert statuses(app.test_client(), "/", 2) == [200, 200]
