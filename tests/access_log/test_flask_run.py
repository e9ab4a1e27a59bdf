"""Under Flask's own server: its debugger's page, clients that reset the connection, and HEAD of a stream."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Serving, lines_in, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flask run")]

APP = """
import logging
import time
from flask import Flask, Response
from flask_guard import Guard, JSONFormatter, limit, log_timing

handler = logging.FileHandler("records.json")
handler.setFormatter(JSONFormatter())
logging.getLogger("flask_guard.access").addHandler(handler)
logging.getLogger("flask_guard.access").setLevel(logging.INFO)
app = Flask("served")
Guard(app, policies=[log_timing])


@app.get("/broken")
def broken():
    raise ZeroDivisionError


@app.get("/stream")
@limit.concurrent(1)
def stream():
    def chunks():
        for _ in range(2000):
            yield b"x" * 65_536
            time.sleep(0.005)

    return Response(chunks())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flask-run")
    (folder / "served.py").write_text(APP, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Serving]:
    with serving(["flask", "--app", "served", "run", "--port", "{port}"], folder) as running:
        yield running


@pytest.fixture
def debugging(folder: Path) -> Iterator[Serving]:
    command = ["flask", "--app", "served", "--debug", "run", "--no-reload", "--port", "{port}"]
    with serving(command, folder) as running:
        yield running


def soon(condition: Callable[[], Any]) -> Any:
    """Return the first true result of `condition`."""
    deadline = time.monotonic() + 20
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def records(folder: Path, path: str) -> list[dict[str, Any]]:
    file = folder / "records.json"
    lines = lines_in(file)
    return [record for record in map(json.loads, lines) if record["path"] == path]


def test_exception_that_the_debugger_answers_is_not_aborted(debugging: Serving, folder: Path) -> None:
    response, page = debugging.get("/broken")

    assert response.status == 500
    assert b"ZeroDivisionError" in page
    (record,) = soon(lambda: records(folder, "/broken"))
    assert (record["status"], record["exception"], record["aborted"]) == (500, "ZeroDivisionError", False)


@pytest.mark.parametrize("resets", [True, False])
def test_client_that_leaves_a_stream_is_recorded_and_gives_its_place_back(
    server: Serving, folder: Path, resets: bool
) -> None:
    before = len(records(folder, "/stream"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.get("/stream", "HEAD")[0].status == 429
        if resets:
            reset(client)

    soon(lambda: len(records(folder, "/stream")) == before + 2)

    record = records(folder, "/stream")[-1]
    assert (record["status"], record["aborted"], record["exception"]) == (200, True, None)
    assert server.get("/stream", "HEAD")[0].status == 200


def reset(client: socket.socket) -> None:
    """Have a connection break off when it is closed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_head_of_a_stream_gives_its_place_back_though_werkzeug_closes_nothing(server: Serving) -> None:
    """If Werkzeug finds the connection broken once the response has gone out, it does not close that."""
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(b"HEAD /stream HTTP/1.0\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            reset(client)
