"""`limit.concurrent` under `flask run`, which never closes the response to a HEAD that a client resets."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from flask import Flask, Response

from flask_guard import Guard, limit

from ..conftest import free_port, is_listening, stop, wait_for
from ..readme import ROOT

APP = "tests.rate_limits.test_concurrent_servers:create_app"


def create_app() -> Flask:
    """Return the app that the server runs."""
    app = Flask("streams")
    Guard(app)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"more"
            time.sleep(0.01)

    app.add_url_rule("/", "view", limit.concurrent(1, lease=600)(lambda: Response(endless())))
    return app


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port on which the app is served."""
    port = free_port()
    command = [sys.executable, "-m", "flask", "--app", APP, "run", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), process)
        yield port
    finally:
        stop(process)


def ask_and_reset(port: int, method: str) -> bytes:
    """Send a request, read the status, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = client.recv(1024)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return answer.split()[1]


@pytest.mark.slow
def test_a_place_of_a_request_that_is_reset_is_free_again(port: int) -> None:
    assert [ask_and_reset(port, "HEAD") for _ in range(3)] == [b"200"] * 3

    assert ask_and_reset(port, "GET") == b"200"
    deadline = time.monotonic() + 20
    while ask_and_reset(port, "HEAD") != b"200":  # the server finds out with its next chunk
        assert time.monotonic() < deadline
        time.sleep(0.05)
