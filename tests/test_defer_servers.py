"""`defer` under real servers: the response does not wait, and a worker that is stopped finishes what it has begun."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port, is_listening, stop, wait_for

PROGRAM = '''
"""An app that defers a write which waits for a sign, also while it is imported, before a server forks its workers."""

import os
import time
from flask import Flask, current_app
from flask_guard import Guard, current_request_id, defer, log_timing

app = Flask("served")
Guard(app, policies=[log_timing])


def write(line):
    while not os.path.exists("sign"):
        time.sleep(0.01)
    with open("written", "a") as file:
        file.write(f"{line} {os.getpid()} {current_request_id}\\n")


@app.get("/")
def index():
    defer(write, "deferred")
    return str(os.getpid())


with app.app_context():
    defer(write, "imported")
'''
SERVERS = {
    "flask": ["flask", "--app", "served", "run", "--port", "{port}"],
    "gunicorn sync": ["gunicorn", "--bind", "127.0.0.1:{port}", "served:app"],
    "gunicorn gthread, preloaded": [
        *["gunicorn", "--preload", "--workers", "2", "--threads", "2"],
        *["--bind", "127.0.0.1:{port}", "served:app"],
    ],
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Return the port and the process of a server."""
    (tmp_path / "served.py").write_text(PROGRAM, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", *(word.format(port=port) for word in SERVERS[request.param])]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), process)
        yield port, process
    finally:
        stop(process)


def get(port: int) -> str:
    """Return the line that is to be written for a request, made of what its answer says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return f"deferred {answer.read().decode()} {answer.headers['X-Request-ID']}"
    finally:
        connection.close()


def written(folder: Path, number: int) -> list[str]:
    """Return the lines that were written, once there are `number` of them, and some time for more has passed."""
    deadline = time.monotonic() + 10
    file = folder / "written"
    while time.monotonic() < deadline and (not file.exists() or len(file.read_text().splitlines()) < number):
        time.sleep(0.05)
    time.sleep(0.5)
    return file.read_text().splitlines()


def test_the_response_does_not_wait_and_the_work_is_done_by_the_worker_that_served(
    server: tuple[int, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port, _ = server

    expected = [get(port) for _ in range(3)]  # answered, though the work cannot begin
    (tmp_path / "sign").touch()

    assert sorted(line for line in written(tmp_path, 4) if line.startswith("deferred")) == sorted(expected)


def test_what_is_deferred_before_workers_are_forked_runs_once(
    server: tuple[int, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "sign").touch()

    (line,) = written(tmp_path, 1)

    assert line.startswith("imported")


@pytest.mark.parametrize("server", [name for name in SERVERS if "gunicorn" in name], indirect=True)
def test_a_worker_that_is_stopped_finishes_it(server: tuple[int, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    port, process = server
    expected = [get(port) for _ in range(3)]

    process.terminate()
    time.sleep(0.5)  # it is waiting for the sign now
    (tmp_path / "sign").touch()
    process.wait(10)

    lines = (tmp_path / "written").read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("deferred")) == sorted(expected)
