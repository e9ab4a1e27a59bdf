"""`defer`: in an app that is testing, what is deferred has been done when the test client returns."""

from __future__ import annotations

import threading

import pytest
from flask import Flask, request

from flask_guard import Guard, defer
from tests.conftest import MakeApp

from .test_defer import Seen


@pytest.fixture
def testing_app(make_app: MakeApp) -> Flask:
    """Return a guarded app that is testing."""
    app = make_app(TESTING=True)
    Guard(app)
    return app


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_while_testing_it_has_run_when_the_client_returns(testing_app: Flask, seen: Seen) -> None:
    @testing_app.get("/")
    def index() -> str:
        defer(seen, "deferred")
        seen("view")
        return "hello"

    testing_app.test_client().get("/")
    assert seen.calls == ["view", "deferred"]

    with testing_app.test_client() as client:
        client.get("/")
        assert seen.calls == ["view", "deferred"] * 2
    assert set(seen.threads) == {threading.current_thread().name}


def test_while_testing_a_request_that_raises_has_run_it(testing_app: Flask, seen: Seen) -> None:
    @testing_app.get("/")
    def index() -> str:
        defer(seen)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        testing_app.test_client().get("/")

    assert seen.calls == [None]


def test_while_testing_it_runs_at_once_outside_of_a_request(testing_app: Flask, seen: Seen) -> None:
    with testing_app.app_context():
        defer(seen)
        assert seen.calls == [None]


def test_while_testing_it_has_no_request_either(testing_app: Flask, seen: Seen) -> None:
    @testing_app.get("/")
    def index() -> str:
        defer(lambda: seen(bool(request)))
        return request.path

    assert testing_app.test_client().get("/").text == "/"
    assert seen.calls == [False]
