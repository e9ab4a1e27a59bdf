"""What the tests of exactness share: gunicorns with several workers, and many clients' requests at once."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, request

from flask_guard import Guard, limit, protect

from ..conftest import free_port, stop
from ..readme import ROOT

LIMIT = 20
ROOMY = 10_000
ALGORITHMS = ("fixed-window", "moving-window", "sliding-window-counter", "token-bucket")
STEADY = 100
"""The requests a second of a bucket that fills meanwhile."""
CONNECTIONS = 64
CLIENT = "X-Client"
APP = "tests.rate_limits.exactness:create_app()"


def who() -> str:
    """Return the name that the client has given itself."""
    return request.headers[CLIENT]


def create_app() -> Flask:
    """Return the app that the workers serve. Its configuration is in ``FLASK_*``."""
    app = Flask("exactness")
    app.config.from_prefixed_env()
    app.config["GUARD_LIMIT_SLOW_MS"] = None  # a busy machine is no reason to count apart
    Guard(app)
    for algorithm in ALGORITHMS:
        roomy = limit(f"{ROOMY}/day", by=who, algorithm=algorithm)  # type: ignore[call-overload]
        narrow = limit(f"{LIMIT}/minute", by=who, algorithm=algorithm)  # type: ignore[call-overload]
        if algorithm == "token-bucket":
            narrow = narrow.refine("1/day", burst=LIMIT)  # so that it does not fill meanwhile
        app.add_url_rule(f"/{algorithm}", algorithm, narrow(worker))
        app.add_url_rule(f"/{algorithm}/two", f"{algorithm} two", protect(worker, roomy, narrow))
    steady = limit(f"{STEADY}/second", by=who, burst=LIMIT, algorithm="token-bucket")
    app.add_url_rule("/steady", "steady", steady(worker))
    return app


def worker() -> str:
    """Return the process id of the worker."""
    return str(os.getpid())


@dataclass
class Outcome:
    """What became of many requests: how many of each status, how many each worker let through, and one refusal."""

    statuses: Counter[int] = field(default_factory=Counter)
    by_worker: Counter[int] = field(default_factory=Counter)
    refusal: str = ""
    """The ``RateLimit`` field of a refusal."""


class Server:
    """A gunicorn with several workers, which are forked from a process that has made the app."""

    def __init__(self, folder: Path, uri: str, workers: int) -> None:
        self.log = folder / "gunicorn.log"
        self._uri = uri
        self._workers = workers
        self._port = free_port()
        self.start()

    def start(self) -> None:
        """Start it, and wait until all its workers serve."""
        options = ["--preload", "--workers", str(self._workers), "--threads", "16"]
        command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{self._port}", APP]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "FLASK_RATELIMIT_STORAGE_URI": self._uri}
            )
        self.wait_for_workers(set())

    def reload(self) -> None:
        """Replace all workers."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_workers(before)

    def stop(self) -> None:
        """Stop it, and all its workers."""
        stop(self.process)

    def workers(self) -> set[int]:
        """Return the process ids of the workers that serve at the moment."""
        pid = self.process.pid
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return {each for each in children if f"] [{each}] [INFO] Booting worker" in self.log.read_text()}

    def wait_for_workers(self, but_not: set[int]) -> None:
        """Wait until there are as many workers as there should be, all of them new, and they answer."""
        deadline = time.monotonic() + 30
        while len(self.workers() - but_not) < self._workers or self.workers() & but_not or not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.get("/none", "nobody")[0] == 404
        except OSError:
            return False

    def get(self, path: str, client: str) -> tuple[int, str, str]:
        """Return the status, the body and the ``RateLimit`` field of the answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            return _get(connection, path, client)
        finally:
            connection.close()

    def drive(self, path: str, client: str, requests: int) -> Outcome:
        """Send requests on as many connections as there are, all at once."""
        outcome, lock, barrier = Outcome(), threading.Lock(), threading.Barrier(CONNECTIONS)

        def send(share: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            connection.connect()
            barrier.wait(20)
            answers = [_get(connection, path, client) for _ in range(share)]
            connection.close()
            with lock:
                for status, body, field in answers:
                    outcome.statuses[status] += 1
                    if status == 200:
                        outcome.by_worker[int(body)] += 1
                    else:
                        outcome.refusal = field

        shares = [len(range(first, requests, CONNECTIONS)) for first in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(send, shares))
        return outcome


def _get(connection: http.client.HTTPConnection, path: str, client: str) -> tuple[int, str, str]:
    connection.request("GET", path, headers={CLIENT: client})
    response = connection.getresponse()
    return response.status, response.read().decode(), response.headers.get("RateLimit", "")


@contextmanager
def serving(folder: Path, uri: str, workers: int) -> Iterator[Server]:
    """Run a gunicorn for a ``with`` block."""
    server = Server(folder, uri, workers)
    try:
        yield server
    finally:
        server.stop()


def remaining(ratelimit: str) -> list[int]:
    """Return what remains of each limit of a ``RateLimit`` field."""
    return [int(each) for each in re.findall(r";r=(\d+)", ratelimit)]
