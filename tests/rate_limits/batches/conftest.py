"""Fixtures of the tests of batches: storages that lend, and a lease that ends when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Guard, Policy, protect
from flask_guard.rate_limits.storage import pools
from tests.conftest import MakeApp
from tests.rate_limits.batches.fleet import Fleet, fleet
from tests.storage_clock import Clock

LONG = 60.0
"""The seconds of a lease that no machine is too busy for."""

Serve = Callable[..., FlaskClient]


@pytest.fixture(autouse=True)
def lease(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Clock]:
    """Make leases long. They end when the clock is put forward, and at the end of the test."""
    monkeypatch.setattr(pools, "LEASE", LONG)
    yield clock
    clock.advance(2 * LONG)
    for thread in threading.enumerate():
        if thread.name == "flask-guard-batches":
            thread.join(5)  # it looks for leases that are over, by the clock that is there until then


@pytest.fixture(params=["sqlite", "redis"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of each storage that lends."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/limits.db?timeout=20"
    return str(request.getfixturevalue("redis_url"))


@pytest.fixture
def make_worker(make_app: MakeApp, uri: str) -> Serve:
    """Return a function that makes one of several workers that serve the same view, with pools of its own."""
    prefix = uuid4().hex

    def make(*policies: Policy, view: Callable[[], Any] = lambda: "served", **config: Any) -> FlaskClient:
        app: Flask = make_app(RATELIMIT_STORAGE_URI=uri, RATELIMIT_KEY_PREFIX=prefix, **config)
        Guard(app)
        app.add_url_rule("/", "view", protect(lambda: view(), *policies) if policies else view, methods=["GET", "POST"])
        return app.test_client()

    return make


@pytest.fixture(scope="session")
def workers() -> Iterator[Fleet]:
    """Return what runs many workers, each a process. Their tests are of one group, to share it."""
    with fleet() as made:
        yield made
