"""What limits leave in Redis: for how long, of which type, and how it is given back, cleared and found."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from limits import parse, parse_many
from limits.storage import RedisStorage

from flask_guard.rate_limits.storage import ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]
CLIENT = "127.0.0.1"


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


# What the keys hold ------------------------------------------------------------------------------------------------


def test_nothing_stays_for_longer_than_it_counts(counter: RedisCounter, storage: RedisStorage, redis: Any) -> None:
    rates = [rate_budget(item, "scope", name) for name in ALGORITHMS for item in parse_many("10/hour; 20/hour")]
    budgets = [*rates, concurrency_budget(3, 3600, "scope"), ban_budget(3600, "scope")]
    for number, budget in enumerate(budgets):
        for _ in range(3):
            counter.take([(budget, f"client {number}", 1, 1)], "token")

    lifetimes = {key: redis.ttl(key) for key in redis.scan_iter(match=f"{storage.key_prefix}*")}

    assert len(lifetimes) == len(budgets)
    assert all(0 < seconds <= (7200 if b"{" in key else 3600) for key, seconds in lifetimes.items())


def test_a_list_of_moments_grows_no_longer_than_the_limit(
    counter: RedisCounter, storage: RedisStorage, redis: Any
) -> None:
    budget = rate_budget(parse("5/hour"), "scope", "moving-window")
    for _ in range(4):
        counter.take([(budget, CLIENT, 0, 3)])

    assert redis.llen(storage.prefixed_key(budget.key_for(CLIENT))) == 5


def write(redis: Any, key: str, kind: str) -> None:
    """Write a value of a type that Redis has."""
    if kind == "string":
        redis.set(key, "text")
    elif kind == "list":
        redis.rpush(key, "1", "2")
    elif kind == "zset":
        redis.zadd(key, {"member": 1})
    else:
        redis.hset(key, "field", "value")


TYPES = ["string", "list", "zset", "hash"]
OWN_TYPE = {"moving-window": "list", "concurrent": "zset"}
OTHER_TYPES = [(kind, value) for kind in (*ALGORITHMS, "concurrent") for value in TYPES if value != OWN_TYPE.get(kind)]


@pytest.mark.parametrize(("kind", "value"), OTHER_TYPES)
def test_a_key_of_another_type_gives_way(
    counter: RedisCounter, storage: RedisStorage, redis: Any, kind: str, value: str
) -> None:
    at_once = concurrency_budget(2, 60, "scope")
    budget = at_once if kind == "concurrent" else rate_budget(parse("2/minute"), "scope", kind)
    for key in (budget.key_for(CLIENT), f"{{{budget.key_for(CLIENT)}}}", f"{{{budget.key_for(CLIENT)}}}/-1"):
        write(redis, storage.prefixed_key(key), value)

    taken = [counter.take([(budget, CLIENT, 1, 1)], f"token {number}")[0] for number in range(3)]

    assert taken == [True, True, False]


# Leases, bans, clearing, finding -----------------------------------------------------------------------------------


def test_a_lease_that_is_given_back_is_free_again(counter: RedisCounter) -> None:
    charge = (concurrency_budget(1, 60, "scope"), CLIENT, 1, 1)

    first, second = counter.take([charge], "one")[0], counter.take([charge], "two")[0]
    counter.release([charge], "unknown")
    still = counter.take([charge], "two")[0]
    counter.release([charge], "one")

    assert (first, second, still, counter.take([charge], "two")[0]) == (True, False, False, True)


def test_a_ban_lasts_for_its_time(counter: RedisCounter) -> None:
    budget = ban_budget(600, "scope")
    before = counter.take([(budget, CLIENT, 1, 0)])

    counter.ban(budget, CLIENT)
    taken, (standing,) = counter.take([(budget, CLIENT, 1, 0)])

    assert (before[0], before[1][0].remaining) == (True, 1)
    assert (taken, standing.remaining, standing.wait) == (False, 0, 600)
    assert counter.take([(budget, "192.0.2.1", 1, 0)])[0]


def test_clearing_forgets_one_client(counter: RedisCounter, storage: RedisStorage, redis: Any) -> None:
    rates = [rate_budget(parse("2/hour"), "scope", algorithm) for algorithm in ALGORITHMS]
    budgets = [*rates, concurrency_budget(2, 60, "scope"), ban_budget(60, "scope")]
    for budget in budgets:
        for client in (f"{budget.algorithm.code}-one", f"{budget.algorithm.code}-two"):
            counter.take([(budget, client, 1, 1)], "token")

    for budget in budgets:
        counter.forget(budget, f"{budget.algorithm.code}-one")

    left = [key.decode() for key in redis.scan_iter(match=f"{storage.key_prefix}*")]
    assert len(left) == len(budgets)
    assert all("-two/" in key for key in left)


CLIENTS = ["127.0.0.1", "2001:db8::/64", "key:a*b?c[d]^e\\f", "by:{x}", "by:ключ", "by:1/2/hour"]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_held_for_a_client_is_found(counter: RedisCounter, client: str) -> None:
    rates = [rate_budget(parse(f"{3 + number}/hour"), "view:a/b", name) for number, name in enumerate(ALGORITHMS)]
    budgets = [*rates, concurrency_budget(2, 60, "shared:x y"), ban_budget(60, "ban")]
    for each in (client, f"{client}x", "another"):
        counter.take([(budget, each, 1, 1) for budget in budgets], "token")

    found = {(budget.key_for(who), budget.algorithm.code) for budget, who in counter.find() if who == client}

    assert found == {(budget.key_for(client), budget.algorithm.code) for budget in budgets}
    assert len(list(counter.find())) == 3 * len(budgets)
    assert sorted(who for _, who in counter.find(unit="ban")) == sorted([client, f"{client}x", "another"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_found_can_be_cleared(counter: RedisCounter, algorithm: str) -> None:
    budget = rate_budget(parse("3/hour"), "scope", algorithm)
    counter.take([(budget, CLIENT, 3, 3)])

    for budget, who in counter.find():
        counter.forget(budget, who)

    assert list(counter.find()) == []
    assert counter.take([(budget, CLIENT, 3, 3)])[0]


def test_finding_holds_the_server_up_for_no_longer_than_a_scan(counter: RedisCounter, redis: Any) -> None:
    redis.config_resetstat()

    list(counter.find())

    assert "cmdstat_keys" not in redis.info("commandstats")
