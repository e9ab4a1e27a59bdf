"""Units that storages lend: what is counted, what comes back, and what never does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from limits import parse
from limits.storage import storage_from_string

from flask_guard.rate_limits.storage import Budget, SQLiteStorage, rate_budget
from flask_guard.rate_limits.storage.lending import Ask, Lender, Loan, Rest, TableLender
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_lending import RedisLender

from .redis_servers import storage_at, valkey

pytestmark = pytest.mark.slow

BUDGET = rate_budget(parse("320/day"), "lent")
HOLDER = "a worker"


class Shop:
    """A storage that lends, and what it counts."""

    def __init__(self, lender: Lender, counter: Any) -> None:
        self.lender = lender
        self.counter = counter

    def lend(self, held: int, need: int, want: int, note: str = "", client: str = "client") -> Loan:
        (loan,) = self.lender.lend([Ask(BUDGET, client, held, need, want, note)], HOLDER)
        return loan

    def take_back(self, units: int, note: str, holder: str = HOLDER, client: str = "client") -> None:
        self.lender.take_back([Rest(BUDGET, client, units, note)], holder)

    def left(self, client: str = "client") -> int:
        remaining: int = self.counter.take([(BUDGET, client, 0, 0)])[1][0].remaining
        return remaining


def redis_shop(uri: str) -> Shop:
    counter = RedisCounter(storage_at(uri, socket_timeout=20, socket_connect_timeout=20))
    return Shop(RedisLender(lambda: counter), counter)


@pytest.fixture
def cluster_shop(redis_cluster: tuple[str, Popen[bytes]]) -> Iterator[Shop]:
    """Return what lends in a cluster, whose client does not close its connections by itself."""
    made = redis_shop(redis_cluster[0])
    yield made
    made.counter._redis.close()


@pytest.fixture(params=["sqlite", "redis", "valkey", pytest.param("cluster", marks=pytest.mark.xdist_group("cluster"))])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "sqlite":
        storage: Any = storage_from_string(f"sqlite:///{tmp_path}/limits.db?timeout=20")
        assert isinstance(storage, SQLiteStorage)
        return Shop(TableLender(storage), storage)
    if request.param == "cluster":
        in_cluster: Shop = request.getfixturevalue("cluster_shop")
        return in_cluster
    uri: str = request.getfixturevalue("redis_url")
    return redis_shop(valkey(uri) if request.param == "valkey" else uri)


def test_a_loan_counts_as_used_and_what_comes_back_does_not(shop: Shop) -> None:
    loan = shop.lend(0, 1, 10)
    assert (loan[:2], shop.left()) == ((10, 310), 310)
    assert 86_399 < loan.seconds <= 86_400

    shop.take_back(9, loan.note)
    assert shop.left() == 319


def test_a_loan_is_a_sixteenth_of_what_is_left_at_most(shop: Shop) -> None:
    assert shop.lend(0, 1, 500).held == 20
    assert shop.lend(0, 33, 500).held == 33
    assert shop.lend(0, 260, 500)[:2] == (260, 7)
    assert shop.lend(0, 1, 500)[:2] == (1, 6)
    assert shop.lend(0, 7, 500)[:2] == (0, 6)
    assert shop.left() == 6


def test_a_next_loan_goes_on_from_what_is_held(shop: Shop) -> None:
    first = shop.lend(0, 1, 10)
    second = shop.lend(3, 5, 10, first.note)
    assert (second[:2], shop.left()) == ((10, 303), 303)

    shop.take_back(10, second.note)
    assert shop.left() == 313  # seven were spent


def test_a_loan_takes_nothing_back(shop: Shop) -> None:
    """Its answer may be lost. The worker would give the same units back once more."""
    first = shop.lend(0, 30, 30)

    second = shop.lend(30, 1, 10, first.note)

    assert (second[:2], shop.left()) == ((30, 290), 290)


def test_a_budget_that_is_overdrawn_has_nothing_left(shop: Shop) -> None:
    shop.counter.take([(BUDGET, "client", 0, 400)])

    assert shop.lend(0, 1, 10)[:2] == (0, 0)


def test_nothing_is_taken_back_twice(shop: Shop) -> None:
    loan = shop.lend(0, 1, 10)

    shop.take_back(4, loan.note)
    if isinstance(shop.lender, RedisLender):  # whose client library may send a command again
        shop.take_back(4, loan.note)

    assert shop.left() == 314


def test_what_a_loan_replaced_is_not_taken_back(shop: Shop) -> None:
    first = shop.lend(0, 1, 10)
    shop.lend(0, 1, 10)

    if isinstance(shop.lender, RedisLender):
        shop.take_back(9, first.note)
        assert shop.left() == 300


def test_others_cannot_give_back_what_they_were_not_lent(shop: Shop) -> None:
    shop.lend(0, 1, 10)

    shop.take_back(9, "another note")
    assert shop.left() == 310


def test_a_loan_of_a_count_that_was_reset_is_worth_nothing(shop: Shop) -> None:
    loan = shop.lend(0, 1, 10)
    shop.counter.forget(BUDGET, "client")
    shop.take_back(9, loan.note)
    assert shop.left() == 320

    shop.counter.take([(BUDGET, "client", 1, 5)])
    shop.take_back(9, loan.note)
    assert shop.left() == 315
    assert shop.lend(9, 10, 10, loan.note)[:2] == (10, 305)


def test_a_loan_of_a_count_that_others_deleted_is_worth_nothing(redis_url: str) -> None:
    shop = redis_shop(redis_url)
    loan = shop.lend(0, 1, 10)
    time.sleep(0.005)  # windows are told by the millisecond at which they end
    shop.counter._redis.delete(shop.counter.key(BUDGET, "client"))
    shop.counter.take([(BUDGET, "client", 1, 5)])

    shop.take_back(9, loan.note)
    assert shop.left() == 315


def test_a_loan_that_the_server_has_lost_is_worth_nothing(redis_url: str) -> None:
    """A fail-over to a replica that has not got the last writes loses a loan, and its note with it."""
    shop = redis_shop(redis_url)
    shop.lend(0, 1, 5)
    key = shop.counter.key(BUDGET, "client")
    client: Any = shop.counter._redis
    counted, noted = client.dump(key), client.dump(f"{key}|lent")
    lost = shop.lend(0, 1, 10)
    for name, value in ((key, counted), (f"{key}|lent", noted)):
        client.restore(name, client.pexpiretime(name), value, replace=True, absttl=True)
    assert shop.left() == 315

    shop.take_back(9, lost.note)
    assert shop.left() == 315


def test_a_script_that_runs_twice_lends_no_unit_twice(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = redis_shop(redis_url)
    evaluate: Callable[..., Any] = shop.counter.evaluate
    monkeypatch.setattr(shop.counter, "evaluate", lambda *args: (evaluate(*args), evaluate(*args))[1])

    loan = shop.lend(0, 1, 10)
    assert (loan.held, shop.left()) == (10, 300)
    shop.take_back(10, loan.note)
    assert shop.left() == 310  # ten are lost, and none is there twice


def test_what_is_lent_is_noted_for_seconds_only(redis_url: str) -> None:
    shop = redis_shop(redis_url)
    shop.lend(0, 1, 10)

    client: Any = shop.counter._redis
    assert 0 < client.pttl(f"{shop.counter.key(BUDGET, 'client')}|lent") <= 10_000


@pytest.mark.parametrize(
    ("client", "lends"),
    [("by:{tag}", True), ("by:a{b}c", True), ("by:{", False), ("by:}", False), ("by:{}", False), ("by:}{", False)],
)
@pytest.mark.xdist_group("cluster")
def test_a_cluster_lends_where_both_keys_share_a_slot(cluster_shop: Shop, client: str, lends: bool) -> None:
    shop = cluster_shop
    assert shop.lend(0, 1, 10, client=client).held == (10 if lends else 0)
    assert shop.left(client) == (310 if lends else 320)


def test_several_are_lent_and_given_back_in_one_call(shop: Shop) -> None:
    other: Budget = rate_budget(parse("1000/hour"), "lent")
    asks = [Ask(BUDGET, "client", 0, 1, 10, ""), Ask(other, str(uuid4()), 0, 2, 40, "")]

    loans = shop.lender.lend(asks, HOLDER)
    assert [loan[:2] for loan in loans] == [(10, 310), (40, 960)]

    given = zip(asks, loans, strict=True)
    shop.lender.take_back([Rest(ask.budget, ask.identity, 5, loan.note) for ask, loan in given], HOLDER)
    assert shop.left() == 315
