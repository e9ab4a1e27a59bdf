"""The ``finally:`` of a `@middleware` runs whatever happens to the request."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

import pytest
from flask import Flask, Request, Response

from flask_guard import Guard, Middleware, middleware
from tests.conftest import MakeApp

from .recording import Around, recording, recording_async, serve


def broken() -> Callable[[], str]:
    """Return a new view that raises ZeroDivisionError: decorating a function leaves marks on it."""
    return lambda: str(1 / 0)


every_recorder = pytest.mark.parametrize("make", [recording, recording_async])
Recorder: TypeAlias = Callable[[list[str], str], Middleware]


@every_recorder
def test_finally_runs_after_the_response_has_been_seen(app: Flask, make: Recorder) -> None:
    events: list[str] = []
    serve(app, make(events, "outer"), make(events, "inner"))

    assert app.test_client().get("/").text == "hello"
    expected = ["outer before", "inner before", "inner after 200", "inner finally", "outer after 200", "outer finally"]
    assert events == expected


@every_recorder
def test_finally_runs_when_the_exception_is_left_to_the_server(make_app: MakeApp, make: Recorder) -> None:
    events: list[str] = []
    app = serve(make_app(TESTING=True), make(events, "outer"), make(events, "inner"), view=broken())

    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/")

    assert events == ["outer before", "inner before", "inner finally", "outer finally"]


@every_recorder
def test_finally_of_the_outer_runs_when_an_inner_one_answers_or_fails(make_app: MakeApp, make: Recorder) -> None:
    events: list[str] = []

    @middleware
    def failing(request: Request) -> None:
        raise ZeroDivisionError

    app = serve(make_app(TESTING=True), make(events, "outer"), failing)

    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/")

    assert events == ["outer before", "outer finally"]


def test_finally_runs_when_a_hook_after_the_guard_raises(make_app: MakeApp) -> None:
    events: list[str] = []
    app = serve(make_app(TESTING=True), recording(events, "it"))
    app.before_request(broken())

    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/")

    assert events == ["it before", "it finally"]


def test_every_finally_runs_though_an_inner_one_fails(make_app: MakeApp) -> None:
    events: list[str] = []

    @middleware
    def failing(request: Request) -> Around:
        try:
            yield
        finally:
            events.append("failing finally")
            raise OSError("could not be closed")

    app = serve(make_app(TESTING=True), recording(events, "outer"), failing, view=broken())

    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/")

    assert events == ["outer before", "failing finally", "outer finally"]


@pytest.mark.slow
def test_response_is_let_go_of_when_an_async_generator_has_seen_it(app: Flask) -> None:
    @middleware
    async def awaiting(_request: object) -> AsyncGenerator[None, Response]:
        yield

    made: list[weakref.ref[Response]] = []

    @app.after_request
    def note(response: Response) -> Response:
        made.append(weakref.ref(response))
        return response

    app.add_url_rule("/", "index", awaiting(lambda: "hello"))
    Guard(app)
    app.test_client().get("/")

    gc.collect()
    gc.disable()
    try:
        app.test_client().get("/").close()
        assert made[-1]() is None
    finally:
        gc.enable()
