"""A Flask app with every policy, for real servers, beside one in every layer. What becomes of responses goes to a file.

``SERVED_LOG`` names that file: a line of JSON for each access record, for each body that is closed, and for each
deferred call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Response, request, send_file

from flask_guard import (
    Guard,
    ban,
    cors,
    current_request_id,
    defer,
    limit,
    log_fields,
    log_timing,
    metrics,
    metrics_view,
    middleware,
    require_api_key,
    require_auth,
    secure_headers,
)
from tests.wsgi.served import BODIES, SIZE, Notes, Stream, layers, note, nothing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@middleware
def around(_request: object) -> Generator[None, Response, None]:
    """Act around the view."""
    response = yield
    response.headers["X-Around"] = "yes"


@middleware
async def awaiting(_request: object) -> AsyncGenerator[None, Response]:
    """Await, before the view and on the response."""
    await asyncio.sleep(0)
    yield
    await asyncio.sleep(0)


def make_app(file: Path) -> Flask:
    """Return the app, which sends `file`."""
    app = Flask("served")
    app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
    policies = [
        log_timing(costs=True, server_timing=True, slow_ms=60_000, fields={"agent": log_fields.header("User-Agent")}),
        metrics,
        cors(origins=["https://app.example.com"]),
        secure_headers,
        limit("1000000/minute"),
        ban(after="1000000/minute"),
        require_api_key(optional=True),
        require_auth(basic=lambda name, password: name if password == "sesame" else None, optional=True),
        around,
        awaiting,
    ]
    Guard(app, policies=policies)

    @app.before_request
    def put_off() -> None:
        defer(note, what="deferred", path=request.path, request_id=str(current_request_id))

    def stream() -> Response:
        body = nothing() if request.method == "HEAD" else BODIES[request.path]()
        return Response(Stream(request.path, (chunk.replace(b"o", b"0") for chunk in body)))

    for path in BODIES:
        app.add_url_rule(path, path[1:], stream)
    app.add_url_rule(
        "/sized", "sized", lambda: Response(iter([b"0" * 1000] * 1000), headers={"Content-Length": str(SIZED)})
    )
    app.add_url_rule("/file", "file", lambda: send_file(file))
    app.add_url_rule("/metrics", view_func=metrics_view)

    @app.post("/echo")
    async def echo() -> Response:
        await asyncio.sleep(0)
        return Response(Stream("/echo", iter([request.get_data().replace(b"o", b"0")])))

    return app


SIZED = 1_000_000
if "SERVED_LOG" in os.environ:
    access = logging.getLogger("flask_guard.access")
    access.setLevel(logging.INFO)
    access.addHandler(Notes())
    big = Path(tempfile.mkdtemp(dir=Path(os.environ["SERVED_LOG"]).parent)) / "big.bin"
    with big.open("wb") as opened:
        opened.truncate(SIZE)
    policies: Any = make_app(big)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    """Serve the layers to those that ask for the host of that name, and the policies to all others."""
    return (layers if environ["HTTP_HOST"] == "layers" else policies)(environ, start_response)


asgi_app: Any = WsgiToAsgi(app)  # type: ignore[no-untyped-call]
