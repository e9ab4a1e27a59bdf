"""Where limits are counted: `RATELIMIT_*`, in memory, in SQLite and in Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_guard import ConfigError, Guard, Policy, limit, protect, require_api_key
from tests.cases import together

from ...conftest import MakeApp
from ...storage_clock import Clock

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter"]
KEYS = {"ci": "secret"}


@pytest.fixture(params=["memory", "sqlite", "redis"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the config of a storage that holds no counts yet."""
    uris = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/limits.sqlite"}
    uri = uris.get(request.param) or request.getfixturevalue("redis_url")
    return {"RATELIMIT_STORAGE_URI": uri, "RATELIMIT_KEY_PREFIX": uuid4().hex}


def limited(app: Flask, *policies: Policy, **guard: Any) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app, **guard)
    app.add_url_rule("/", "view", protect(lambda: "served", *policies))
    return app.test_client()


def statuses(client: FlaskClient, *paths: str, **request: Any) -> list[int]:
    """Return the status codes of requests to `paths`, one after the other."""
    return [client.get(path, **request).status_code for path in paths]


def cost() -> int:
    """Return the cost that the request names."""
    return int(request.args.get("cost", "1"))


# Every storage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("rates", ["3/day", "3/day; 10/day", "10/day; 3/day"])
def test_a_limit_lets_through_what_it_says(
    make_app: MakeApp, storage: dict[str, Any], rates: str, algorithm: Any
) -> None:
    client = limited(make_app(**storage), limit(rates, algorithm=algorithm))

    answers = [client.get("/") for _ in range(5)]

    assert [each.status_code for each in answers] == [200] * 3 + [429] * 2
    assert '"3-per-day";r=2;' in answers[0].headers["RateLimit"]
    assert '"3-per-day";r=0;' in answers[-1].headers["RateLimit"]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 86400 + 30


@pytest.mark.parametrize("strategy", ALGORITHMS)
def test_ratelimit_strategy_is_the_algorithm_of_limits_that_name_none(
    make_app: MakeApp, storage: dict[str, Any], strategy: str
) -> None:
    client = limited(make_app(**storage, RATELIMIT_STRATEGY=strategy), limit("2/day"))

    assert statuses(client, "/", "/", "/") == [200, 200, 429]


def test_a_window_ends(make_app: MakeApp, storage: dict[str, Any], clock: Clock) -> None:
    client = limited(make_app(**storage), limit("1/minute"))

    before = statuses(client, "/", "/")
    clock.advance(60)
    if storage["RATELIMIT_STORAGE_URI"].startswith("redis"):
        end_windows(storage["RATELIMIT_STORAGE_URI"], f"*{storage['RATELIMIT_KEY_PREFIX']}*")

    assert (before, statuses(client, "/")) == ([200, 429], [200])


def end_windows(redis_url: str, pattern: str) -> None:
    """Let the keys of a Redis end that end within a minute."""
    import redis

    with redis.Redis.from_url(redis_url) as connection:
        for key in connection.keys(pattern):
            assert 0 < int(connection.pttl(key)) <= 60_000
            connection.pexpire(key, 1)
        while connection.keys(pattern):
            time.sleep(0.001)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_that_one_rate_refuses_is_charged_to_none(
    make_app: MakeApp, storage: dict[str, Any], algorithm: Any
) -> None:
    client = limited(make_app(**storage), limit("9/day; 2/day", algorithm=algorithm))

    last = [client.get("/") for _ in range(6)][-1]

    assert last.status_code == 429
    assert '"9-per-day";r=7;' in last.headers["RateLimit"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("rates", ["10/day", "10/day; 20/day"])
def test_a_request_that_does_not_fit_uses_nothing_up(
    make_app: MakeApp, storage: dict[str, Any], rates: str, algorithm: Any
) -> None:
    client = limited(make_app(**storage), limit(rates, cost=cost, algorithm=algorithm))

    assert statuses(client, "/?cost=8", "/?cost=5", "/?cost=11", "/?cost=2", "/") == [200, 429, 429, 200, 429]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_cost_gives_anything_back(make_app: MakeApp, storage: dict[str, Any], algorithm: Any) -> None:
    client = limited(make_app(**storage), limit("10/day", cost=cost, algorithm=algorithm))

    assert statuses(client, "/?cost=9", "/?cost=-5", "/?cost=0", "/", "/")[-2:] == [200, 429]


@pytest.mark.parametrize("who", ["a/b c", "ключ", "x" * 10_000, "nul\0", "\udcff", "%2F", "{}"], ids=ascii)
def test_any_name_of_a_client_can_be_stored(make_app: MakeApp, storage: dict[str, Any], who: str) -> None:
    client = limited(make_app(**storage), limit("1/minute", by=lambda: who))

    assert statuses(client, "/", "/") == [200, 429]


def test_bad_keys_are_counted_in_the_same_storage(make_app: MakeApp, storage: dict[str, Any]) -> None:
    app = make_app(**storage, GUARD_API_KEYS=KEYS)
    client = limited(app, require_api_key(failures="2/minute"))

    assert statuses(client, "/", "/", "/", headers={"X-API-Key": "bad"}) == [401, 401, 429]
    assert statuses(client, "/", headers={"X-API-Key": "secret"}) == [200]


# Storages apart ------------------------------------------------------------------------------------------


def test_what_is_counted_in_memory_is_the_apps_own_and_elsewhere_that_of_all_processes(
    make_app: MakeApp, storage: dict[str, Any]
) -> None:
    in_memory = storage["RATELIMIT_STORAGE_URI"] == "memory://"

    first, second = (limited(make_app(**storage), limit("1/day")) for _ in range(2))

    assert statuses(first, "/", "/") == [200, 429]
    assert statuses(second, "/") == [200 if in_memory else 429]


def test_the_key_prefix_keeps_two_programs_on_one_redis_apart(make_app: MakeApp, redis_url: str) -> None:
    apps = [make_app(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=uuid4().hex) for _ in range(2)]

    assert [statuses(limited(app, limit("1/day")), "/", "/") for app in apps] == [[200, 429], [200, 429]]


def test_nothing_stays_in_redis_for_longer_than_its_window(make_app: MakeApp, redis_url: str) -> None:
    import redis

    prefix = uuid4().hex
    client = limited(make_app(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=prefix), limit("1/hour; 5/hour"))
    statuses(client, "/", "/")

    with redis.Redis.from_url(redis_url) as connection:
        lifetimes = [connection.ttl(key) for key in connection.keys(f"*{prefix}*")]

    assert lifetimes
    assert all(0 < int(seconds) <= 3600 for seconds in lifetimes)


# Configuration ---------------------------------------------------------------------------------------------------


BAD_CONFIG: dict[str, dict[str, Any]] = {
    "unknown scheme": {"RATELIMIT_STORAGE_URI": "nonsense://127.0.0.1"},
    "no scheme": {"RATELIMIT_STORAGE_URI": "127.0.0.1:6379"},
    "no port number": {"RATELIMIT_STORAGE_URI": "redis://127.0.0.1:port/0"},
    "not text": {"RATELIMIT_STORAGE_URI": 6379},
    "strategy": {"RATELIMIT_STRATEGY": "leaky-bucket"},
    "option": {"RATELIMIT_STORAGE_URI": "redis://127.0.0.1:1/0", "RATELIMIT_STORAGE_OPTIONS": {"nonsense": 1}},
    "options": {"RATELIMIT_STORAGE_OPTIONS": "socket_timeout=1"},
}


@together("policies", [[limit("5/minute")], [require_api_key], []])
@together("config", BAD_CONFIG.values())
def test_a_storage_or_strategy_that_cannot_be_meant_is_refused_at_init_app(
    make_app: MakeApp, config: dict[str, Any], policies: list[Policy]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(config))):
        Guard(make_app(**config, GUARD_API_KEYS=KEYS), policies=policies)


def test_a_strategy_that_there_is_not_is_refused_with_those_that_there_are(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match=r"RATELIMIT_STRATEGY must be one of .*'moving-window'.*, not 'moving'"):
        Guard(make_app(RATELIMIT_STRATEGY="moving"), policies=[limit("5/minute")])


def test_no_password_of_a_storage_shows_in_the_message(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as caught:
        Guard(make_app(RATELIMIT_STORAGE_URI="redsi://:hunter2@127.0.0.1"), policies=[limit("5/minute")])

    assert "hunter2" not in str(caught.value)


def test_ratelimit_enabled_false_switches_limits_off_and_says_so(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = limited(make_app(RATELIMIT_ENABLED=False), limit("1/day"))

    answers = [client.get("/") for _ in range(3)]

    assert [each.status_code for each in answers] == [200] * 3
    assert "RateLimit" not in answers[0].headers
    assert "RATELIMIT_ENABLED" in caplog.text
