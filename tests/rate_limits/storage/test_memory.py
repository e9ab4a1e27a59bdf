"""The memory storage apart: no bigger than it must be, no thread, no interest in the computer's clock."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest
from flask import Flask
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import STRATEGIES, RateLimiter

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage import concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from tests.conftest import MakeApp
from tests.storage_clock import Clock


@pytest.fixture
def storage() -> ExactMemoryStorage:
    made = storage_from_string("guard-memory://")
    assert isinstance(made, ExactMemoryStorage)
    return made


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest, storage: ExactMemoryStorage) -> RateLimiter:
    return STRATEGIES[request.param](storage)


def bytes_kept(storage: ExactMemoryStorage) -> int:
    """Return roughly how much memory a storage has come to need."""
    seen: set[int] = set()

    def size(value: object) -> int:
        if id(value) in seen:
            return 0
        seen.add(id(value))
        inside: list[object] = []
        if isinstance(value, dict):
            inside = [*value.keys(), *value.values()]
        elif not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__iter__"):
            inside = list(value)
        return sys.getsizeof(value) + sum(size(each) for each in inside)

    return size(vars(storage))


def test_what_has_ended_is_dropped_as_new_windows_begin(
    strategy: RateLimiter, storage: ExactMemoryStorage, clock: Clock
) -> None:
    item = parse("5/minute")
    for number in range(300):
        strategy.hit(item, f"early {number}")
    clock.advance(120 if isinstance(strategy, STRATEGIES["sliding-window-counter"]) else 60)

    for number in range(150):
        strategy.hit(item, f"late {number}")

    assert storage.reset() == 150


def test_windows_of_one_length_that_have_ended_are_dropped_as_those_of_another_begin(
    storage: ExactMemoryStorage, clock: Clock
) -> None:
    short, long = (rate_budget(parse(rate), "scope") for rate in ("5/minute", "5/day"))
    for number in range(300):
        storage.take([(short, f"early {number}", 1, 1)])
    clock.advance(60)

    for number in range(150):
        storage.take([(long, f"late {number}", 1, 1)])

    assert storage.reset() == 150


def lease(storage: ExactMemoryStorage, number: int) -> None:
    charges = [(concurrency_budget(5, 3600, "scope"), "client", 1, 1)]
    storage.take(charges, f"token{number}")
    storage.release(charges, f"token{number}")


def cleared(storage: ExactMemoryStorage, number: int) -> None:
    budget = rate_budget(parse("5/day"), "scope")
    storage.take([(budget, "client", 1, 1)])
    storage.forget(budget, "client")


def denied(storage: ExactMemoryStorage, number: int) -> None:
    for algorithm in STRATEGIES:
        storage.take([(rate_budget(parse("5/day"), "scope", algorithm), "client", 1, 1)])


def unlike(storage: ExactMemoryStorage, number: int) -> None:
    storage.take(
        [(rate_budget(parse("5/day"), "scope"), "x", 9, 9), (rate_budget(parse("1/day"), str(number)), "x", 2, 2)]
    )


@pytest.mark.parametrize("use", [lease, cleared, denied, unlike])
def test_one_client_needs_no_more_memory_however_often_it_comes(
    storage: ExactMemoryStorage, use: Callable[[ExactMemoryStorage, int], None]
) -> None:
    for number in range(100):
        use(storage, number)
    before = bytes_kept(storage)

    for number in range(100, 2100):
        use(storage, number)

    assert bytes_kept(storage) <= before + 200


@pytest.mark.parametrize("held", [0, 1])
def test_places_that_were_given_back_need_no_memory_however_many_clients_had_one(
    storage: ExactMemoryStorage, held: int
) -> None:
    places = concurrency_budget(1, 3600, "scope")
    for number in range(held):
        storage.take([(places, f"holder {number}", 1, 1)], "held")
    most = 0

    for number in range(5000):
        storage.take([(places, f"client {number}", 1, 1)], "token")
        storage.release([(places, f"client {number}", 1, 1)], "token")
        most = max(most, len(storage._ends), *map(len, storage._ending.values()))

    assert most < 100
    assert not any(storage.take([(places, f"holder {number}", 1, 1)], "another")[0] for number in range(held))
    assert storage.reset() == held


def test_setting_the_clock_changes_nothing(storage: ExactMemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = [(rate_budget(parse("2/minute"), "scope"), "client", 1, 1)]
    storage.take(charges)
    now = time.time()

    for jump in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        standing = storage.take([(charges[0][0], "client", 1, 0)])[1][0]
        assert standing.remaining == 1
        assert 58 <= standing.wait <= 60


def test_it_is_the_default_and_starts_no_thread(app: Flask, make_app: MakeApp) -> None:
    for each in (app, make_app(RATELIMIT_STORAGE_URI="memory://")):
        Guard(each, policies=[limit("2/minute")])
        each.add_url_rule("/", view_func=lambda: "ok")
        before = threading.active_count()

        statuses = [each.test_client().get("/").status_code for _ in range(3)]

        assert statuses == [200, 200, 429]
        assert threading.active_count() == before
