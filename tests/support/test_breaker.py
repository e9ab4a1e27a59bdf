"""The circuit breaker: opened by one failure, closed by a probe that no request waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_guard.support.breaker import FIRST_WAIT, LONGEST_WAIT, Breaker


class Store:
    """A store that is down until it is up, and notes when it was asked, and by which thread."""

    def __init__(self) -> None:
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
        self.probes.append(time.monotonic())
        self.threads.add(threading.current_thread())
        assert self.answer.wait(3)
        if not self.up:
            raise self.error


@pytest.fixture
def store() -> Store:
    return Store()


def ask_until(store: Store, done: Callable[[], bool], seconds: float = 10) -> None:
    """Have requests come every millisecond until `done`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        store.breaker.probe_if_due()
        time.sleep(0.001)


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
    for _ in range(100):
        store.breaker.probe_if_due()

    assert store.probes == []


def test_the_first_probe_waits_a_little_and_the_next_ones_longer_up_to_a_limit(store: Store) -> None:
    begin = time.monotonic()
    store.breaker.failed(ConnectionError("refused"))

    ask_until(store, lambda: len(store.probes) == 4)

    waits = [after - before for before, after in zip([begin, *store.probes], store.probes, strict=False)]
    assert FIRST_WAIT <= waits[0] <= FIRST_WAIT + 0.5
    for wait, nominal in zip(waits[1:], (2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT), strict=True):
        assert 0.75 * nominal <= wait <= 1.25 * min(nominal, LONGEST_WAIT) + 0.5
    assert store.breaker.open


def test_a_probe_that_gets_through_closes_it_and_it_can_open_again(store: Store) -> None:
    store.breaker.failed(ConnectionError("first"))
    ask_until(store, lambda: len(store.probes) == 1)
    store.up = True

    ask_until(store, lambda: not store.breaker.open)
    store.up = False
    store.breaker.failed(ConnectionError("second"))

    assert store.told == ["open: first", "closed", "open: second"]
    assert store.breaker.open


def test_after_it_has_closed_the_first_wait_is_short_again(store: Store) -> None:
    store.breaker.failed(ConnectionError("first"))
    ask_until(store, lambda: len(store.probes) == 2)
    store.up = True
    ask_until(store, lambda: not store.breaker.open)
    probes, begin = len(store.probes), time.monotonic()

    store.breaker.failed(ConnectionError("second"))
    ask_until(store, lambda: len(store.probes) > probes)

    assert time.monotonic() - begin <= FIRST_WAIT + 0.5


def test_no_request_waits_for_a_probe_and_there_is_one_at_a_time(store: Store) -> None:
    store.answer.clear()
    store.breaker.failed(ConnectionError("refused"))
    ask_until(store, lambda: len(store.probes) == 1)

    begin = time.perf_counter()
    for _ in range(10_000):
        store.breaker.probe_if_due()
        assert time.perf_counter() - begin < 1
    store.answer.set()

    assert len(store.probes) == 1
    assert threading.current_thread() not in store.threads
    assert all(thread.daemon for thread in store.threads)


def test_a_probe_that_fails_in_another_way_is_logged_and_leaves_it_open(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = LookupError("a bug")
    store.breaker.failed(ConnectionError("refused"))

    ask_until(store, lambda: bool(caplog.records))

    assert store.breaker.open
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert isinstance(record.exc_info[1], LookupError)
