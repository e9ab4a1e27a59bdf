"""An application for real servers, in all the layers that stream. What becomes of its responses goes to a file.

``SERVED_LOG`` names that file: a line of JSON for each access record, and one for each body that is closed. The app
with every policy, served beside it, is in `tests.access_log.served`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask_guard.wsgi import Headers, RequestID, RewriteBody, Timing, stack

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CHUNK, CHUNKS = b"o" * 65_536, 160
SIZE = len(CHUNK) * CHUNKS  # 10 MiB


def note(**facts: object) -> None:
    """Write one line of JSON."""
    with open(os.environ["SERVED_LOG"], "a", encoding="utf-8") as file:  # noqa: PTH123  # one write, appended
        file.write(json.dumps(facts) + "\n")


class Notes(logging.Handler):
    """Writes access records down."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        names = ("path", "method", "status", "bytes", "aborted", "exception", "request_id", "levelname")
        note(what="record", **{name: getattr(record, name) for name in names})


class Stream:
    """A body that notes when it is closed."""

    def __init__(self, path: str, chunks: Iterator[bytes]) -> None:
        self._path = path
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Note it."""
        note(what="closed", path=self._path)


def memory() -> Iterator[bytes]:
    """Go through the most memory that the process used so far, in KiB."""
    yield str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode()


def stream() -> Iterator[bytes]:
    """Go through 10 MiB."""
    for _ in range(CHUNKS):
        yield CHUNK


def endless() -> Iterator[bytes]:
    """Go on until the client leaves."""
    for _ in range(2000):
        yield CHUNK
        time.sleep(0.005)


def fail_before() -> Iterator[bytes]:
    """Fail before anything was sent."""
    raise ZeroDivisionError
    yield b""


def fail_after() -> Iterator[bytes]:
    """Fail after something was sent."""
    yield CHUNK
    raise ZeroDivisionError


def nothing() -> Iterator[bytes]:
    """Go through nothing."""
    yield from ()


BODIES = {
    "/memory": memory,
    "/stream": stream,
    "/endless": endless,
    "/fail-before": fail_before,
    "/fail-after": fail_after,
}


class Zeros:
    """Makes noughts of letters."""

    def feed(self, chunk: bytes) -> bytes:
        """Return them."""
        return chunk.replace(b"o", b"0")

    def flush(self) -> bytes:
        """Return nothing."""
        return b""


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Stream:
    """Answer."""
    path = environ["PATH_INFO"]
    if path == "/echo":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = iter([environ["wsgi.input"].read(length)])
    else:
        body = nothing() if environ["REQUEST_METHOD"] == "HEAD" else BODIES[path]()
    start_response("200 OK", [("Content-Type", "text/html")])
    return Stream(path, body)


layers: WSGIApplication = stack(
    plain,
    RequestID,
    Timing(logger="flask_guard.access"),
    Headers(set={"X-Frame-Options": "DENY"}),
    RewriteBody(incremental=Zeros),
)
