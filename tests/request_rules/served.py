"""An app with limits on the bodies of its requests, for real servers."""

from __future__ import annotations

from flask import Flask, request

from flask_guard import Guard, log_timing, require_request

MOST = 100_000
app = Flask("served")
Guard(app, policies=[log_timing])


def count() -> dict[str, int]:
    """Read the body as a stream; return its size."""
    size = 0
    while chunk := request.stream.read(1000):
        size += len(chunk)
    return {"size": size}


app.add_url_rule("/stream", "stream", require_request(max_body=MOST)(count), methods=["POST", "GET"])
app.add_url_rule("/report", "report", require_request(max_body=MOST, mode="report")(count), methods=["POST"])


@app.post("/data")
@require_request(max_body=MOST)
def data() -> dict[str, int]:
    """Read the body as a whole; return its size."""
    return {"size": len(request.get_data())}


@app.post("/form")
@require_request(max_body=MOST)
def form() -> dict[str, int]:
    """Parse the body as a form; return the size of its fields."""
    return {"size": sum(map(len, request.form.values()))}


@app.post("/json")
@require_request(max_body=MOST, json=True)
def json() -> dict[str, int]:
    """Parse the body as JSON; return its length."""
    return {"size": len(request.get_json())}


@app.post("/lines")
@require_request(max_body=MOST)
def lines() -> dict[str, int]:
    """Read the body line by line, from the server's own stream; return its size."""
    return {"size": sum(map(len, request.environ["wsgi.input"]))}


@app.post("/unread")
@require_request(max_body=MOST)
def unread() -> dict[str, int]:
    """Leave the body where it is."""
    return {"size": 0}
