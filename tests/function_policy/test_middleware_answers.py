"""`@middleware` answers from anywhere: before the view, after it, out of a helper, and from async generators."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from flask import Flask, Request, Response, abort, jsonify

from flask_guard import Denied, Middleware, middleware, protect
from tests.conftest import MakeApp

from .recording import Around, serve


@middleware
def watch(request: Request) -> Around:
    response = yield
    response.headers["X-Seen"] = str(response.status_code)


class TenantGone(Exception):
    """An error of the app's own."""


class Teapot(Denied):
    """A refusal of the app's own."""

    code = 418


def stop_with(error: Exception) -> None:
    """Stop the request, as a helper would that a middleware calls."""
    raise error


def raising(when: str, error: Callable[[], Exception], *, is_async: bool) -> Middleware:
    """Return a middleware that raises before or after its yield."""

    def sync(request: Request) -> Around:
        if when == "before":
            stop_with(error())
        yield
        stop_with(error())

    async def asynchronous(request: Request) -> AsyncGenerator[None, Response]:
        await asyncio.sleep(0)
        if when == "before":
            stop_with(error())
        yield
        await asyncio.sleep(0)
        stop_with(error())

    return middleware(asynchronous if is_async else sync)


anywhere = pytest.mark.parametrize("when", ["before", "after"])
either = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def aborted(*args: Any) -> Callable[[], Exception]:
    """Return a function that returns what ``abort(*args)`` raises."""

    def error() -> Exception:
        try:
            abort(*args)
        except Exception as raised:  # noqa: BLE001
            return raised

    return error


@anywhere
@either
def test_abort_answers_from_anywhere(app: Flask, when: str, is_async: bool) -> None:
    serve(app, watch, raising(when, aborted(409, "a conflict"), is_async=is_async))

    response = app.test_client().get("/")

    assert (response.status_code, response.headers["X-Seen"]) == (409, "409")
    assert "a conflict" in response.text


@anywhere
@either
def test_abort_with_a_response_answers_with_it(app: Flask, when: str, is_async: bool) -> None:
    serve(app, watch, raising(when, lambda: aborted(jsonify(error="gone"))(), is_async=is_async))

    response = app.test_client().get("/")

    assert (response.status_code, response.json, response.headers["X-Seen"]) == (200, {"error": "gone"}, "200")


@anywhere
@either
def test_error_handlers_of_the_app_answer(make_app: MakeApp, when: str, is_async: bool) -> None:
    app = make_app(TESTING=True)
    app.register_error_handler(TenantGone, lambda error: ({"gone": str(error)}, 410))
    app.register_error_handler(409, lambda error: ("handled", 409))
    serve(app, watch, raising(when, lambda: TenantGone("acme"), is_async=is_async))
    app.add_url_rule("/abort", "abort", protect(lambda: "hello", raising(when, aborted(409), is_async=is_async)))

    response = app.test_client().get("/")

    assert (response.status_code, response.json, response.headers["X-Seen"]) == (410, {"gone": "acme"}, "410")
    assert app.test_client().get("/abort").text == "handled"


@anywhere
def test_a_denial_of_the_apps_own_is_a_problem_document(app: Flask, when: str) -> None:
    def error() -> Exception:
        return Teapot("no coffee", policy="teapot", reason="teapot", headers=[("X-Own", "1")])

    serve(app, watch, raising(when, error, is_async=False))

    response = app.test_client().get("/")

    assert (response.status_code, response.json["detail"], response.headers["X-Own"]) == (418, "no coffee", "1")  # type: ignore[index]
    assert response.content_type == "application/problem+json"


@anywhere
@either
def test_an_error_that_nobody_handles_is_left_to_flask(make_app: MakeApp, when: str, is_async: bool) -> None:
    app = serve(make_app(TESTING=True), raising(when, TenantGone, is_async=is_async))

    with pytest.raises(TenantGone):
        app.test_client().get("/")


# Async generators --------------------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[Callable[[], Any], int, bytes]] = {
    "text": (lambda: "text", 200, b"text"),
    "empty text": (lambda: "", 200, b""),
    "empty dict": (dict, 200, b"{}\n"),
    "tuple": (lambda: ({"a": 1}, 418, {"X-Own": "1"}), 418, b'{"a":1}\n'),
    "Response": (lambda: Response("made", 201), 201, b"made"),
}
every_answer = pytest.mark.parametrize(("answer", "status", "body"), ANSWERS.values(), ids=ANSWERS)


@every_answer
def test_async_generator_yields_an_answer_in_place_of_the_view(
    app: Flask, answer: Callable[[], Any], status: int, body: bytes
) -> None:
    events: list[str] = []

    @middleware
    async def answers(request: Request) -> AsyncGenerator[Any, Response]:
        try:
            yield answer()
            events.append("resumed")
        finally:
            await asyncio.sleep(0)
            events.append("finally")

    serve(app, watch, answers, view=lambda: events.append("served"))

    response = app.test_client().get("/")

    assert (response.status_code, response.data, response.headers["X-Seen"]) == (status, body, str(status))
    assert events == ["finally"]


@every_answer
def test_async_generator_yields_another_response_in_place_of_the_first(
    app: Flask, answer: Callable[[], Any], status: int, body: bytes
) -> None:
    events: list[str] = []

    @middleware
    async def replaces(request: Request) -> AsyncGenerator[Any, Response]:
        try:
            response = yield
            events.append(f"after {response.status_code}")
            yield answer()
        finally:
            events.append("finally")

    serve(app, watch, replaces)

    response = app.test_client().get("/")

    assert (response.status_code, response.data, response.headers["X-Seen"]) == (status, body, str(status))
    assert events == ["after 200", "finally"]


# What counts as a function -----------------------------------------------------------------------------------------


def mark(response: Response) -> None:
    response.headers["X-Marked"] = "yes"


class Generating:
    """A callable object that is written with a yield."""

    def __call__(self, request: Request) -> Around:
        response = yield
        mark(response)


class GeneratingAsync:
    """A callable object that is written as an async generator."""

    async def __call__(self, request: Request) -> AsyncGenerator[None, Response]:
        response = yield
        mark(response)

    async def method(self, request: Request) -> AsyncGenerator[None, Response]:
        response = yield
        mark(response)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate `function` as others do, so that it is no generator function any more."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def generating(request: Request, *, text: str = "yes") -> Around:
    response = yield
    response.headers["X-Marked"] = text


CALLABLES: dict[str, Callable[..., Any]] = {
    "object": Generating(),
    "async object": GeneratingAsync(),
    "method": Generating().__call__,
    "async method": GeneratingAsync().method,
    "decorated": decorated(generating),
    "partial": functools.partial(generating, text="yes"),
}


@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES)
def test_whatever_yields_when_it_is_called_acts_around_the_view(app: Flask, function: Callable[..., Any]) -> None:
    serve(app, middleware(function))

    response = app.test_client().get("/")

    assert (response.text, response.headers["X-Marked"]) == ("hello", "yes")


class Refusing:
    """A callable object that is written ``async`` and without a yield."""

    async def __call__(self, request: Request) -> Any:
        await asyncio.sleep(0)
        return "refused", 409


def test_callable_object_may_be_async(app: Flask) -> None:
    serve(app, middleware(Refusing()))

    assert app.test_client().get("/").status_code == 409
