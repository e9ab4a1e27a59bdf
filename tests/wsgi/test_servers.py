"""Layers, and every policy, under real servers: streams, clients that leave, failures, HEAD, Expect, connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.prometheus.metrics_page import samples_in
from tests.serving import GUNICORN, UWSGI, Serving, lines_in, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers of layers and policies")]

SIZE = 10 * 1024 * 1024
APP = "tests.access_log.served:app"
SERVERS = {
    "gunicorn sync": [*GUNICORN, APP],
    "gunicorn gthread": [*GUNICORN, "--threads", "4", APP],
    "gunicorn gevent": [*GUNICORN, "-k", "gevent", APP],
    "waitress": ["waitress", "--listen=127.0.0.1:{port}", APP],
    "uWSGI": [*UWSGI, "--module", APP, "--threads", "4"],
    "uvicorn": ["uvicorn", "--port", "{port}", "--log-level", "critical", "tests.access_log.served:asgi_app"],
}
CLOSING = [name for name in SERVERS if name != "uvicorn"]
"""The servers that close bodies, as PEP 3333 says. asgiref's adapter does not, and reads on after a client has left."""


@dataclass
class Served:
    """A running server, the application that answers, and the file in which that notes what happened."""

    name: str
    running: Serving
    log: Path
    host: str = ""
    seen: int = 0

    @property
    def closes(self) -> bool:
        """Whether the server closes bodies."""
        return self.name in CLOSING

    def notes(self, what: str, path: str, count: int = 1, **wanted: str) -> list[dict[str, Any]]:
        """Wait for `count` notes, and return those that there are. More than one for a request fail in the end."""
        wanted |= {"what": what, "path": path}
        deadline = time.monotonic() + 10
        while True:
            notes = [note for note in notes_in(self.log)[self.seen :] if wanted.items() <= note.items()]
            if len(notes) >= count or time.monotonic() > deadline:
                return notes
            time.sleep(0.005)

    def get(self, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request on a connection of its own."""
        return self.running.get(path, method, {"Host": self.host})

    def send(self, start: str, *headers: str) -> socket.socket:
        """Return a connection on which a request has been sent."""
        client = socket.create_connection(("127.0.0.1", self.running.port), timeout=20)
        client.sendall("\r\n".join([f"{start} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]).encode())
        return client


def notes_in(log: Path) -> list[dict[str, Any]]:
    """Return all notes."""
    return [json.loads(line) for line in lines_in(log)]


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server of each kind. In the end, look whether a request was recorded, or its work done, twice."""
    log = tmp_path_factory.mktemp("served") / "notes"
    with serving(SERVERS[request.param], SERVED_LOG=str(log)) as running:
        yield Served(request.param, running, log)
    counted = Counter((note["what"], note["request_id"]) for note in notes_in(log) if "request_id" in note)
    assert counted
    assert set(counted.values()) == {1}


@pytest.fixture(params=["layers", "policies"])
def server(running: Served, request: pytest.FixtureRequest) -> Served:
    """Return the server of the application in every layer, and of the one with every policy."""
    return Served(running.name, running.running, running.log, request.param, len(notes_in(running.log)))


only_policies = pytest.mark.parametrize("server", ["policies"], indirect=True)
only_closing = pytest.mark.parametrize("running", CLOSING, indirect=True)


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


@only_closing
@pytest.mark.parametrize("resets", [False, True])
def test_client_that_leaves_half_way_is_a_field_of_the_one_record(server: Served, resets: bool) -> None:
    with server.send("GET /endless") as client:
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        if resets:
            reset(client)

    (record,) = server.notes("record", "/endless")
    assert (record["aborted"], record["exception"], record["status"]) == (True, None, 200)
    assert record["levelname"] == "INFO"
    assert 0 < record["bytes"] < 2000 * 65_536
    assert len(server.notes("closed", "/endless")) == 1


def reset(client: socket.socket) -> None:
    """Have a connection break off when it is closed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_failure_before_the_first_byte_is_a_500(server: Served) -> None:
    with contextlib.suppress(http.client.HTTPException, ConnectionError):  # uvicorn hangs up
        sent = 200 if (server.name, server.host) == ("uWSGI", "policies") else 500  # it sends what was started
        assert server.get("/fail-before")[0].status == sent

    (record,) = server.notes("record", "/fail-before")
    assert (record["status"], record["exception"], record["aborted"]) == (500, "ZeroDivisionError", True)
    assert record["levelname"] == "WARNING"
    assert len(server.notes("closed", "/fail-before", server.closes)) == server.closes


def test_failure_after_the_first_byte_breaks_the_response_off(server: Served) -> None:
    if server.name == "uWSGI":  # whose bodies end with the connection, so that no client can tell
        server.get("/fail-after")
    else:
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
    with contextlib.closing(server.running.connect()) as connection:
        bodies = []
        for _ in range(3):
            connection.request("POST", "/echo", b"hello", {"Host": server.host})
            bodies.append(connection.getresponse().read())

    assert bodies == [b"hell0"] * 3
    ids = {each["request_id"] for each in server.notes("record", "/echo", 3)}
    assert len(ids) == 3


def test_client_that_expects_to_go_on_may(server: Served) -> None:
    with server.send("POST /echo", "Content-Length: 5", "Expect: 100-continue") as client:
        if server.name not in ("uvicorn", "uWSGI"):  # one says so once the application reads, the other never
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


@only_policies
def test_body_of_a_known_length_is_recorded_though_the_server_stops_there(server: Served) -> None:
    for path, size in (("/sized", 1_000_000), ("/file", SIZE)):
        response, body = server.get(path)

        (record,) = server.notes("record", path)
        assert (response.status, len(body)) == (200, size)
        assert (record["status"], record["bytes"], record["aborted"]) == (200, size, False)


@only_policies
@only_closing
def test_file_that_the_client_leaves_is_aborted(server: Served) -> None:
    with server.send("GET /file") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        reset(client)

    (record,) = server.notes("record", "/file")
    if server.name not in ("waitress", "uWSGI"):  # which take the whole file over at once
        assert (record["aborted"], record["exception"], record["levelname"]) == (True, None, "INFO")
        assert record["bytes"] < SIZE


@only_policies
def test_what_is_deferred_runs_whatever_becomes_of_the_body(server: Served) -> None:
    for path, method in [("/sized", "GET"), ("/file", "GET"), ("/stream", "HEAD"), ("/memory", "GET")]:
        response, _ = server.get(path, method)

        (_deferred,) = server.notes("deferred", path, request_id=response.headers["X-Request-ID"])
    for path in ("/fail-before", "/fail-after") if server.closes else ():  # else when garbage is collected
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            server.get(path)
        assert len(server.notes("deferred", path)) == 1


@only_policies
def test_failure_before_the_first_byte_is_counted_as_the_500_that_is_sent(server: Served) -> None:
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        server.get("/fail-before")
    server.notes("record", "/fail-before")

    page = server.get("/metrics")[1].decode()

    assert 'requests_total{endpoint="fail-before",method="GET",status="5xx"}' in page
    assert 'requests_total{endpoint="fail-before",method="GET",status="2xx"}' not in page


@only_policies
def test_every_request_is_counted_once(server: Served) -> None:
    def count(method: str, endpoint: str) -> float:
        counts = samples_in(server.get("/metrics")[1].decode(), "flask_guard_requests_total", "endpoint", "method")
        return counts.get((endpoint, method), 0)

    for method, endpoint in [("GET", "sized"), ("GET", "file"), ("HEAD", "stream"), ("HEAD", "file")]:
        before = count(method, endpoint)
        server.get(f"/{endpoint}", method)
        server.notes("record", f"/{endpoint}")

        assert count(method, endpoint) == before + 1
