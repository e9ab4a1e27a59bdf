"""The memory storage: what the strategies of `limits` need, exact among threads, and no bigger than it must be."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import STRATEGIES, RateLimiter

from flask_guard import Guard, limit
from flask_guard.storage.memory import ExactMemoryStorage
from tests.conftest import MakeApp


@pytest.fixture
def storage() -> ExactMemoryStorage:
    made = storage_from_string("guard-memory://")
    assert isinstance(made, ExactMemoryStorage)
    return made


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest, storage: ExactMemoryStorage) -> RateLimiter:
    return STRATEGIES[request.param](storage)


def test_a_limit_lets_exactly_its_amount_through(strategy: RateLimiter) -> None:
    item = parse("3/minute")

    assert [strategy.hit(item, "client") for _ in range(5)] == [True, True, True, False, False]
    assert strategy.get_window_stats(item, "client").remaining == 0
    assert strategy.hit(item, "another client")


def test_sixteen_threads_get_exactly_the_amount(strategy: RateLimiter) -> None:
    item = parse("500/minute")
    together = threading.Barrier(16)

    def worker(_number: int) -> int:
        together.wait()
        return sum(strategy.hit(item, "client") for _ in range(100))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(worker, range(16))) == 500


def test_a_window_ends(strategy: RateLimiter) -> None:
    item = parse("2/second")
    while strategy.hit(item, "client"):
        pass

    time.sleep(1.1)

    assert strategy.test(item, "client")


@pytest.mark.parametrize("strategy", ["moving-window", "sliding-window-counter"], indirect=True)
def test_a_cost_that_does_not_fit_is_not_charged(strategy: RateLimiter) -> None:
    item = parse("10/minute")
    strategy.hit(item, "client", cost=8)

    assert not strategy.hit(item, "client", cost=3)
    assert strategy.hit(item, "client", cost=2)


def test_taking_from_several_windows_charges_all_or_none(storage: ExactMemoryStorage) -> None:
    wide, narrow = ("wide", 10, 60, 1), ("narrow", 1, 60, 1)

    assert storage.take([wide, narrow]) == (True, [(9, 60), (0, 60)])
    assert storage.take([wide, narrow]) == (False, [(9, 60), (0, 60)])
    assert storage.take([("wide", 10, 60, 9)]) == (True, [(0, 60)])


def test_resets_are_told_in_wall_clock_time(strategy: RateLimiter) -> None:
    item = parse("2/minute")
    strategy.hit(item, "client")

    assert 0 <= strategy.get_window_stats(item, "client").reset_time - time.time() <= 60


def test_clearing_a_key_gives_its_client_a_new_window(strategy: RateLimiter) -> None:
    item = parse("1/minute")
    strategy.hit(item, "client")

    strategy.clear(item, "client")

    assert strategy.hit(item, "client")


def test_resetting_forgets_everybody(strategy: RateLimiter, storage: ExactMemoryStorage) -> None:
    item = parse("1/minute")
    strategy.hit(item, "one")
    strategy.hit(item, "two")

    assert storage.reset() == 2
    assert strategy.hit(item, "one")


def test_what_has_ended_is_dropped_as_new_windows_begin(strategy: RateLimiter, storage: ExactMemoryStorage) -> None:
    item = parse("5/second")
    for number in range(300):
        strategy.hit(item, f"early {number}")
    time.sleep(1.01 if strategy.__class__ is not STRATEGIES["sliding-window-counter"] else 2.01)

    for number in range(150):
        strategy.hit(item, f"late {number}")

    assert storage.reset() == 150


def test_the_storage_is_there(storage: ExactMemoryStorage) -> None:
    assert storage.check()


def test_it_is_the_default_and_starts_no_thread(app: Flask, make_app: MakeApp) -> None:
    for each in (app, make_app(RATELIMIT_STORAGE_URI="memory://")):
        Guard(each, policies=[limit("2/minute")])
        each.add_url_rule("/", view_func=lambda: "ok")
        before = threading.active_count()

        statuses = [each.test_client().get("/").status_code for _ in range(3)]

        assert statuses == [200, 200, 429]
        assert threading.active_count() == before
