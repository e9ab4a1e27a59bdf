"""A flood of refused requests, over many connections to a real server, makes few lines and an exact count."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

import pytest

from tests.prometheus.metrics_page import samples_in
from tests.serving import GUNICORN, serving

pytestmark = pytest.mark.slow

APP = """
import logging
from flask import Flask, request
from flask_guard import Guard, limit, log_timing, metrics, metrics_view, require_api_key, request_denied

logging.basicConfig(filename="log", level=logging.INFO, format="%(name)s %(message)s")
app = Flask("flooded")
app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
Guard(app, policies=[metrics])
app.add_url_rule("/", "index", require_api_key(failures=None)(lambda: "hello"))
app.add_url_rule("/limited", "limited", limit("1/hour")(lambda: "hello"))
app.add_url_rule("/metrics", view_func=metrics_view)


@app.before_request
def as_many_clients():
    request.environ["REMOTE_ADDR"] = request.headers.get("X-Client", "192.0.2.1")
"""
THREADS, REQUESTS, CLIENTS = 8, 120, 400


def flood(port: int, thread: int) -> None:
    """Send requests in a row on one connection, each as another client, with bad keys and without any."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for number in range(REQUESTS):
            client = f"198.51.{(thread * REQUESTS + number) % CLIENTS // 200}.{number % 200}"
            key = "X-API-Key: wrong\r\n" if number % 2 else ""
            path = "/limited" if number % 3 == 0 else "/"
            head = f"GET {path} HTTP/1.1\r\nHost: test\r\nX-Client: {client}\r\n{key}\r\n"
            connection.sendall(head.encode())
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65_536)
            length = re.search(rb"content-length: (\d+)", received.lower())
            assert length is not None
            rest = int(length[1]) - len(received.partition(b"\r\n\r\n")[2])
            while rest > 0:
                rest -= len(connection.recv(rest))


def test_flood_of_refused_requests_makes_few_lines_and_an_exact_count(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(APP, encoding="utf-8")
    with serving([*GUNICORN, "--threads", "8", "--keep-alive", "30", "served:app"], tmp_path) as server:
        threads = [threading.Thread(target=flood, args=(server.port, number)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        page = server.get("/metrics")[1].decode()
        server.process.terminate()
        with contextlib.suppress(TimeoutError):
            server.process.wait(30)

    refused = sum(samples_in(page, "flask_guard_denials_total", "policy", "reason").values())
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    denials = [line for line in lines if "denied by" in line]
    more = [int(found[1].replace(",", "")) for line in denials if (found := re.search(r"… and ([\d,]+) more", line))]
    assert refused > THREADS * REQUESTS * 0.6
    assert len(denials) - len(more) + sum(more) == refused
    assert len(denials) < 250
