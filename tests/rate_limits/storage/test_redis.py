"""Limits in Redis: one command a request, all charges or none, exactly the amount, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from limits import parse
from limits.storage import RedisStorage

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage import Budget, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options
from tests.conftest import MakeApp
from tests.ids import shown

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]
CLIENT = "127.0.0.1"
BudgetOf = Callable[[str], Budget]


@pytest.fixture
def storage(redis_url: str) -> RedisStorage:
    """Return a storage of `limits` in which nothing is counted yet."""
    return RedisStorage(redis_url, key_prefix=uuid4().hex, **default_options(redis_url))


@pytest.fixture
def counter(storage: RedisStorage) -> RedisCounter:
    return RedisCounter(storage)


@pytest.fixture
def redis(storage: RedisStorage) -> Any:
    """Return the client of the storage."""
    return storage.get_connection()


@pytest.fixture(params=ALGORITHMS)
def budget_of(request: pytest.FixtureRequest) -> BudgetOf:
    """Return what makes a budget, by each algorithm."""
    return lambda rate: rate_budget(parse(rate), "scope", request.param)


def calls(redis: Any) -> dict[str, int]:
    """Return how often clients have called each command."""
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in redis.info("commandstats").items()}


# One command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_three_limits_with_headers_cost_one_command(
    make_app: MakeApp, redis_url: str, redis: Any, algorithm: Any
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=uuid4().hex)
    Guard(app, policies=[limit("5/minute; 100/hour; 1000/day", algorithm=algorithm)])
    app.add_url_rule("/", view_func=lambda: "ok")
    client = app.test_client()
    client.get("/")
    redis.config_resetstat()

    with redis.client() as connected, redis.monitor() as monitor:
        answers = [client.get("/") for _ in range(6)]
        connected.ping()
        seen = []
        while (command := monitor.next_command())["command"] != "PING":
            if command["client_type"] != "lua":
                seen.append(command["command"].split()[0].upper())

    assert [each.status_code for each in answers] == [200] * 4 + [429] * 2
    assert '"1000-per-day";r=995;' in answers[-1].headers["RateLimit"]
    assert seen == ["EVALSHA"] * 6
    assert calls(redis)["evalsha"] == 6


@pytest.mark.parametrize("forget", ["script_flush", "flushall"])
def test_a_server_that_has_forgotten_the_script_is_told_again(counter: RedisCounter, redis: Any, forget: str) -> None:
    budget = rate_budget(parse("2/minute"), "scope")
    counter.take([(budget, CLIENT, 1, 1)])
    redis.script_flush()
    getattr(redis, forget)()
    redis.config_resetstat()

    taken = [counter.take([(budget, CLIENT, 1, 1)])[0] for _ in range(3)]

    assert taken == ([True, False, False] if forget == "script_flush" else [True, True, False])
    assert (calls(redis)["eval"], calls(redis)["evalsha"]) == (1, 3)


# All or none -------------------------------------------------------------------------------------------------------


def test_what_one_budget_has_no_room_for_is_charged_to_none(counter: RedisCounter, budget_of: BudgetOf) -> None:
    wide, narrow = budget_of("100/hour"), budget_of("2/hour")
    charges = [(wide, CLIENT, 1, 1), (narrow, CLIENT, 1, 1)]

    results = [counter.take(charges) for _ in range(5)]

    assert [taken for taken, _ in results] == [True, True, False, False, False]
    assert [standings[0].remaining for _, standings in results] == [99, 98, 98, 98, 98]
    assert results[-1][1][1].wait > 0


@pytest.mark.parametrize("other", [ban_budget(60, "scope"), concurrency_budget(1, 60, "scope")], ids=shown)
def test_a_ban_and_a_lack_of_leases_spare_the_limits(counter: RedisCounter, budget_of: BudgetOf, other: Budget) -> None:
    budget = budget_of("100/hour")
    counter.take([(other, CLIENT, 1, 1)], "another request")

    taken, standings = counter.take([(budget, CLIENT, 1, 1), (other, CLIENT, 1, 0)], "a request")

    assert (taken, standings[0].remaining) == (False, 100)


def test_what_is_needed_and_what_is_taken_may_differ(counter: RedisCounter, budget_of: BudgetOf) -> None:
    budget = budget_of("10/hour")

    looks = [counter.take([(budget, CLIENT, 10, 0)]) for _ in range(2)]
    counter.take([(budget, CLIENT, 1, 3)])

    assert [(taken, standings[0].remaining) for taken, standings in looks] == [(True, 10)] * 2
    assert counter.take([(budget, CLIENT, 8, 0)])[0] is False
    assert counter.take([(budget, CLIENT, 7, 0)])[1][0].remaining == 7


@pytest.mark.parametrize("cost", [1, 7, 5000, 5001, 12_000])
def test_a_request_may_cost_a_lot(counter: RedisCounter, budget_of: BudgetOf, cost: int) -> None:
    budget = budget_of("12000/hour")

    taken, (standing,) = counter.take([(budget, CLIENT, cost, cost)])
    beyond = counter.take([(budget, CLIENT, 12_001 - cost, 12_001 - cost)])[0]

    assert (taken, standing.remaining, beyond) == (True, 12_000 - cost, False)


# Exactly the amount ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_threads_get_exactly_the_amount(storage: RedisStorage, budget_of: BudgetOf) -> None:
    counter, budget, wide = RedisCounter(storage), budget_of("300/hour"), budget_of("10000/hour")
    together = threading.Barrier(8)

    def worker(_number: int) -> int:
        together.wait()
        return sum(counter.take([(wide, CLIENT, 1, 1), (budget, CLIENT, 1, 1)])[0] for _ in range(60))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(worker, range(8))) == 300
    assert counter.take([(wide, CLIENT, 1, 0)])[1][0].remaining == 9700


@pytest.mark.slow
def test_eight_threads_never_hold_more_leases_than_there_are(counter: RedisCounter) -> None:
    budget, at_once, most = concurrency_budget(3, 60, "scope"), [0], [0]
    lock, together = threading.Lock(), threading.Barrier(8)

    def worker(number: int) -> int:
        together.wait()
        held = 0
        for turn in range(40):
            charge = (budget, CLIENT, 1, 1)
            if counter.take([charge], f"{number} {turn}")[0]:
                with lock:
                    at_once[0] += 1
                    most[0] = max(most[0], at_once[0])
                held += 1
                with lock:
                    at_once[0] -= 1
                counter.release([charge], f"{number} {turn}")
        return held

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(worker, range(8))) > 0
    assert 0 < most[0] <= 3
    assert counter.take([(budget, CLIENT, 3, 0)])[0]


def test_a_client_that_decodes_answers_is_fine(redis_url: str) -> None:
    counter = RedisCounter(RedisStorage(redis_url, key_prefix=uuid4().hex, decode_responses=True))
    budget = rate_budget(parse("1/minute"), "scope")

    assert [counter.take([(budget, CLIENT, 1, 1)])[0] for _ in range(2)] == [True, False]
    assert [who for _, who in counter.find()] == [CLIENT]


def test_an_app_counts_in_it(app: Flask, redis_url: str) -> None:
    app.config.update(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=uuid4().hex)
    Guard(app, policies=[limit("1/minute")])
    app.add_url_rule("/", view_func=lambda: "ok")

    assert [app.test_client().get("/").status_code for _ in range(2)] == [200, 429]
