"""Layers, and every policy, under real servers: streams, clients that leave, failures, HEAD, Expect, connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, is_listening, stop, wait_for
from tests.prometheus.metrics_page import samples_in

ROOT = Path(__file__).parent.parent.parent
SIZE = 10 * 1024 * 1024
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "--threads", "4"]
SERVERS = {
    "gunicorn sync": [*GUNICORN[:-2], "-k", "sync", "{module}:app"],
    "gunicorn gthread": [*GUNICORN, "-k", "gthread", "{module}:app"],
    "gunicorn gevent": [*GUNICORN[:-2], "-k", "gevent", "{module}:app"],
    "waitress": ["waitress", "--listen=127.0.0.1:{port}", "{module}:app"],
    "uvicorn": ["uvicorn", "--port", "{port}", "--log-level", "critical", "{module}:asgi_app"],
}
LAYERS, POLICIES = "tests.wsgi.served", "tests.access_log.served"
RUNNING = [(name, module) for module in (LAYERS, POLICIES) for name in SERVERS]


def named(server: object) -> str:
    """Return the name of one of `RUNNING` in the names of tests."""
    return "-".join(server) if isinstance(server, tuple) else str(server)


@dataclass
class Served:
    """A running server, and the file in which the application notes what happened."""

    name: str
    port: int
    log: Path

    @property
    def closes(self) -> bool:
        """Whether the server closes bodies (PEP 3333 says that it must), and asgiref's adapter does not."""
        return self.name != "uvicorn"

    def notes(self, what: str, path: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for `count` notes, and a moment longer; return those that there are."""
        deadline = time.monotonic() + 10
        while len(self._notes(what, path)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        return self._notes(what, path)

    def _notes(self, what: str, path: str) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        notes: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [note for note in notes if (note["what"], note["path"]) == (what, path)]

    def forget(self) -> None:
        """Start the notes over."""
        self.log.unlink(missing_ok=True)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def get(self, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response, response.read()


@pytest.fixture(scope="module", params=RUNNING, ids=named)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server of each kind."""
    name, module = request.param
    served = Served(name, free_port(), tmp_path_factory.mktemp("served") / "notes")
    command = [word.format(port=served.port, module=module) for word in SERVERS[name]]
    environ = {**os.environ, "SERVED_LOG": str(served.log)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_listening(served.port), process)
        yield served
    finally:
        stop(process)


@pytest.fixture
def server(running: Served) -> Served:
    """Return the server, with nothing noted."""
    running.forget()
    return running


def test_ten_megabytes_stream_in_constant_memory(server: Served) -> None:
    server.get("/stream")
    before = int(server.get("/memory")[1])

    response, body = server.get("/stream")

    after = int(server.get("/memory")[1])
    assert (response.status, response.headers["X-Frame-Options"].lower()) == (200, "deny")
    assert body == b"0" * SIZE
    assert after - before < 4096  # KiB
    records = server.notes("record", "/stream", 2)
    assert [(each["bytes"], each["aborted"], each["status"]) for each in records] == [(SIZE, False, 200)] * 2
    assert response.getheader("X-Request-ID") == records[1]["request_id"]
    assert len(server.notes("closed", "/stream", 2 * server.closes)) == 2 * server.closes


@pytest.mark.parametrize(
    "running",
    [each for each in RUNNING if each[0] != "uvicorn"],  # asgiref's adapter reads a body to its end, whoever has left
    indirect=True,
    ids=named,
)
def test_client_that_leaves_half_way_is_a_field_of_the_one_record(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")

    (record,) = server.notes("record", "/endless")
    assert (record["aborted"], record["exception"], record["status"]) == (True, None, 200)
    assert 0 < record["bytes"] < 2000 * 65_536
    assert len(server.notes("closed", "/endless")) == 1


def test_failure_before_the_first_byte_is_a_500(server: Served) -> None:
    with contextlib.suppress(http.client.HTTPException, ConnectionError):  # uvicorn hangs up
        assert server.get("/fail-before")[0].status == 500

    (record,) = server.notes("record", "/fail-before")
    assert (record["status"], record["exception"], record["aborted"]) == (500, "ZeroDivisionError", True)
    assert len(server.notes("closed", "/fail-before", server.closes)) == server.closes


def test_failure_after_the_first_byte_breaks_the_response_off(server: Served) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.get("/fail-after")

    (record,) = server.notes("record", "/fail-after")
    assert (record["status"], record["exception"], record["aborted"]) == (200, "ZeroDivisionError", True)
    assert record["bytes"] == 65_536
    assert len(server.notes("closed", "/fail-after", server.closes)) == server.closes


def test_head_has_no_body_and_is_complete(server: Served) -> None:
    response, body = server.get("/stream", "HEAD")

    (record,) = server.notes("record", "/stream")
    assert (response.status, body, response.headers["X-Frame-Options"].lower()) == (200, b"", "deny")
    assert (record["method"], record["bytes"], record["aborted"]) == ("HEAD", 0, False)
    assert len(server.notes("closed", "/stream", server.closes)) == server.closes


def test_connection_that_is_kept_serves_several_requests(server: Served) -> None:
    with contextlib.closing(server.connect()) as connection:
        bodies = []
        for _ in range(3):
            connection.request("POST", "/echo", b"hello")
            bodies.append(connection.getresponse().read())

    assert bodies == [b"hell0"] * 3
    ids = {each["request_id"] for each in server.notes("record", "/echo", 3)}
    assert len(ids) == 3


def test_client_that_expects_to_go_on_may(server: Served) -> None:
    request = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(request)
        if server.name != "uvicorn":  # which says so only once the application reads
            assert client.recv(65_536).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"hello")
        received = receive_until(client, lambda data: b"hell0" in data)

    assert b"HTTP/1.1 200 OK" in received
    assert len(server.notes("record", "/echo")) == 1


def receive_until(client: socket.socket, done: Callable[[bytes], bool]) -> bytes:
    """Return what comes until `done` says that it is all."""
    received = b""
    while not done(received):
        data = client.recv(65_536)
        assert data, received
        received += data
    return received


@pytest.mark.parametrize("running", [each for each in RUNNING if each[1] == POLICIES], indirect=True, ids=named)
class TestEveryPolicy:
    """What is promised of policies only."""

    def test_body_of_a_known_length_is_recorded_though_the_server_stops_there(self, server: Served) -> None:
        for path, size in (("/sized", 1_000_000), ("/file", SIZE)):
            response, body = server.get(path)

            (record,) = server.notes("record", path)
            assert (response.status, len(body)) == (200, size)
            assert (record["status"], record["bytes"], record["aborted"]) == (200, size, False)

    def test_what_is_deferred_runs_once_whatever_becomes_of_the_body(self, server: Served) -> None:
        for path, method in [("/sized", "GET"), ("/file", "GET"), ("/stream", "HEAD"), ("/memory", "GET")]:
            response, _ = server.get(path, method)

            (deferred,) = server.notes("deferred", path)
            assert deferred["request_id"] == response.headers["X-Request-ID"]
        for path in ("/fail-before", "/fail-after") if server.closes else ():  # else when garbage is collected
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                server.get(path)
            assert len(server.notes("deferred", path)) == 1

    def test_failure_before_the_first_byte_is_counted_as_the_500_that_is_sent(self, server: Served) -> None:
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            server.get("/fail-before")
        server.notes("record", "/fail-before")

        page = server.get("/metrics")[1].decode()

        assert 'requests_total{endpoint="fail-before",method="GET",status="5xx"}' in page
        assert 'requests_total{endpoint="fail-before",method="GET",status="2xx"}' not in page

    def test_every_request_is_counted_once(self, server: Served) -> None:
        def count(method: str, endpoint: str) -> float:
            counts = samples_in(server.get("/metrics")[1].decode(), "flask_guard_requests_total", "endpoint", "method")
            return counts.get((endpoint, method), 0)

        for method, endpoint in [("GET", "sized"), ("GET", "file"), ("HEAD", "stream"), ("HEAD", "file")]:
            before = count(method, endpoint)
            server.get(f"/{endpoint}", method)
            server.notes("record", f"/{endpoint}")

            assert count(method, endpoint) == before + 1
