"""The memory storage where there are as many clients as may be: bounded, and no way out of a limit."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from limits import parse

from flask_guard import ConfigError, Guard, Policy, ban, limit
from flask_guard.rate_limits.storage import Budget, Charge, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from tests.conftest import MakeApp, free_port
from tests.storage_clock import Clock

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]
MOST = 50


@pytest.fixture
def storage() -> ExactMemoryStorage:
    made = ExactMemoryStorage()
    made.most = MOST
    return made


def a_rate(rate: str, algorithm: str = "fixed-window") -> Budget:
    return rate_budget(parse(rate), "scope", algorithm)


def take(storage: ExactMemoryStorage, budget: Budget, who: str, cost: int = 1) -> bool:
    return storage.take([(budget, who, cost, cost)], f"token of {who}")[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_more_clients_are_kept_than_may_be_and_that_is_said_once(
    storage: ExactMemoryStorage, algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10 * MOST):
        assert take(storage, a_rate("5/day", algorithm), f"client {number}")

    assert len(list(storage.find())) == MOST
    assert storage.reset() == MOST
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"counted for {MOST} clients, and no more" in record.getMessage()


def test_the_count_that_ends_first_is_dropped(storage: ExactMemoryStorage, clock: Clock) -> None:
    for number in range(MOST):
        take(storage, a_rate("5/day"), f"early {number}")
        clock.advance(1)

    for number in range(10):
        take(storage, a_rate("5/day"), f"late {number}")

    kept = {who for _, who in storage.find()}
    assert {f"early {number}" for number in range(MOST)} - kept == {f"early {number}" for number in range(10)}


def test_a_client_that_has_come_again_is_not_the_first_to_end(storage: ExactMemoryStorage, clock: Clock) -> None:
    budget = a_rate("5/day", "moving-window")
    for number in range(MOST):
        take(storage, budget, f"early {number}")
        clock.advance(1)
    take(storage, budget, "early 0")

    take(storage, budget, "late")

    kept = {who for _, who in storage.find()}
    assert {"early 0", "early 1"} & kept == {"early 0"}


def test_ended_counts_are_dropped_before_others(storage: ExactMemoryStorage, clock: Clock) -> None:
    for number in range(MOST // 2):
        take(storage, a_rate("5/day"), f"long {number}")
        take(storage, a_rate("5/minute"), f"short {number}")
    clock.advance(61)

    for number in range(MOST // 2):
        take(storage, a_rate("5/hour"), f"new {number}")

    kept = [who for _, who in storage.find()]
    assert sorted(each.partition(" ")[0] for each in kept) == ["long"] * (MOST // 2) + ["new"] * (MOST // 2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_that_is_limited_stays_so_whoever_comes(storage: ExactMemoryStorage, algorithm: str) -> None:
    budget = a_rate("2/day", algorithm)
    assert [take(storage, budget, "limited") for _ in range(3)] == [True, True, False]

    for number in range(20 * MOST):
        take(storage, budget, f"client {number}")

    assert not take(storage, budget, "limited")


@pytest.mark.slow
def test_a_client_that_is_banned_stays_so_and_places_stay_taken(storage: ExactMemoryStorage) -> None:
    banned, places = ban_budget(3600, "scope"), concurrency_budget(2, 3600, "scope")
    storage.ban(banned, "limited")
    assert take(storage, places, "limited")

    for number in range(20 * MOST):
        take(storage, a_rate("2/day"), f"client {number}")

    standings = storage.take([(banned, "limited", 0, 0), (places, "limited", 0, 0)])[1]
    assert [each.remaining for each in standings] == [0, 1]


def test_where_all_are_limited_new_clients_share_one_budget(
    storage: ExactMemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    once, thrice = a_rate("1/day"), a_rate("3/day")
    for number in range(MOST):
        take(storage, once, f"limited {number}")

    passed = [take(storage, thrice, f"new {number}") for number in range(100)]

    assert passed == [True] * 3 + [False] * 97
    assert not any(take(storage, once, f"limited {number}") for number in range(MOST))
    assert storage.reset() == MOST + 1
    assert [each.levelno for each in caplog.records] == [logging.WARNING, logging.ERROR]


def test_clients_that_share_one_budget_are_not_banned_together(storage: ExactMemoryStorage) -> None:
    for number in range(MOST):
        take(storage, a_rate("1/day"), f"limited {number}")
    banned = ban_budget(3600, "scope")

    storage.ban(banned, "new")

    assert [storage.take([(banned, who, 1, 0)])[0] for who in ("new", "another")] == [True, True]


def test_places_of_clients_that_share_one_budget_are_given_back(storage: ExactMemoryStorage) -> None:
    for number in range(MOST):
        take(storage, a_rate("1/day"), f"limited {number}")
    places = concurrency_budget(1, 60, "scope")
    charges: list[Charge] = [(places, "new", 1, 1)]

    for number in range(3):
        assert storage.take(charges, f"token {number}")[0]
        assert not take(storage, places, "another")
        storage.release(charges, f"token {number}")


# Of an app -----------------------------------------------------------------------------------------------------------


def served(app: Flask, *policies: Policy) -> FlaskClient:
    Guard(app, policies=policies)
    app.add_url_rule("/", "view", lambda: ("", 401 if "bad" in request.args else 200))
    return app.test_client()


def ask(client: FlaskClient, number: int, path: str = "/") -> int:
    address = f"10.0.{number // 256}.{number % 256}"
    return client.get(path, environ_overrides={"REMOTE_ADDR": address}).status_code


@pytest.mark.parametrize("storage", [{}, {"RATELIMIT_STORAGE_URI": f"redis://127.0.0.1:{free_port()}/0"}])
def test_an_app_says_how_many_also_while_its_storage_is_down(
    make_app: MakeApp, storage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = served(make_app(GUARD_LIMIT_CLIENTS=20, **storage), limit("2/day"))
    limited = [ask(client, 0) for _ in range(3)]

    others = {ask(client, number) for number in range(1, 100)}

    assert (limited, others, ask(client, 0)) == ([200, 200, 429], {200}, 429)
    assert [each for each in caplog.messages if "counted for 20 clients, and no more" in each]


@pytest.mark.slow
def test_a_flood_of_addresses_lifts_no_ban(make_app: MakeApp) -> None:
    client = served(make_app(GUARD_LIMIT_CLIENTS=20), ban(after="2/day", on=401, lasting="1h"), limit("100/day"))
    banned = [ask(client, 0, "/?bad") for _ in range(3)]

    for number in range(1, 200):
        ask(client, number, "/?bad")

    assert (banned, ask(client, 0)) == ([401, 401, 429], 429)


@pytest.mark.parametrize("value", [0, -1, "many", True, 1.5])
def test_a_number_that_is_none_is_refused(make_app: MakeApp, value: object) -> None:
    with pytest.raises(ConfigError, match="GUARD_LIMIT_CLIENTS must be a whole number of at least 1"):
        Guard(make_app(GUARD_LIMIT_CLIENTS=value))
