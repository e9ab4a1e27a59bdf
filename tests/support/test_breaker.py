"""The circuit breaker: opened by one failure, closed by a probe that no request waits for."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_guard.support import breaker
from flask_guard.support.breaker import FIRST_WAIT, LONGEST_WAIT, Breaker

STEP = 0.01
"""Seconds between two requests."""


class Store:
    """A store that is down until it is up, with a clock of its own, and notes of its probes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(breaker, "monotonic", lambda: self.now)
        self.up = False
        self.error: Exception = ConnectionError("refused")
        self.probes: list[float] = []
        self.threads: set[threading.Thread] = set()
        self.told: list[str] = []
        self.answer = threading.Event()
        self.answer.set()
        self.breaker = Breaker(
            self.probe,
            (ConnectionError,),
            opened=lambda error: self.told.append(f"open: {error}"),
            closed=lambda: self.told.append("closed"),
        )

    def probe(self) -> None:
        self.probes.append(self.now)
        self.threads.add(threading.current_thread())
        assert self.answer.wait(10)
        if not self.up:
            raise self.error

    def requests_for(self, seconds: float) -> None:
        """Have requests come for so long, each of which lets a probe that it starts come to its end."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.breaker.probe_if_due()
            for thread in threading.enumerate():
                if thread.name == "flask-guard-probe":
                    thread.join(10)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


def test_it_is_closed_at_first_and_one_failure_opens_it(store: Store) -> None:
    before = store.breaker.open
    store.breaker.failed(ConnectionError("refused"))

    assert (before, store.breaker.open) == (False, True)
    assert store.told == ["open: refused"]


def test_however_many_requests_fail_at_once_it_opens_once(store: Store) -> None:
    together = threading.Barrier(16)

    def fail(number: int) -> None:
        together.wait()
        store.breaker.failed(ConnectionError(str(number)))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fail, range(16)))

    assert len(store.told) == 1


def test_while_it_is_closed_nothing_is_probed(store: Store) -> None:
    store.requests_for(10)

    assert store.probes == []


def test_the_first_probe_waits_a_little_and_the_next_ones_longer_up_to_a_limit(store: Store) -> None:
    begin = store.now
    store.breaker.failed(ConnectionError("refused"))

    store.requests_for(10)

    waits = [after - before for before, after in zip([begin, *store.probes], store.probes, strict=False)]
    assert FIRST_WAIT <= waits[0] <= FIRST_WAIT + 2 * STEP
    nominal = [2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT, LONGEST_WAIT]
    for wait, expected in zip(waits[1:5], nominal, strict=True):
        assert 0.75 * expected <= wait <= 1.25 * expected + 2 * STEP
    assert store.breaker.open


def test_a_probe_that_gets_through_closes_it_and_it_can_open_again(store: Store) -> None:
    store.breaker.failed(ConnectionError("first"))
    store.requests_for(1.5 * FIRST_WAIT)
    store.up = True

    store.requests_for(3 * FIRST_WAIT)
    was_open, store.up = store.breaker.open, False
    store.breaker.failed(ConnectionError("second"))

    assert store.told == ["open: first", "closed", "open: second"]
    assert (was_open, store.breaker.open) == (False, True)


def test_after_it_has_closed_the_first_wait_is_short_again(store: Store) -> None:
    store.breaker.failed(ConnectionError("first"))
    store.requests_for(5)
    store.up = True
    store.requests_for(3)
    probes, begin = len(store.probes), store.now

    store.breaker.failed(ConnectionError("second"))
    store.requests_for(2 * FIRST_WAIT)

    assert FIRST_WAIT <= store.probes[probes] - begin <= FIRST_WAIT + 2 * STEP


def test_no_request_waits_for_a_probe_and_there_is_one_at_a_time(store: Store) -> None:
    store.answer.clear()
    store.breaker.failed(ConnectionError("refused"))
    store.now += FIRST_WAIT

    for _ in range(100):  # if one waited, it would for ten seconds, and fail
        store.breaker.probe_if_due()
        store.now += STEP
    unanswered = [each for each in threading.enumerate() if each.name == "flask-guard-probe"]
    store.answer.set()
    for thread in unanswered:
        thread.join(10)

    assert (len(unanswered), len(store.probes)) == (1, 1)
    assert threading.current_thread() not in store.threads
    assert all(thread.daemon for thread in store.threads)


def test_a_probe_that_fails_in_another_way_is_logged_and_leaves_it_open(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = LookupError("a bug")
    store.breaker.failed(ConnectionError("refused"))

    store.requests_for(2 * FIRST_WAIT)

    assert store.breaker.open
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert isinstance(record.exc_info[1], LookupError)
