"""An app whose streams are compressed, for real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, send_file

from flask_guard import Guard, compress, log_timing, secure_headers

app = Flask("served")
Guard(app, policies=[log_timing, secure_headers, compress])
asked_on = threading.Event()


@app.get("/stream")
def stream() -> Response:
    """Send a line, and another one once somebody has asked for ``/on``."""

    def lines() -> Iterator[str]:
        yield "first line\n"
        asked_on.wait(20)
        yield "second line\n"

    asked_on.clear()
    return Response(lines(), content_type="text/plain")


@app.post("/on")
def on() -> str:
    """Let the stream go on."""
    asked_on.set()
    return ""


@app.get("/file")
def file() -> Response:
    """Send this file, which the server may send itself."""
    return send_file(Path(__file__), mimetype="text/plain")
