"""What the memory and the SQLite storage promise alike, to our policies and to the strategies of `limits`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import STRATEGIES, RateLimiter

from flask_guard.rate_limits.storage import Budget, Charge, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.table import TableStorage
from tests.storage_clock import Clock

OF_STRATEGIES = ["fixed-window", "moving-window", "sliding-window-counter"]
ALGORITHMS = [*OF_STRATEGIES, "token-bucket"]


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TableStorage]:
    made = storage_from_string(
        "guard-memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'limits.db'}"
    )
    assert isinstance(made, TableStorage)
    yield made
    made.reset()


@pytest.fixture(params=OF_STRATEGIES)
def strategy(request: pytest.FixtureRequest, storage: TableStorage) -> RateLimiter:
    return STRATEGIES[request.param](storage)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def a_rate(rate: str, algorithm: str = "fixed-window", scope: str = "scope") -> Budget:
    return rate_budget(parse(rate), scope, algorithm)


def charged(*budgets: Budget, who: str = "client", cost: int = 1) -> list[Charge]:
    return [(budget, who, cost, cost) for budget in budgets]


def left(storage: TableStorage, *budgets: Budget, who: str = "client") -> list[int]:
    """Return what remains of `budgets`, without charging anything."""
    return [each.remaining for each in storage.take([(budget, who, 0, 0) for budget in budgets])[1]]


# Taking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_exactly_the_amount_is_let_through(storage: TableStorage, algorithm: str) -> None:
    charges = charged(a_rate("3/minute", algorithm))

    assert [storage.take(charges)[0] for _ in range(5)] == [True, True, True, False, False]
    assert storage.take(charged(charges[0][0], who="another client"))[0]


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sixteen_threads_get_exactly_the_amount(storage: TableStorage, algorithm: str) -> None:
    charges = charged(a_rate("500/day", algorithm))  # a bucket gets nothing back meanwhile
    together = threading.Barrier(16)

    def worker(_number: int) -> int:
        together.wait()
        return sum(storage.take(charges)[0] for _ in range(100))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(worker, range(16))) == 500


@pytest.mark.parametrize("exhausted", range(5))
def test_all_are_charged_or_none_whatever_the_algorithms(storage: TableStorage, exhausted: int) -> None:
    budgets = [*(a_rate("5/minute", each, each) for each in ALGORITHMS), concurrency_budget(5, 60, "at once")]
    for number in range(5):
        storage.take(charged(budgets[exhausted]), f"token{number}")

    taken, standings = storage.take(charged(*budgets), "another")

    expected = [0 if index == exhausted else 5 for index in range(5)]
    assert (taken, [each.remaining for each in standings]) == (False, expected)
    assert left(storage, *budgets) == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_cost_that_does_not_fit_uses_nothing_up(storage: TableStorage, algorithm: str) -> None:
    budget = a_rate("10/minute", algorithm)

    assert [storage.take(charged(budget, cost=cost))[0] for cost in (8, 3, 2, 1)] == [True, False, True, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_only_looked_at_is_not_charged(storage: TableStorage, algorithm: str) -> None:
    budget = a_rate("1/minute", algorithm)

    assert [storage.take([(budget, "client", 1, 0)])[0] for _ in range(3)] == [True] * 3
    assert left(storage, budget) == [1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_window_ends(storage: TableStorage, clock: Clock, algorithm: str) -> None:
    charges = charged(a_rate("2/minute", algorithm))
    used_up = [storage.take(charges)[0] for _ in range(3)]

    clock.advance(66)

    assert (used_up, storage.take(charges)[0]) == ([True, True, False], True)


@pytest.mark.parametrize("who", ["a/b c", "ключ", "x" * 10_000, "nul\0", "\udcff", "%2F", "{}", "'; --"], ids=ascii)
def test_any_name_of_a_client_can_be_counted(storage: TableStorage, who: str) -> None:
    budget = a_rate("1/minute")

    assert [storage.take(charged(budget, who=who))[0] for _ in range(2)] == [True, False]
    assert storage.take(charged(budget, who=f"{who}."))[0]


# Leases, bans, and what support does -----------------------------------------------------------------------------


def test_a_lease_that_is_given_back_can_be_taken_again(storage: TableStorage) -> None:
    charges = charged(concurrency_budget(2, 60, "scope"))
    taken = [storage.take(charges, token)[0] for token in ("a", "b", "c")]

    storage.release(charges, "a")
    storage.release(charges, "unknown")

    assert taken == [True, True, False]
    assert [storage.take(charges, token)[0] for token in ("d", "e")] == [True, False]


def test_giving_back_leaves_rates_as_they_are(storage: TableStorage) -> None:
    lease, rate = concurrency_budget(1, 60, "scope"), a_rate("3/minute")
    storage.take(charged(lease, rate), "token")

    storage.release(charged(lease, rate), "token")

    assert left(storage, lease, rate) == [1, 2]


def test_who_is_banned_is_denied_until_cleared(storage: TableStorage) -> None:
    budget = ban_budget(3600, "scope")
    look: list[Charge] = [(budget, "client", 1, 0)]
    before = storage.take(look)[0]

    storage.ban(budget, "client")
    taken, standings = storage.take(look)
    storage.forget(budget, "client")

    assert (before, taken, storage.take(look)[0]) == (True, False, True)
    assert 3599 <= standings[0].wait <= 3600


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_that_is_cleared_begins_anew_and_no_other_does(storage: TableStorage, algorithm: str) -> None:
    budget = a_rate("2/minute", algorithm)
    for who in ("one", "two"):
        storage.take(charged(budget, who=who))

    storage.forget(budget, "one")

    assert [left(storage, budget, who=who) for who in ("one", "two")] == [[2], [1]]


def test_what_is_held_can_be_found_by_client_and_by_unit(storage: TableStorage) -> None:
    budgets = [*(a_rate("2/minute", each, f"a scope/{each}") for each in ALGORITHMS), concurrency_budget(2, 60, "s")]
    storage.take(charged(*budgets, who="2001:db8::/64"), "token")
    storage.take(charged(budgets[0], who="other"))
    storage.ban(ban_budget(60, "scope"), "other")
    storage.incr("not ours", 60)

    found = [(held.tail, held.scope, held.algorithm.code) for held, who in storage.find() if who == "2001:db8::/64"]

    assert sorted(found) == sorted((each.tail, each.scope, each.algorithm.code) for each in budgets)
    assert [who for _, who in storage.find(unit="ban")] == ["other"]
    assert len(list(storage.find())) == 7
    assert [left(storage, held, who=who) for held, who in storage.find("minute") if who == "other"] == [[1]]


def test_what_has_ended_is_not_found(storage: TableStorage, clock: Clock) -> None:
    storage.take(charged(a_rate("2/minute"), a_rate("2/hour")))

    clock.advance(61)

    assert [held.text for held, _ in storage.find()] == ["2 per 1 hour"]


# As the strategies of limits use it ------------------------------------------------------------------------------


def test_a_strategy_lets_exactly_the_amount_through(strategy: RateLimiter) -> None:
    item = parse("3/minute")

    assert [strategy.hit(item, "client") for _ in range(5)] == [True, True, True, False, False]
    assert not strategy.test(item, "client")
    assert strategy.get_window_stats(item, "client").remaining == 0
    assert strategy.hit(item, "another client")


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_strategy_lets_sixteen_threads_have_exactly_the_amount(strategy: RateLimiter) -> None:
    item = parse("500/minute")
    together = threading.Barrier(16)

    def worker(_number: int) -> int:
        together.wait()
        return sum(strategy.hit(item, "client") for _ in range(100))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(worker, range(16))) == 500


@pytest.mark.parametrize("strategy", ["moving-window", "sliding-window-counter"], indirect=True)
def test_a_strategy_charges_no_cost_that_does_not_fit(strategy: RateLimiter) -> None:
    item = parse("10/minute")

    assert [strategy.hit(item, "client", cost=cost) for cost in (11, 8, 3, 2)] == [False, True, False, True]


def test_a_strategy_tells_resets_in_wall_clock_time(strategy: RateLimiter) -> None:
    item = parse("2/minute")
    before = time.time()
    strategy.hit(item, "client")

    stats = strategy.get_window_stats(item, "client")

    assert stats.remaining == 1
    assert before - 1 <= stats.reset_time - 60 <= time.time() + 1


def test_a_strategy_ends_its_window(strategy: RateLimiter, clock: Clock) -> None:
    item = parse("2/minute")
    used_up = [strategy.hit(item, "client") for _ in range(3)]

    clock.advance(66)

    assert (used_up, strategy.test(item, "client")) == ([True, True, False], True)


def test_a_client_that_a_strategy_clears_has_a_new_window(strategy: RateLimiter) -> None:
    item = parse("1/minute")
    strategy.hit(item, "client")

    strategy.clear(item, "client")

    assert strategy.hit(item, "client")


def test_our_counts_and_those_of_a_strategy_are_the_same(storage: TableStorage, strategy: RateLimiter) -> None:
    name = next(name for name, each in STRATEGIES.items() if type(strategy) is each)
    budget, item = a_rate("4/minute", name), parse("4/minute")

    for _ in range(2):
        storage.take(charged(budget))
        strategy.hit(item, "scope", "client")

    assert strategy.get_window_stats(item, "scope", "client").remaining == 0
    assert not storage.take(charged(budget))[0]


def test_resetting_forgets_everybody(storage: TableStorage, strategy: RateLimiter) -> None:
    item = parse("1/minute")
    strategy.hit(item, "one")
    strategy.hit(item, "two")

    assert storage.reset() == 2
    assert strategy.hit(item, "one")


def test_the_storage_is_there(storage: TableStorage) -> None:
    assert storage.check()
