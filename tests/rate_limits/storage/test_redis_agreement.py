"""Counting in Redis agrees with counting in memory, and with what `limits` itself counts under the same keys."""

from __future__ import annotations

import random
import time
from typing import Any, cast
from uuid import uuid4

import pytest
from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import STRATEGIES, RateLimiter

from flask_guard.rate_limits.storage import (
    Budget,
    Charge,
    Standing,
    ban_budget,
    concurrency_budget,
    drawing,
    rate_budget,
)
from flask_guard.rate_limits.storage.algorithms import LEASES, State
from flask_guard.rate_limits.storage.counter import settle
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options

pytestmark = pytest.mark.slow

STRATEGY_NAMES = ["fixed-window", "moving-window", "sliding-window-counter"]
CLIENT = "127.0.0.1"


@pytest.fixture
def storage(redis_url: str) -> RedisStorage:
    """Return a storage of `limits` in which nothing is counted yet."""
    return RedisStorage(redis_url, key_prefix=uuid4().hex, **default_options(redis_url))


@pytest.fixture
def counter(storage: RedisStorage) -> RedisCounter:
    return RedisCounter(storage)


# What the arithmetic of the memory storage says --------------------------------------------------------------------


class Model:
    """What is counted, by the arithmetic of the storages that are no server."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.states: dict[Budget, State] = {}

    def now(self) -> float:
        return time.time() + self.passed

    def take(self, charges: list[Charge], token: str) -> tuple[bool, list[Standing]]:
        states = [self.states.get(budget) for budget, *_ in charges]
        (taken, standings), changed = settle(charges, token, states, self.now())
        for index, state, _ in changed:
            self.states[charges[index][0]] = state
        return taken, standings

    def release(self, budget: Budget, token: str) -> None:
        if self.states.get(budget) is not None:
            self.states[budget] = LEASES.release(self.states[budget], token)


def let_time_pass(storage: RedisStorage, seconds: float) -> None:
    """Make all that is counted `seconds` older."""
    redis = cast("Any", storage.get_connection())
    for key in list(redis.scan_iter(match=f"{storage.key_prefix}*")):
        kind = redis.type(key)
        if kind == b"list":
            moments = [float(moment) - seconds for moment in redis.lrange(key, 0, -1)]
            with redis.pipeline() as pipeline:
                pipeline.delete(key).rpush(key, *moments).pexpire(key, 10**9).execute()
        elif kind == b"zset":
            ends = {token: end - 1000 * seconds for token, end in redis.zrange(key, 0, -1, withscores=True)}
            redis.zadd(key, ends)
        else:
            redis.pexpire(key, max(0, int(redis.pttl(key) - 1000 * seconds)))


def budgets() -> list[Budget]:
    rates = ["3/hour", "10/hour", "7/day", "40/2 hours"]
    return [
        *(rate_budget(parse(rate), "view", algorithm) for rate in rates for algorithm in STRATEGY_NAMES),
        concurrency_budget(3, 1800, "view"),
        ban_budget(3600, "view"),
    ]


def some_charges(choice: random.Random, among: list[Budget]) -> list[Charge]:
    """Return charges such as requests make: most of one, some of more, some that only look, some beyond the limit."""
    chosen: list[Budget] = []
    for budget in choice.sample(among, choice.randint(1, 3)):
        if not any(each.key_for("") == budget.key_for("") for each in chosen):  # as no two limits have one key
            chosen.append(budget)
    charges: list[Charge] = []
    for budget in chosen:
        need = choice.choice([1, 1, 1, 2, 5, budget.amount, budget.amount + 1, 0])
        deduct = choice.choice([need, need, need, 0, 1])
        charges.append((budget, f"{CLIENT}/{budget.algorithm.code}", need, deduct))
    return charges


def outcome(result: tuple[bool, list[Standing]]) -> tuple[bool, list[tuple[Budget, int, int, str]]]:
    taken, standings = result
    return taken, [(each.budget, max(0, each.remaining), each.need, each.identity) for each in standings]


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_charges_has_the_outcome_that_it_has_in_memory(
    counter: RedisCounter, storage: RedisStorage, seed: int
) -> None:
    choice, model, among = random.Random(seed), Model(), budgets()  # noqa: S311
    among = choice.sample(among, 6)  # so that the same ones are drawn on again and again

    for step in range(80):
        charges, token = some_charges(choice, among), f"token {choice.randint(1, 5)}"
        expected, got = model.take(charges, token), counter.take(charges, token)

        assert outcome(got) == outcome(expected), (step, charges)
        for ours, theirs in zip(got[1], expected[1], strict=True):
            assert abs(ours.wait - theirs.wait) <= 1, (step, ours, theirs)

        if choice.random() < 0.2:
            leases = [budget for budget in among if budget.algorithm is LEASES]
            counter.release([(budget, f"{CLIENT}/C", 1, 1) for budget in leases], token)
            for budget in leases:
                model.release(budget, token)
        if choice.random() < 0.4:
            seconds = choice.choice([30, 600, 3000, 5000]) * choice.random()
            model.passed += seconds
            let_time_pass(storage, seconds)


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_single_charges_at_a_known_cost_has_the_outcome_that_it_has_in_memory(
    counter: RedisCounter, storage: RedisStorage, seed: int
) -> None:
    choice, model = random.Random(seed), Model()  # noqa: S311
    rates = [each for each in budgets() if each.item is not None]
    draws = [(budget, cost, drawing(counter, budget, cost)) for budget in rates[:6] for cost in (1, 2)]

    for step in range(80):
        budget, cost, draw = choice.choice(draws)
        client = f"{CLIENT} {budget.algorithm.code} é"
        expected, got = model.take([(budget, client, cost, cost)], ""), draw(client)

        assert outcome(got) == outcome(expected), (step, budget)
        assert abs(got[1][0].wait - expected[1][0].wait) <= 1, (step, budget)
        if choice.random() < 0.2:
            seconds = choice.choice([600, 3000, 5000]) * choice.random()
            model.passed += seconds
            let_time_pass(storage, seconds)


def test_a_server_that_has_forgotten_the_script_counts_a_charge_at_a_known_cost(
    counter: RedisCounter, storage: RedisStorage
) -> None:
    draw = drawing(counter, rate_budget(parse("3/hour"), "view"), 1)
    taken = [draw(CLIENT)[0]]

    cast("Any", storage.get_connection()).script_flush()
    taken += [draw(CLIENT)[0] for _ in range(3)]

    assert taken == [True, True, True, False]


# What limits itself counts -----------------------------------------------------------------------------------------


@pytest.fixture(params=STRATEGY_NAMES)
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def strategy(storage: RedisStorage, algorithm: str) -> RateLimiter:
    return STRATEGIES[algorithm](storage)


@pytest.fixture
def item() -> RateLimitItem:
    return parse("10/minute")


@pytest.fixture
def budget(item: RateLimitItem, algorithm: str) -> Budget:
    return rate_budget(item, "scope", algorithm)


def test_what_limits_has_counted_is_used_up_here(
    counter: RedisCounter, strategy: RateLimiter, item: RateLimitItem, budget: Budget
) -> None:
    assert strategy.hit(item, "scope", CLIENT, cost=4)

    taken, (standing,) = counter.take([(budget, CLIENT, 6, 6)])
    again, (after,) = counter.take([(budget, CLIENT, 1, 1)])

    assert (taken, standing.remaining) == (True, 0)
    assert (again, after.remaining) == (False, 0)
    assert after.wait in (59, 60) or strategy.__class__ is STRATEGIES["sliding-window-counter"]


def test_what_is_counted_here_is_used_up_for_limits(
    counter: RedisCounter, strategy: RateLimiter, item: RateLimitItem, budget: Budget
) -> None:
    counter.take([(budget, CLIENT, 4, 4)])

    assert strategy.get_window_stats(item, "scope", CLIENT).remaining == 6
    assert -1 < strategy.get_window_stats(item, "scope", CLIENT).reset_time - time.time() <= 60
    assert strategy.hit(item, "scope", CLIENT, cost=6)
    assert not strategy.hit(item, "scope", CLIENT)
    assert not strategy.test(item, "scope", CLIENT)


def test_taking_turns_lets_exactly_the_amount_through(
    counter: RedisCounter, strategy: RateLimiter, item: RateLimitItem, budget: Budget
) -> None:
    turns = [
        strategy.hit(item, "scope", CLIENT) if turn % 2 else counter.take([(budget, CLIENT, 1, 1)])[0]
        for turn in range(14)
    ]

    assert turns == [True] * 10 + [False] * 4


@pytest.mark.parametrize("first", ["limits", "here"])
def test_the_window_that_one_began_is_the_previous_one_of_the_other(
    counter: RedisCounter, storage: RedisStorage, item: RateLimitItem, first: str
) -> None:
    strategy = STRATEGIES["sliding-window-counter"](storage)
    budget = rate_budget(item, "scope", "sliding-window-counter")
    if first == "limits":
        strategy.hit(item, "scope", CLIENT, cost=10)
    else:
        counter.take([(budget, CLIENT, 10, 10)])
    let_time_pass(storage, 91)

    if first == "limits":
        taken, (standing,) = counter.take([(budget, CLIENT, 1, 1)])
        assert (taken, standing.remaining) == (True, 5)
    assert strategy.get_window_stats(item, "scope", CLIENT).remaining == (5 if first == "limits" else 6)
    assert strategy.hit(item, "scope", CLIENT, cost=5)
    assert not strategy.hit(item, "scope", CLIENT, cost=2)


def test_what_is_cleared_here_is_cleared_for_limits(
    counter: RedisCounter, strategy: RateLimiter, item: RateLimitItem, budget: Budget
) -> None:
    strategy.hit(item, "scope", CLIENT, cost=10)

    counter.forget(budget, CLIENT)

    assert strategy.get_window_stats(item, "scope", CLIENT).remaining == 10
