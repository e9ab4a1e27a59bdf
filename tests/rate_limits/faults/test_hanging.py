"""A store that hangs: each request waits for it at most once, and none once it is known to hang.

Waiting is counted in calls of the store, each of which costs at most the timeout: not in seconds, which would say
something about the machine.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from flask import Flask

from flask_guard import Guard, limit
from flask_guard.rate_limits.storage.redis_connections import ReadyConnections

from ...conftest import MakeApp
from ...storage_clock import Clock
from .conftest import RedisServer, Reports, seconds_until

pytestmark = pytest.mark.slow

THREADS = 8
PROBE = "flask-guard-probe"


@pytest.fixture
def app(make_app: MakeApp, server: RedisServer) -> Flask:
    """Return an app with a limited view, which has counted a request in the store."""
    app = make_app(RATELIMIT_STORAGE_URI=server.uri)
    Guard(app)
    app.add_url_rule("/", "view", limit("1000000/day")(lambda: "served"))
    app.add_url_rule("/deny", "deny", limit("1000000/day", on_store_error="deny")(lambda: "served"))
    assert app.test_client().get("/").status_code == 200
    return app


class Calls:
    """The calls of the store that failed, by the name of the thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()
        run = ReadyConnections.run_packed

        def watched(connections: ReadyConnections, sent: bytes) -> Any:
            try:
                return run(connections, sent)
            except BaseException:
                with self._lock:
                    self.failed[threading.current_thread().name] += 1
                raise

        monkeypatch.setattr(ReadyConnections, "run_packed", watched)

    @property
    def of_requests(self) -> dict[str, int]:
        """Return how many failed in each thread that served requests."""
        return {name: count for name, count in self.failed.items() if name != PROBE}


@pytest.fixture
def calls(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def from_threads(app: Flask, requests: int) -> None:
    """Send requests from several threads at once."""
    barrier = threading.Barrier(THREADS)

    def send(_: Any) -> set[int]:
        client = app.test_client()
        barrier.wait(10)
        return {client.get("/").status_code for _ in range(requests)}

    with ThreadPoolExecutor(THREADS) as pool:
        assert set().union(*pool.map(send, range(THREADS))) == {200}


@pytest.mark.parametrize("connected", [True, False], ids=["on open connections", "on new ones"])
def test_of_many_requests_at_once_each_thread_waits_at_most_once(
    app: Flask, server: RedisServer, reports: Reports, calls: Calls, connected: bool
) -> None:
    if connected:
        from_threads(app, 3)
    server.break_down("hanging")

    from_threads(app, 50)

    assert set(calls.of_requests.values()) == {1}
    assert (reports.downs, reports.signals) == (1, ["down"])


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/deny", 503)])
def test_once_it_is_known_to_hang_no_request_waits_not_even_for_a_probe(
    app: Flask, server: RedisServer, calls: Calls, clock: Clock, path: str, status: int
) -> None:
    client = app.test_client()
    server.break_down("hanging")
    client.get("/")

    def probed_twice() -> bool:
        clock.advance(0.1)
        assert client.get(path).status_code == status
        return calls.failed[PROBE] >= 2

    seconds_until(probed_twice)

    assert list(calls.of_requests.values()) == [1]


def test_many_threads_that_meet_it_again_and_again_wait_once_each_time(
    app: Flask, server: RedisServer, reports: Reports, calls: Calls, clock: Clock
) -> None:
    client = app.test_client()

    def is_back(times: int) -> bool:
        clock.advance(0.1)
        return client.get("/").status_code == 200 and reports.ups == times

    for number in (1, 2):
        calls.failed.clear()
        server.break_down("hanging")
        from_threads(app, 10)
        assert set(calls.of_requests.values()) == {1}
        server.mend("hanging")
        seconds_until(partial(is_back, number))

    assert (reports.downs, reports.ups) == (2, 2)
    assert reports.signals == ["down", "up"] * 2
