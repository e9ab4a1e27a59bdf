"""What the tests of batches ask of workers, and of what these count in."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from flask_guard.core.app_state import AppState
from flask_guard.rate_limits.admin import holdings
from flask_guard.rate_limits.storage import Backend
from tests.rate_limits.structured_fields import fields, whole


def allowed(client: FlaskClient, times: int, **request: str) -> int:
    """Make equal requests; return how many were let through."""
    return sum(client.get("/", headers=request).status_code == 200 for _ in range(times))


def until_refused(client: FlaskClient) -> int:
    """Make requests until one is refused; return how many were let through."""
    passed = 0
    while client.get("/").status_code == 200:
        passed += 1
    return passed


def rests(client: FlaskClient) -> list[int]:
    """Make a request; return the rests that its fields tell of."""
    return [whole(item, "r") for item in fields(client.get("/"))[1]]


def used(app: Flask) -> int:
    """Return the units that count as used in the storage, of all clients: those that are held included."""
    backend = AppState.of(app).service(Backend)
    return sum(each.budget.amount - each.remaining for each in holdings(backend))


def eventually(is_so: Callable[[], bool]) -> bool:
    """Return whether `is_so` returns true some time. A thread does it, which a busy machine may hold up."""
    deadline = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
