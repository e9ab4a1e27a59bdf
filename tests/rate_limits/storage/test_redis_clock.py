"""The clock of the Redis server is set back by an hour: nobody waits for that hour, and nobody gets a window more."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from limits import parse
from limits.storage import RedisStorage

from flask_guard.rate_limits.storage import Budget, Charge, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options

HOUR = 3600
CLIENT = "127.0.0.1"
BUDGETS = {
    "fixed-window": rate_budget(parse("5/minute"), "scope", "fixed-window"),
    "moving-window": rate_budget(parse("5/minute"), "scope", "moving-window"),
    "sliding-window-counter": rate_budget(parse("5/minute"), "scope", "sliding-window-counter"),
    "token-bucket": rate_budget(parse("5/minute"), "scope", "token-bucket"),
    "concurrent": concurrency_budget(5, 60, "scope"),
    "ban": ban_budget(60, "scope"),
}


@pytest.fixture
def storage(redis_url: str) -> RedisStorage:
    return RedisStorage(redis_url, key_prefix=uuid4().hex, **default_options(redis_url))


@pytest.fixture
def counter(storage: RedisStorage) -> RedisCounter:
    return RedisCounter(storage)


def turn_the_clock(storage: RedisStorage, seconds: int) -> None:
    """Leave all keys as they are once the clock has been set forward by `seconds`; back, if that is negative."""
    redis: Any = storage.get_connection()
    for key in list(redis.scan_iter(match=f"{storage.key_prefix}*")):
        kind = redis.type(key)
        redis.pexpire(key, redis.pttl(key) - 1000 * seconds)
        if kind == b"list":
            for index, moment in enumerate(redis.lrange(key, 0, -1)):
                redis.lset(key, index, float(moment) - seconds)
        elif kind == b"string" and b" " in (value := redis.get(key) or b""):
            debt, since = value.split()
            redis.set(key, f"{int(debt)} {int(since) - 1000 * seconds}", keepttl=True)
        elif kind == b"zset":
            for token, ends in redis.zrange(key, 0, -1, withscores=True):
                redis.zadd(key, {token: ends - 1000 * seconds})


def lifetimes(storage: RedisStorage) -> list[int]:
    redis: Any = storage.get_connection()
    return [redis.ttl(key) for key in redis.scan_iter(match=f"{storage.key_prefix}*")]


def use_up(counter: RedisCounter, budget: Budget, number: int) -> None:
    for turn in range(number):
        assert counter.take([(budget, CLIENT, 1, 1)], f"token {turn}")[0]


@pytest.fixture(params=BUDGETS)
def budget(request: pytest.FixtureRequest) -> Budget:
    return BUDGETS[request.param]


def test_nobody_waits_until_the_clock_has_caught_up(
    counter: RedisCounter, storage: RedisStorage, budget: Budget
) -> None:
    use_up(counter, budget, budget.amount)
    turn_the_clock(storage, -HOUR)

    denied, (standing,) = counter.take([(budget, CLIENT, 1, 0)])
    left = lifetimes(storage)
    turn_the_clock(storage, 125)
    later = counter.take([(budget, CLIENT, 1, 0)])[0]

    assert not denied
    assert 1 <= standing.wait <= 61  # of a sliding counter, an instant more than a window
    assert later
    assert all(seconds <= 120 for seconds in left)


def test_what_was_used_stays_used(counter: RedisCounter, storage: RedisStorage, budget: Budget) -> None:
    use_up(counter, budget, budget.amount)
    turn_the_clock(storage, -HOUR)

    assert [counter.take([(budget, CLIENT, 1, 1)], f"more {turn}")[0] for turn in range(3)] == [False] * 3


@pytest.mark.parametrize("kind", [kind for kind in BUDGETS if kind != "ban"])
def test_what_was_left_is_left_and_no_more(counter: RedisCounter, storage: RedisStorage, kind: str) -> None:
    budget = BUDGETS[kind]
    use_up(counter, budget, 3)
    turn_the_clock(storage, -HOUR)

    taken = [counter.take([(budget, CLIENT, 1, 1)], f"more {turn}")[0] for turn in range(4)]

    assert taken == [True, True, False, False]
    assert all(0 < seconds <= 120 for seconds in lifetimes(storage))


def test_the_previous_of_two_windows_weighs_no_more_than_it_did(counter: RedisCounter, storage: RedisStorage) -> None:
    budget = BUDGETS["sliding-window-counter"]
    use_up(counter, budget, 4)
    turn_the_clock(storage, 70)
    use_up(counter, budget, 1)
    turn_the_clock(storage, -HOUR)

    taken, (standing,) = counter.take([(budget, CLIENT, 1, 0)])

    assert (taken, standing.remaining) == (False, 0)
    assert standing.wait <= 60
    turn_the_clock(storage, 125)
    assert counter.take([(budget, CLIENT, 5, 0)])[0]


def test_leases_that_nobody_gives_back_end_in_time_though_others_follow(
    counter: RedisCounter, storage: RedisStorage
) -> None:
    budget = BUDGETS["concurrent"]
    use_up(counter, budget, 3)
    turn_the_clock(storage, -HOUR)

    for number in range(2):
        assert counter.take([(budget, CLIENT, 1, 1)], f"later {number}")[0]
        turn_the_clock(storage, 40)

    assert counter.take([(budget, CLIENT, 1, 0)])[1][0].remaining == 4


def test_the_order_of_moments_and_their_distances_are_kept(counter: RedisCounter, storage: RedisStorage) -> None:
    budget = BUDGETS["moving-window"]
    charge: Charge = (budget, CLIENT, 1, 1)
    for _ in range(5):
        counter.take([charge])
        turn_the_clock(storage, 10)  # ten seconds lie between two of them
    turn_the_clock(storage, -HOUR)

    waits = [counter.take([(budget, CLIENT, need, 0)])[1][0].wait for need in (1, 2, 3, 4, 5)]

    assert waits == [20, 30, 40, 50, 60]


def test_a_moment_hardly_ahead_is_that_of_a_client_of_limits_whose_clock_is(
    counter: RedisCounter, storage: RedisStorage
) -> None:
    budget = BUDGETS["moving-window"]
    redis: Any = storage.get_connection()
    key = storage.prefixed_key(budget.key_for(CLIENT))
    use_up(counter, budget, 2)
    ahead = float(redis.lindex(key, 0)) + 0.5
    redis.lset(key, 0, ahead)

    assert counter.take([(budget, CLIENT, 3, 0)])[0]
    assert float(redis.lindex(key, 0)) == ahead


def test_a_counter_that_never_expires_is_given_an_end(counter: RedisCounter, storage: RedisStorage) -> None:
    redis: Any = storage.get_connection()
    budget = BUDGETS["fixed-window"]
    use_up(counter, budget, 5)
    redis.persist(storage.prefixed_key(budget.key_for(CLIENT)))

    counter.take([(budget, CLIENT, 1, 1)])

    assert lifetimes(storage) == [60]
