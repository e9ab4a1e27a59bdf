"""`log_timing` under real servers: whole and broken-off bodies, streams and files, and what came of them."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import flask_guard
from tests.conftest import free_port, is_listening, stop, wait_for

SIZE = 30_000_000
APP = f"""
import logging, sys
from pathlib import Path
from flask import Flask, Response, send_file
from flask_guard import Guard, JSONFormatter, log_timing

handler = logging.FileHandler("records.json")
handler.setFormatter(JSONFormatter())
logging.getLogger("flask_guard.access").addHandler(handler)
logging.getLogger("flask_guard.access").setLevel(logging.INFO)
app = Flask("served")
Guard(app, policies=[log_timing])
app.add_url_rule("/whole", "whole", lambda: "hello")
app.add_url_rule("/file", "file", lambda: send_file(Path("big").resolve()))
app.add_url_rule("/stream", "stream", lambda: Response(b"x" * 100_000 for _ in range({SIZE // 100_000})))


@app.get("/broken")
def broken():
    def chunks():
        yield b"x" * 1000
        raise ZeroDivisionError

    return Response(chunks())
"""
Send: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture(params=[[], ["--threads", "4"]], ids=["sync", "gthread"])
def send(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Send]:
    """Return a function that sends a request to a gunicorn, and returns the one record that is made of it."""
    (tmp_path / "served.py").write_text(APP, encoding="utf-8")
    with (tmp_path / "big").open("wb") as big:
        big.truncate(SIZE)
    port, records = free_port(), tmp_path / "records.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *request.param, "served:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(flask_guard.__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def send(path: str, method: str = "GET", *, leave: bool = False) -> dict[str, Any]:
        before = len(records.read_text(encoding="utf-8").splitlines()) if records.exists() else 0
        speak(port, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", leave=leave)
        wait_for(lambda: records.exists() and records.read_text(encoding="utf-8").count("\n") > before, process)
        time.sleep(0.05)  # for a second record, if there were one
        (line,) = records.read_text(encoding="utf-8").splitlines()[before:]
        record: dict[str, Any] = json.loads(line)
        return record

    try:
        wait_for(lambda: is_listening(port), process)
        yield send
    finally:
        stop(process)


def speak(port: int, request: str, *, leave: bool) -> None:
    """Send `request`; read the whole answer, or leave in its midst."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request.encode())
        client.recv(1000)
        if leave:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        while client.recv(1 << 20):
            pass


def test_record_is_right_whatever_becomes_of_the_body(send: Send) -> None:
    def outcome(record: dict[str, Any]) -> tuple[Any, ...]:
        assert record["first_byte_ms"] <= record["duration_ms"]
        return (record["status"], record["bytes"], record["aborted"], record["exception"], record["level"])

    assert outcome(send("/whole")) == (200, 5, False, None, "INFO")
    assert outcome(send("/stream")) == (200, SIZE, False, None, "INFO")
    assert outcome(send("/file")) == (200, SIZE, False, None, "INFO")
    for path in ("/stream", "/file"):
        assert outcome(send(path, "HEAD")) == (200, 0, False, None, "INFO")
    assert outcome(send("/broken")) == (200, 1000, True, "ZeroDivisionError", "WARNING")


def test_client_that_leaves_is_a_field_and_not_an_error(send: Send) -> None:
    for path in ("/stream", "/file"):
        record = send(path, leave=True)

        assert (record["aborted"], record["exception"], record["level"]) == (True, None, "INFO")
        assert record["bytes"] < SIZE
