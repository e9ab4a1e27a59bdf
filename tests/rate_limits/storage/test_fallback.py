"""Limits while their storage cannot be asked: `on_store_error`, what the log says, and the way back."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from limits import parse

from flask_guard import (
    ConfigError,
    Guard,
    Policy,
    ban,
    limit,
    protect,
    require_api_key,
    store_available,
    store_unavailable,
)
from flask_guard.core.app_state import AppState
from flask_guard.rate_limits.admin import holdings
from flask_guard.rate_limits.storage import Backend, Charge, SQLiteStorage, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.fallback import FallbackCounter
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from tests.ids import shown

from ...conftest import MakeApp, free_port
from ...storage_clock import Clock
from ..structured_fields import fields
from .redis_servers import cluster, cluster_port, running

pytestmark = pytest.mark.slow

KEYS = {"ci": "secret"}


@pytest.fixture
def down() -> dict[str, Any]:
    """Return the config of a Redis that nobody runs."""
    return {"RATELIMIT_STORAGE_URI": f"redis://:hunter2@127.0.0.1:{free_port()}/0"}


def limited(app: Flask, *policies: Policy, **guard: Any) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app, **guard)
    app.add_url_rule("/", "view", protect(lambda: "served", *policies))
    return app.test_client()


def statuses(client: FlaskClient, *paths: str, **request: Any) -> list[int]:
    return [client.get(path, **request).status_code for path in paths]


@contextmanager
def signals_of(app: Flask) -> Iterator[list[str]]:
    """Yield the names of what the signals of the storage say."""
    told: list[str] = []

    def opened(_sender: object, error: Exception) -> None:
        told.append(type(error).__name__)

    def closed(_sender: object) -> None:
        told.append("available")

    with ExitStack() as stack:
        stack.enter_context(store_unavailable.connected_to(opened, app))
        stack.enter_context(store_available.connected_to(closed, app))
        yield told


# on_store_error --------------------------------------------------------------------------------------------------


OUTCOMES = {"local": [200, 200, 429, 429], "allow": [200] * 4, "deny": [503] * 4}
WAYS: list[tuple[dict[str, Any], Any, str]] = [
    ({}, None, "local"),
    ({}, "local", "local"),
    ({}, "allow", "allow"),
    ({}, "deny", "deny"),
    ({"GUARD_ON_STORE_ERROR": "allow"}, None, "allow"),
    ({"GUARD_ON_STORE_ERROR": "deny"}, None, "deny"),
    ({"GUARD_ON_STORE_ERROR": "deny"}, "local", "local"),
    ({"GUARD_ON_STORE_ERROR": "allow"}, "deny", "deny"),
]


@pytest.mark.parametrize(("config", "own", "expected"), WAYS)
def test_the_policy_says_what_becomes_of_requests_and_else_the_config(
    make_app: MakeApp, down: dict[str, Any], config: dict[str, Any], own: Any, expected: str
) -> None:
    client = limited(make_app(**down, **config), limit("2/day", on_store_error=own))

    assert statuses(client, *["/"] * 4) == OUTCOMES[expected]


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_counted_locally_a_limit_is_exact_among_threads(
    make_app: MakeApp, down: dict[str, Any], algorithm: Any
) -> None:
    app = make_app(**down)
    limited(app, limit("100/day; 500/day", algorithm=algorithm))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/").status_code, range(300)))

    assert sorted(answers) == [200] * 100 + [429] * 200


def test_counted_locally_the_fields_are_those_of_any_limit(make_app: MakeApp, down: dict[str, Any]) -> None:
    client = limited(make_app(**down), limit("5/minute"))

    assert [fields(client.get("/"))[1][0][1]["r"] for _ in range(2)] == [4, 3]


def test_places_that_are_counted_locally_are_given_back(make_app: MakeApp, down: dict[str, Any]) -> None:
    client = limited(make_app(**down), limit.concurrent(1))

    assert statuses(client, *["/"] * 3) == [200, 200, 200]


def test_places_that_were_taken_locally_are_given_back_there_although_the_store_is_back(
    app: Flask, tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "folder"
    store, local = SQLiteStorage(f"sqlite:///{folder}/limits.db"), ExactMemoryStorage()
    counter = FallbackCounter(store, local, store.base_exceptions, app)
    places: list[Charge] = [(concurrency_budget(1, 60, "scope"), "client", 1, 1)]
    taken = counter.take(places, "token")[0]

    folder.mkdir()
    with signals_of(app) as told:
        deadline = time.monotonic() + 10
        while "available" not in told:
            assert time.monotonic() < deadline
            clock.advance(0.1)
            counter.take([(rate_budget(parse("9999/minute"), "others"), "client", 1, 1)])  # finds out
            time.sleep(0.001)
    counter.release(places, "token")

    assert taken
    assert local.take(places, "another")[0]


def test_allowed_there_are_no_fields(make_app: MakeApp, down: dict[str, Any]) -> None:
    response = limited(make_app(**down), limit("5/minute", on_store_error="allow")).get("/")

    assert not {"RateLimit", "RateLimit-Policy"} & {*response.headers.keys()}


def test_denied_a_client_is_told_when_to_come_back_and_nothing_of_the_store(
    make_app: MakeApp, down: dict[str, Any]
) -> None:
    app, served = make_app(**down), list[str]()
    Guard(app)

    @app.get("/")
    @limit("5/minute", on_store_error="deny")
    def view() -> str:
        served.append("once")
        return ""

    app.add_url_rule("/open", "open", lambda: "")

    response = app.test_client().get("/")

    problem = json.loads(response.text)
    assert (response.status_code, served) == (503, [])
    assert int(response.headers["Retry-After"]) >= 1
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    assert not any(secret in response.text for secret in ("127.0.0.1", "hunter2", "redis"))
    assert app.test_client().get("/open").status_code == 200


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (("local", "deny"), [503] * 3),
        (("deny", "local"), [503] * 3),
        (("allow", "deny"), [503] * 3),
        (("allow", "local"), [200, 200, 429]),
        (("local", "allow"), [200, 429, 429]),
        (("allow", "allow"), [200] * 3),
    ],
)
def test_of_several_limits_each_does_as_it_says_and_one_that_denies_is_enough(
    make_app: MakeApp, down: dict[str, Any], modes: tuple[Any, Any], expected: list[int]
) -> None:
    first, second = modes
    client = limited(make_app(**down), limit("1/day", on_store_error=first), limit("2/hour", on_store_error=second))

    assert statuses(client, "/", "/", "/") == expected


@pytest.mark.parametrize(
    "policy",
    [
        limit("1/day", mode="report", on_store_error="deny"),
        limit.concurrent(1, mode="report", on_store_error="deny"),
        ban(after="1/day", mode="report", on_store_error="deny"),
    ],
    ids=shown,
)
def test_in_shadow_it_holds_nobody_up(make_app: MakeApp, down: dict[str, Any], policy: Policy) -> None:
    assert statuses(limited(make_app(**down), policy), "/", "/") == [200, 200]


def test_keys_are_told_apart_and_bad_ones_are_counted_in_this_process(make_app: MakeApp, down: dict[str, Any]) -> None:
    client = limited(make_app(**down, GUARD_API_KEYS=KEYS), require_api_key(failures="2/minute"))

    assert statuses(client, *["/"] * 3, headers={"X-API-Key": "bad"}) == [401, 401, 429]
    assert statuses(client, "/", headers={"X-API-Key": "secret"}) == [200]


@pytest.mark.parametrize("value", ["open", "", None, True, ["local"]], ids=shown)
def test_a_choice_that_there_is_not_is_refused(make_app: MakeApp, value: Any) -> None:
    with pytest.raises(ConfigError, match="GUARD_ON_STORE_ERROR must be one of 'local', 'allow', 'deny'"):
        Guard(make_app(GUARD_ON_STORE_ERROR=value))
    if value is not None:
        with pytest.raises(ConfigError, match=r"limit\(on_store_error=…\) must be one of 'local', 'allow', 'deny'"):
            limit("5/minute", on_store_error=value)


# What is said about it, and the way back -------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_that_it_is_down_is_said_once_without_its_password(
    make_app: MakeApp, down: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**down, GUARD_API_KEYS=KEYS)
    limited(app, limit("5000/day"), require_api_key(optional=True), limit("5000/hour", by="api_key"))

    with signals_of(app) as told, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/").status_code, range(200)))

    assert answers == [200] * 200
    (line,) = lines(caplog)
    assert told == ["ConnectionError"]
    assert line.startswith("the limit store is down (ConnectionError: ")
    assert "hunter2" not in caplog.text


def test_when_it_is_back_it_is_used_again_within_seconds_and_that_is_said_once(
    make_app: MakeApp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{port}/0")
    client = limited(app, limit("2/day"))

    with signals_of(app) as told:
        with running(port, tmp_path, "--save", ""):
            up = statuses(client, "/", "/", "/")
        down = statuses(client, "/", "/", "/")
        with running(port, tmp_path, "--save", ""):
            deadline = time.monotonic() + 5
            while told[-1] != "available":
                assert time.monotonic() < deadline
                client.get("/", environ_overrides={"REMOTE_ADDR": "203.0.113.1"})
                time.sleep(0.02)
            again = statuses(client, "/", "/", "/")

    assert (up, down, again) == ([200, 200, 429], [200, 200, 429], [200, 200, 429])
    assert told == ["ConnectionError", "available"]
    assert [line.partition(" (")[0] for line in lines(caplog)] == ["the limit store is down", "the limit store is back"]


@pytest.mark.slow
@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_a_cluster_that_is_down_when_the_app_is_made_is_used_once_it_is_there(
    make_app: MakeApp, tmp_path: Path, caplog: pytest.LogCaptureFixture, library: str
) -> None:
    port = cluster_port()
    app = make_app(RATELIMIT_STORAGE_URI=f"{library}+cluster://127.0.0.1:{port}")
    client = limited(app, limit("2/day"), limit.concurrent(5))

    with signals_of(app) as told:
        down = statuses(client, "/", "/", "/")
        (line,) = lines(caplog)
        with cluster(tmp_path, port):
            deadline = time.monotonic() + 20
            while told[-1] != "available":
                assert time.monotonic() < deadline
                client.get("/", environ_overrides={"REMOTE_ADDR": "203.0.113.1"})
                time.sleep(0.02)
            again = statuses(client, "/", "/", "/")
            backend = AppState.of(app).service(Backend)
            held = {(each.identity, each.remaining) for each in holdings(backend) if each.kind == "limit"}

    assert (down, again) == ([200, 200, 429], [200, 200, 429])
    assert line.startswith("the limit store is down (")
    assert ("127.0.0.1", 0) in held


@pytest.mark.parametrize("on_error", ["allow", "deny"])
def test_a_cluster_that_is_down_is_answered_as_the_policy_says(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, on_error: Any
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis+cluster://:hunter2@127.0.0.1:{free_port()}")
    client = limited(app, limit("1/day", on_store_error=on_error))

    assert statuses(client, "/", "/") == OUTCOMES[on_error][:2]
    assert len(lines(caplog)) == 1
    assert "hunter2" not in caplog.text


def test_each_app_has_a_breaker_of_its_own(make_app: MakeApp, down: dict[str, Any]) -> None:
    apps = [make_app(**down), make_app()]
    with signals_of(apps[0]) as first, signals_of(apps[1]) as second:
        answers = [statuses(limited(app, limit("1/day")), "/", "/") for app in apps]

    assert answers == [[200, 429]] * 2
    assert (len(first), len(second)) == (1, 0)
