"""A store that answers slowly: it counts as down after a while, and costs a request one slow answer until then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from limits import parse

from flask_guard import ConfigError, Guard, limit, store_available, store_unavailable
from flask_guard.rate_limits.storage import Budget, Charge, Draw, Standing, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage import fallback as module
from flask_guard.rate_limits.storage.fallback import FallbackCounter, StoreSlow
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from flask_guard.rate_limits.storage.redis import RedisCounter
from tests.conftest import MakeApp

CHARGES: list[Charge] = [(rate_budget(parse("100/day"), "scope"), "client", 1, 1)]
SLOW = 0.05


class SlowStore(ExactMemoryStorage):
    """A store with a clock of its own, which each answer sets forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now, self.takes = 1000.0, 0.001
        self.calls: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        self._answer("take")
        return super().take(charges, token)

    def drawing(self, budget: Budget, cost: int) -> Draw:
        return lambda identity: self.take([(budget, identity, cost, cost)])

    def release(self, charges: Sequence[Charge], token: str) -> None:
        self._answer("release")
        super().release(charges, token)

    def _answer(self, call: str) -> None:
        self.calls.append(f"{call} by {threading.current_thread().name}")
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        self.now += self.takes


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    return SlowStore(monkeypatch)


@pytest.fixture
def counter(app: Flask, store: SlowStore) -> FallbackCounter:
    return FallbackCounter(store, ExactMemoryStorage(), (), app, SLOW)


def take(counter: FallbackCounter, store: SlowStore, *seconds: float) -> None:
    """Take one after another, from a store that takes so long for each."""
    for each in seconds:
        store.takes = each
        assert counter.take(CHARGES)[0]


def is_asked(counter: FallbackCounter, store: SlowStore) -> bool:
    """Return whether the store is asked."""
    before = len(store.calls)
    take(counter, store, 0.001)
    return len(store.calls) > before


# When it counts as down ----------------------------------------------------------------------------------------------


def test_several_slow_answers_in_a_row_count_as_down_and_that_is_said_once(
    app: Flask, counter: FallbackCounter, store: SlowStore, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Exception] = []

    def listen(_sender: Flask, error: Exception) -> None:
        told.append(error)

    with store_unavailable.connected_to(listen, app):
        take(counter, store, 0.2, 0.06, 0.231, 0.2, 0.2, 0.2)

    assert len(store.calls) == 3
    assert [type(each) for each in told] == [StoreSlow]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "the limit store is slow (3 answers in a row took more than 50 ms, the last one 231 ms);"
        " until it is fast, limits follow on_store_error"
    )


def test_a_quick_answer_between_begins_the_row_anew(counter: FallbackCounter, store: SlowStore) -> None:
    take(counter, store, *[0.2, 0.2, 0.04] * 5)

    assert is_asked(counter, store)


def test_calls_that_one_hiccup_delays_together_count_as_one(counter: FallbackCounter, store: SlowStore) -> None:
    def together(calls: int) -> None:
        """Make calls that begin before the first of them has ended, and end at once."""
        if calls:
            store.meanwhile = lambda: together(calls - 1)
            counter.take(CHARGES)
        else:
            store.now += 0.2

    store.takes = 0
    together(5)

    assert is_asked(counter, store)


def test_without_a_bound_a_store_may_take_as_long_as_it_likes(app: Flask, store: SlowStore) -> None:
    counter = FallbackCounter(store, ExactMemoryStorage(), (), app, None)

    take(counter, store, *[9.0] * 10)

    assert is_asked(counter, store)


def test_it_is_back_when_several_probes_were_quick(
    app: Flask, counter: FallbackCounter, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_guard.support.breaker.monotonic", lambda: store.now)
    told: list[str] = []

    def listen(_sender: Flask) -> None:
        told.append("back")

    def probes(seconds: float) -> int:
        """Let a probe take place, of a store that takes so long, and return how often it asked."""
        store.takes, store.now, before = seconds, store.now + 10, len(store.calls)
        counter.take(CHARGES)
        for thread in threading.enumerate():
            if thread.name == "flask-guard-probe":
                thread.join(10)
        return len(store.calls) - before

    with store_available.connected_to(listen, app):
        take(counter, store, 0.2, 0.2, 0.2)
        slow = probes(0.2), list(told)
        quick = probes(0.01), list(told)

    assert (slow, quick) == ((1, []), (3, ["back"]))
    assert is_asked(counter, store)


# What a request pays -------------------------------------------------------------------------------------------------


def guarded(app: Flask, store: SlowStore, *policies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard `app`, which counts in `store` as it would in Redis."""
    monkeypatch.setattr("flask_guard.rate_limits.storage.backend._store_counter", lambda _storage: store)
    app.config["RATELIMIT_STORAGE_URI"] = "redis://127.0.0.1:1/0"
    app.config["GUARD_LIMIT_SLOW_MS"] = app.config.get("GUARD_LIMIT_SLOW_MS") or 50
    Guard(app)
    for policy in policies:
        app.add_url_rule("/", "view", policy(lambda: ""))


def test_a_request_that_has_waited_for_one_slow_answer_waits_for_no_other(
    app: Flask, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded(app, store, limit("9/day", deduct_when=lambda response: True), monkeypatch=monkeypatch)

    def view() -> str:
        return " ".join(str(limit(f"{number}/day").hit().remaining) for number in (5, 6, 7))

    app.add_url_rule("/inside", "inside", limit("9/day")(view))
    client = app.test_client()

    asked = []
    for path, seconds in (("/", 0.001), ("/inside", 0.001), ("/", 0.2), ("/inside", 0.2)):
        store.calls.clear()
        store.takes = seconds
        assert client.get(path).status_code == 200
        asked.append(len(store.calls))

    assert asked == [2, 4, 1, 1]


def test_several_answers_that_are_slow_only_together_are_waited_for_no_longer_than_one(
    app: Flask, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded(app, store, monkeypatch=monkeypatch)
    app.add_url_rule("/inside", "inside", lambda: str([limit("99/day").hit().remaining for _ in range(10)]))
    store.takes = 0.02

    assert app.test_client().get("/inside").status_code == 200
    assert len(store.calls) == 3  # 0.02, 0.04, 0.06


@pytest.mark.parametrize("seconds", [0.001, 0.2])
def test_a_place_is_given_back_where_it_was_taken_and_no_request_waits_for_that(
    app: Flask, store: SlowStore, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    guarded(app, store, limit.concurrent(1), monkeypatch=monkeypatch)
    store.takes = seconds

    assert app.test_client().get("/").status_code == 200
    for thread in threading.enumerate():
        if thread.name == "flask-guard-release":
            thread.join(10)

    releasing = "MainThread" if seconds < SLOW else "flask-guard-release"
    assert store.calls == ["take by MainThread", f"release by {releasing}"]
    assert store.take([(concurrency_budget(1, 60, "view:view"), "127.0.0.1", 1, 0)])[0]


# The bound -----------------------------------------------------------------------------------------------------------


def test_the_bound_comes_from_the_config(make_app: MakeApp, store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(GUARD_LIMIT_SLOW_MS=300)
    guarded(app, store, limit("90/day"), monkeypatch=monkeypatch)
    store.takes = 0.25

    assert [app.test_client().get("/").status_code for _ in range(10)] == [200] * 10
    assert len(store.calls) == 10


@pytest.mark.parametrize("value", [0, -1, "fast", True, float("nan")])
def test_a_bound_that_is_none_is_refused(make_app: MakeApp, value: object) -> None:
    with pytest.raises(ConfigError, match="GUARD_LIMIT_SLOW_MS must be milliseconds from 1 up"):
        Guard(make_app(GUARD_LIMIT_SLOW_MS=value))


def test_a_connection_that_takes_long_to_make_is_waited_for_no_longer_than_an_answer(redis_url: str) -> None:
    from .redis_servers import storage_at

    storage = storage_at(redis_url.partition("?")[0])
    counter: Any = RedisCounter(storage)
    ready = counter._execute.__self__
    held, connect = threading.Event(), ready._get

    def slowly() -> Any:
        held.wait(10)
        return connect()

    ready._get = slowly
    with pytest.raises(storage.base_exceptions, match=r"no answer on a new connection in 0\.2 s"):
        counter.take(CHARGES)
    held.set()
    for thread in threading.enumerate():
        if thread.name == "flask-guard-redis":
            thread.join(10)

    assert len(ready._resting) == 1  # what was made too late is of use to the next
    assert counter.take(CHARGES)[0]
