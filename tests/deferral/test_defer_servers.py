"""`defer` under real servers: the response does not wait, and a server that is stopped finishes the work first."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving import GUNICORN, UWSGI, Serving, lines_in, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers that defer")]

PROGRAM = '''
"""An app that defers a write which waits for a sign, also while it is imported, before a server forks its workers."""

import os
import time
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, current_app
from flask_guard import Guard, current_request_id, defer, log_timing

app = Flask("served")
app.config["GUARD_DEFER_DRAIN"] = 30
Guard(app, policies=[log_timing])
asgi_app = WsgiToAsgi(app)


def write(line):
    while not os.path.exists("sign"):
        time.sleep(0.01)
    time.sleep(0.2)  # a server that does not wait for this ends sooner
    with open("written", "a") as file:
        file.write(f"{line} {os.getpid()} {current_request_id}\\n")


@app.get("/")
def index():
    defer(write, "deferred")
    return str(os.getpid())


if "IMPORTED" in os.environ:
    with app.app_context():
        defer(write, "imported")
'''
SERVERS: dict[str, list[str]] = {
    "flask": ["flask", "--app", "served", "run", "--port", "{port}"],
    "gunicorn sync": [*GUNICORN, "served:app"],
    "gunicorn gthread, preloaded": [*GUNICORN, "--preload", "--workers", "2", "--threads", "2", "served:app"],
    "waitress": ["waitress", "--listen=127.0.0.1:{port}", "served:app"],
    "uvicorn": ["uvicorn", "--port", "{port}", "served:asgi_app"],
    "uvicorn, 2 workers": ["uvicorn", "--port", "{port}", "--workers", "2", "served:asgi_app"],
    "uWSGI": [*UWSGI, "--module", "served:app", "--single-interpreter", "--processes", "2", "--enable-threads"],
}

IMPORTING = ("flask", "gunicorn sync", "gunicorn gthread, preloaded")
"""The servers whose app also defers while it is imported."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "served.py").write_text(PROGRAM, encoding="utf-8")
    return tmp_path


def get(server: Serving) -> str:
    """Return the line that is to be written for a request, made of what its answer says."""
    answer, body = server.get("/")
    return f"deferred {body.decode()} {answer.headers['X-Request-ID']}"


def lines(folder: Path) -> list[str]:
    file = folder / "written"
    return sorted(lines_in(file))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("name", SERVERS)
def test_work_is_done_once_by_the_worker_that_served_also_if_the_server_is_stopped(folder: Path, name: str) -> None:
    sign, imported = folder / "sign", name in IMPORTING
    with serving(SERVERS[name], folder, **({"IMPORTED": "yes"} if imported else {})) as server:
        expected = [get(server) for _ in range(2)]  # answered, though the work cannot begin
        assert lines(folder) == []
        sign.touch()
        wait_until(lambda: len(lines(folder)) == 2 + imported)

        sign.unlink()
        expected += [get(server) for _ in range(2)]
        time.sleep(0.3)  # uWSGI does not wait for anything while it closes a connection
        server.process.send_signal(signal.SIGTERM)
        sign.touch()
        server.process.wait(30)

    deferred = [line for line in lines(folder) if line.startswith("deferred")]
    assert deferred == sorted(expected)
    assert len(lines(folder)) == len(deferred) + imported


def test_work_is_done_in_line_where_uwsgi_runs_no_threads(folder: Path) -> None:
    (folder / "sign").touch()
    with serving(SERVERS["uWSGI"][:-1], folder) as server:
        expected = [get(server) for _ in range(2)]
        wait_until(lambda: len(lines(folder)) == 2)

    assert lines(folder) == sorted(expected)
