"""What the tests of `log_timing` share: apps that log, and requests that are served to their last byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from flask import Flask
from werkzeug.test import TestResponse

from flask_guard import Guard, log_timing
from tests.clock import Clock

LOGGER = "flask_guard.access"
Records: TypeAlias = Callable[[], list[Any]]


def send(app: Flask, path: str = "/", method: str = "GET", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client().open(path, method=method, buffered=True, **options)


def serve(app: Flask, view: Callable[..., Any]) -> Flask:
    """Return `app`, guarded by `log_timing`, with one view."""
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[log_timing])
    return app


def accept(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
    """Stand in for a server's ``start_response``."""
    return lambda _data: None


def three_chunks() -> Iterator[str]:
    """Yield a body that is made while it is sent."""
    for number in range(3):
        yield f"chunk {number}"


def slow_chunks(clock: Clock) -> Iterator[str]:
    """Yield a body that takes 20 ms for each chunk."""
    for chunk in three_chunks():
        clock.advance(20)
        yield chunk
