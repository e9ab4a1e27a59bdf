"""A store that hangs: each request waits for it at most once, and no longer than the timeout."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Guard, limit

from ...conftest import MakeApp
from .conftest import TIMEOUT, RedisServer, Reports, seconds_until, seconds_until_back

THREADS = 8
REQUESTS = 50
QUICK = 0.2
"""Seconds: much longer than any request takes that waits for nobody, and shorter than the timeout."""


@pytest.fixture
def app(make_app: MakeApp, server: RedisServer) -> Flask:
    """Return an app with a limited view, which has counted a request in the store."""
    app = make_app(RATELIMIT_STORAGE_URI=server.uri)
    Guard(app)
    app.add_url_rule("/", "view", limit("1000000/day")(lambda: "served"))
    app.add_url_rule("/deny", "deny", limit("1000000/day", on_store_error="deny")(lambda: "served"))
    assert app.test_client().get("/").status_code == 200
    return app


def timed(client: FlaskClient, path: str = "/") -> tuple[float, int]:
    """Return how long a request takes, in seconds, and the status of the answer."""
    start = time.monotonic()
    status = client.get(path).status_code
    return time.monotonic() - start, status


def from_threads(app: Flask, requests: int) -> list[list[float]]:
    """Return how long the requests of each thread take, all of which send at once."""
    barrier = threading.Barrier(THREADS)

    def send(_: Any) -> list[float]:
        client = app.test_client()
        barrier.wait(10)
        answers = [timed(client) for _ in range(requests)]
        assert {status for _, status in answers} == {200}
        return [seconds for seconds, _ in answers]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(send, range(THREADS)))


@pytest.mark.parametrize("connected", [True, False], ids=["on open connections", "on new ones"])
def test_of_many_requests_at_once_each_thread_waits_at_most_once(
    app: Flask, server: RedisServer, reports: Reports, connected: bool
) -> None:
    if connected:
        from_threads(app, 3)
    server.break_down("hanging")

    times = from_threads(app, REQUESTS)

    slowest_first = sorted((seconds for each in times for seconds in each), reverse=True)
    assert slowest_first[len(slowest_first) // 100] <= 1.5 * TIMEOUT
    assert TIMEOUT - 0.01 <= slowest_first[0] < 2 * TIMEOUT  # somebody has found out, and nobody waited twice
    assert all(sum(seconds > QUICK for seconds in each) <= 1 for each in times)
    assert (reports.downs, reports.signals) == (1, ["down"])


@pytest.mark.parametrize("path", ["/", "/deny"])
def test_once_it_is_known_to_hang_requests_are_as_quick_as_before(app: Flask, server: RedisServer, path: str) -> None:
    client = app.test_client()
    server.break_down("hanging")
    timed(client)

    times = []
    until = time.monotonic() + 8 * TIMEOUT  # in which it is asked several times whether it is back
    while time.monotonic() < until:
        times.append(timed(client, path)[0])
        time.sleep(0.005)

    assert len(times) > 100
    assert sum(seconds > QUICK for seconds in times) <= 1
    assert sorted(times)[len(times) // 2] < 0.02


def test_nobody_waits_for_the_question_whether_it_is_back(app: Flask, server: RedisServer, reports: Reports) -> None:
    client = app.test_client()
    server.break_down("hanging")
    timed(client)
    while_asked: list[float] = []

    def one_was_asked() -> bool:
        timed(client)
        if any(each.name == "flask-guard-probe" for each in threading.enumerate()):
            while_asked.append(timed(client)[0])
        return len(while_asked) > 0

    seconds_until(one_was_asked)
    server.mend("hanging")

    assert max(while_asked) < QUICK
    seconds_until_back(client, reports)


def test_many_threads_that_meet_it_again_and_again_wait_once_each_time(
    app: Flask, server: RedisServer, reports: Reports
) -> None:
    client = app.test_client()
    for number in range(1, 4):
        server.break_down("hanging")
        times = from_threads(app, 10)
        server.mend("hanging")
        seconds_until_back(client, reports, number)
        assert all(sum(seconds > QUICK for seconds in each) <= 1 for each in times)

    assert (reports.downs, reports.ups) == (3, 3)
    assert reports.signals == ["down", "up"] * 3
