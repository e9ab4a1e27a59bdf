"""`@middleware`: a function becomes a policy, around the view and every inner policy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
from flask import Flask, Request, Response, abort, g, jsonify, stream_with_context
from flask import request as flask_request

from flask_guard import Guard, Middleware, Phase, limit, middleware, require_api_key
from tests.cases import together
from tests.conftest import MakeApp

from .recording import Around, recording, serve


@middleware
def tenant(request: Request, *, header: str = "X-Tenant") -> Around:
    if header not in request.headers:
        return {"error": "no tenant"}, 400
    g.tenant = request.headers[header]
    response = yield
    response.headers[header] = g.tenant
    return None


@middleware
async def tenant_async(request: Request, *, header: str = "X-Tenant") -> AsyncGenerator[None, Response]:
    await asyncio.sleep(0)
    g.tenant = request.headers[header]
    response = yield
    await asyncio.sleep(0)
    response.headers[header] = g.tenant


# Before and after ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [tenant, tenant_async])
def test_acts_before_the_view_and_on_its_response(app: Flask, policy: Middleware) -> None:
    serve(app, policy, view=lambda: f"hello {g.tenant}")

    response = app.test_client().get("/", headers={"X-Tenant": "acme"})

    assert (response.text, response.headers["X-Tenant"]) == ("hello acme", "acme")


def test_return_before_the_yield_answers_without_the_view(app: Flask) -> None:
    served: list[str] = []
    serve(app, tenant, view=lambda: served.append("served"))

    response = app.test_client().get("/")

    assert (response.status_code, response.json, served) == (400, {"error": "no tenant"}, [])


ANSWERS: dict[str, tuple[Callable[[], Any], int, bytes]] = {
    "text": (lambda: "text", 200, b"text"),
    "empty text": (lambda: "", 200, b""),
    "dict": (lambda: {"a": 1}, 200, b'{"a":1}\n'),
    "empty dict": (dict, 200, b"{}\n"),
    "tuple": (lambda: ({"a": 1}, 418, {"X-Own": "1"}), 418, b'{"a":1}\n'),
    "Response": (lambda: Response("made", 201), 201, b"made"),
    "jsonify": (lambda: jsonify(a=1), 200, b'{"a":1}\n'),
    "abort": (lambda: abort(Response("stop", 409)), 409, b"stop"),
}
every_answer = pytest.mark.parametrize(("answer", "status", "body"), ANSWERS.values(), ids=ANSWERS)


@every_answer
@together("is_async", [False, True])
def test_function_without_yield_answers_before_the_view(
    app: Flask, answer: Callable[[], Any], status: int, body: bytes, is_async: bool
) -> None:
    def plain(request: Request) -> Any:
        return answer()

    async def asynchronous(request: Request) -> Any:
        await asyncio.sleep(0)
        return answer()

    serve(app, middleware(asynchronous if is_async else plain), view=lambda: abort(500))

    response = app.test_client().get("/")

    assert (response.status_code, response.data) == (status, body)


@pytest.mark.parametrize("is_async", [False, True])
def test_function_without_yield_that_returns_nothing_lets_the_view_answer(app: Flask, is_async: bool) -> None:
    def plain(request: Request) -> None:
        g.seen = "plain"

    async def asynchronous(request: Request) -> None:
        g.seen = "async"

    serve(app, middleware(asynchronous if is_async else plain), view=lambda: g.seen)

    assert app.test_client().get("/").text == ("async" if is_async else "plain")


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "abort"])
def test_return_after_the_yield_replaces_the_response(app: Flask, name: str) -> None:
    answer, status, body = ANSWERS[name]

    @middleware
    def replace(request: Request) -> Around:
        yield
        return answer()

    serve(app, tenant, replace)

    response = app.test_client().get("/", headers={"X-Tenant": "acme"})

    assert (response.status_code, response.data) == (status, body)
    assert response.headers["X-Tenant"] == "acme"


def test_request_is_the_one_that_flask_serves(app: Flask) -> None:
    seen: list[object] = []

    @middleware
    def look(request: Request) -> None:
        seen.extend([request, request.url_rule, request.view_args])

    @app.get("/<int:number>")
    @look
    def index(number: int) -> str:
        seen.append(flask_request._get_current_object())  # type: ignore[attr-defined]
        return ""

    Guard(app)

    app.test_client().get("/7")

    assert seen[0] is seen[3]
    assert seen[2] == {"number": 7}


def test_stream_is_not_read(app: Flask) -> None:
    made: list[int] = []

    def numbers() -> Generator[str, None, None]:
        for number in range(3):
            made.append(number)
            yield str(number)

    serve(app, tenant, view=lambda: stream_with_context(numbers()))

    response = app.test_client().get("/", headers={"X-Tenant": "acme"})

    assert len(made) < 3
    assert response.text == "012"


def test_views_that_are_async_are_served(app: Flask) -> None:
    async def view() -> str:
        await asyncio.sleep(0)
        return f"hello {g.tenant}"

    serve(app, tenant_async, view=view)

    assert app.test_client().get("/", headers={"X-Tenant": "acme"}).text == "hello acme"


# Errors ----------------------------------------------------------------------------------------------------------


def broken() -> Callable[[], str]:
    """Return a new view that raises ZeroDivisionError: decorating a function leaves marks on it."""
    return lambda: str(1 / 0)


@pytest.mark.parametrize(("view", "status"), [(lambda: abort(403), 403), (broken(), 500)])
def test_sees_the_responses_of_errors(app: Flask, view: Callable[[], str], status: int) -> None:
    events: list[str] = []
    serve(app, recording(events, "outer"), tenant, view=view)

    response = app.test_client().get("/", headers={"X-Tenant": "acme"})

    assert (response.status_code, response.headers["X-Tenant"]) == (status, "acme")
    assert events == ["outer before", f"outer after {status}", "outer finally"]


def test_sees_the_denial_of_an_inner_policy(make_app: MakeApp) -> None:
    events: list[str] = []
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    app.add_url_rule("/", "index", limit("1/hour", by=lambda: "all")(require_api_key(lambda: "secret")))
    Guard(app, policies=[middleware(phase=Phase.OBSERVE)(recording(events, "outer").function)])

    assert app.test_client().get("/").status_code == 401
    assert events == ["outer before", "outer after 401", "outer finally"]


def test_inner_short_circuit_ends_the_outer_and_never_starts_the_innermost(app: Flask) -> None:
    events: list[str] = []
    serve(app, recording(events, "outer"), tenant, recording(events, "innermost"))

    assert app.test_client().get("/").status_code == 400
    assert events == ["outer before", "outer after 400", "outer finally"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_failure_of_an_inner_one_is_a_500_that_the_outer_sees(app: Flask, when: str) -> None:
    events: list[str] = []

    @middleware
    def failing(request: Request) -> Around:
        if when == "before":
            raise ZeroDivisionError
        yield
        raise ZeroDivisionError

    serve(app, recording(events, "outer"), failing, recording(events, "inner"))

    assert app.test_client().get("/").status_code == 500
    assert [event for event in events if "outer" in event] == ["outer before", "outer after 500", "outer finally"]
    assert events.count("inner finally") == (0 if when == "before" else 1)


@middleware
def yields_twice(request: Request) -> Any:
    yield
    yield


@middleware
def yields_something(request: Request) -> Any:
    yield "hello"


@middleware
async def yields_twice_async(request: Request) -> Any:
    yield
    yield


@pytest.mark.parametrize("policy", [yields_twice, yields_something, yields_twice_async])
def test_generator_that_breaks_the_contract_is_a_500_that_says_so(
    app: Flask, caplog: pytest.LogCaptureFixture, policy: Middleware
) -> None:
    serve(app, policy)

    assert app.test_client().get("/").status_code == 500
    assert policy.name in str(caplog.records[-1].exc_info)
    assert "yield" in str(caplog.records[-1].exc_info)
