"""The id of the request, wherever its work is done: views, threads, deferred calls and streams."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request, stream_with_context
from werkzeug.test import TestResponse, create_environ

from flask_guard import ConfigError, Guard, current_request_id, defer, exempt, log_timing
from flask_guard.wsgi import RequestID, Timing, stack
from flask_guard.wsgi.request_ids import CURRENT
from tests.access_log.logged import LOGGER
from tests.conftest import MakeApp
from tests.ids import shown

THE_ID = {"X-Request-ID": "the-id"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def send(app: Flask, path: str = "/", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client().get(path, buffered=True, **{"headers": THE_ID, **options})


def serve(app: Flask, view: Callable[..., Any]) -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[log_timing])
    return app


@pytest.fixture(autouse=True)
def no_id_left() -> Iterator[None]:
    """Fail a test after which this thread still has an id: the next request would inherit it."""
    yield
    assert CURRENT.get() is None
    assert not current_request_id


# In the code of the request --------------------------------------------------------------------------------------


def in_thread(run: Callable[[Callable[[], None]], object]) -> str:
    """Return the id that a thread sees which runs a function by `run`."""
    seen: list[str] = []
    thread = threading.Thread(target=run, args=(lambda: seen.append(str(current_request_id)),))
    thread.start()
    thread.join()
    return seen[0]


def test_thread_in_a_copy_of_the_context_has_the_id(app: Flask) -> None:
    serve(app, lambda: in_thread(contextvars.copy_context().run))

    assert send(app).text == "the-id"


def test_thread_has_the_id_although_it_outlives_the_request(app: Flask) -> None:
    contexts: list[contextvars.Context] = []

    def view() -> str:
        contexts.append(contextvars.copy_context())
        return "hello"

    serve(app, view)
    send(app)

    assert in_thread(contexts[0].run) == "the-id"


def test_context_without_flasks_own_has_the_id(app: Flask) -> None:
    """As the context of a deferred call, which must not reach for a request that is over."""
    seen: list[str] = []

    def view() -> str:
        bare = contextvars.Context()
        bare.run(CURRENT.set, CURRENT.get())
        bare.run(lambda: seen.append(str(current_request_id)))
        return "hello"

    serve(app, view)

    send(app)

    assert seen == ["the-id"]


@pytest.mark.parametrize("testing", [False, True])
def test_deferred_call_has_the_id(make_app: MakeApp, testing: bool) -> None:
    seen: list[str] = []
    called = threading.Event()

    def note() -> None:
        seen.append(str(current_request_id))
        called.set()

    def view() -> str:
        defer(note)
        return "hello"

    send(serve(make_app(TESTING=testing), view))

    assert called.wait(5)
    assert seen == ["the-id"]


def test_other_threads_have_none(app: Flask) -> None:
    serve(app, lambda: in_thread(lambda note: note()))

    assert send(app).text == "None"


def test_async_view_and_its_tasks_have_the_id(app: Flask) -> None:
    async def task() -> str:
        await asyncio.sleep(0)
        return str(current_request_id)

    async def view() -> list[str]:
        in_thread = asyncio.to_thread(lambda: str(CURRENT.get()))
        return [str(current_request_id), *await asyncio.gather(task(), task(), in_thread)]

    serve(app, view)

    assert send(app).get_json() == ["the-id"] * 4


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("close_early", [False, True])
def test_stream_has_the_id_to_its_end(app: Flask, keep: bool, close_early: bool) -> None:
    seen: list[str | None] = []

    def chunks() -> Iterator[str]:
        try:
            for _ in range(3):
                seen.append(CURRENT.get())
                yield "chunk"
        finally:
            seen.append(CURRENT.get())

    serve(app, lambda: Response(stream_with_context(chunks()) if keep else chunks()))
    environ = create_environ("/", headers=THE_ID)

    body = app.wsgi_app(environ, lambda *_: lambda _data: None)
    iterator = iter(body)
    next(iterator)
    if not close_early:
        list(iterator)
    body.close()  # type: ignore[attr-defined]

    assert seen == ["the-id"] * (2 if close_early else 4)


@pytest.mark.parametrize("where", ["before", "after", "teardown"])
def test_hooks_of_the_app_have_the_id(app: Flask, where: str) -> None:
    seen: list[str] = []

    def note(value: Any = None) -> Any:
        seen.append(str(current_request_id))
        return value

    if where == "before":
        app.before_request(note)
    Guard(app, policies=[log_timing])
    app.add_url_rule("/", "index", lambda: "hello")
    if where == "after":
        app.after_request(note)
    if where == "teardown":
        app.teardown_request(note)

    response = send(app, headers={})

    assert seen == [response.headers["X-Request-ID"]]


def test_request_has_an_id_although_nothing_of_it_is_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = exempt(log_timing)(lambda: f"{current_request_id} {current_request_id}")
    serve(app, health)

    assert send(app).text == "the-id the-id"
    assert caplog.records == []


def test_request_inside_a_request_has_its_own_and_gives_the_outer_one_back(app: Flask, make_app: MakeApp) -> None:
    inner = serve(make_app(), lambda: f"{current_request_id} {CURRENT.get()}")

    def view() -> list[Any]:
        answer = send(inner, headers={"X-Request-ID": "inner"}).text
        return [answer, str(current_request_id), CURRENT.get()]

    serve(app, view)

    assert send(app).get_json() == ["inner inner", "the-id", "the-id"]


@pytest.mark.parametrize("fails", [False, True])
def test_next_request_of_the_thread_does_not_inherit_it(make_app: MakeApp, fails: bool) -> None:
    app = make_app(TESTING=True)
    app.add_url_rule("/fails", "fails", lambda: str(1 / 0))
    serve(app, exempt(log_timing)(lambda: str(CURRENT.get())))

    try:
        send(app, "/fails" if fails else "/")
    except ZeroDivisionError:
        assert fails

    assert send(app).text == "None"


# Layers below Flask ----------------------------------------------------------------------------------------------


def test_id_of_a_layer_outside_is_taken(app: Flask) -> None:
    serve(app, lambda: str(current_request_id))

    response = app.test_client().get("/", environ_overrides={"flask_guard.request_id": "of-the-layer"}, headers=THE_ID)

    assert response.text == response.headers["X-Request-ID"] == "of-the-layer"


def test_layers_outside_find_the_id_in_the_environ(app: Flask) -> None:
    serve(app, lambda: request.environ["flask_guard.request_id"])

    assert send(app).text == "the-id"


@pytest.mark.parametrize("view", ["logged", "quiet", "missing"])
@pytest.mark.parametrize(
    ("config", "taken"),
    [
        ({}, True),
        ({"GUARD_REQUEST_ID_TRUST": False}, False),
        ({"GUARD_REQUEST_ID_TRUST": ["10.0.0.0/8"]}, False),
        ({"GUARD_REQUEST_ID_LENGTH": 5}, False),
        ({"GUARD_REQUEST_ID_ALPHABET": "0123456789"}, False),
    ],
    ids=shown,
)
@pytest.mark.parametrize("header", ["X-Request-ID", "traceparent"])
def test_configuration_holds_for_ids_that_a_layer_outside_takes(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, Any], taken: bool, header: str, view: str
) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER)
    app = make_app(**config)
    app.add_url_rule("/quiet", "quiet", exempt(log_timing)(lambda: str(request.environ["flask_guard.request_id"])))
    app.add_url_rule("/logged", "logged", lambda: str(current_request_id))
    Guard(app, policies=[log_timing])
    app.wsgi_app = stack(app.wsgi_app, RequestID, Timing(logger=LOGGER), RequestID)  # type: ignore[assignment, method-assign]
    given = {"X-Request-ID": "the-id", "traceparent": f"00-{TRACE}-{'1' * 16}-01"}[header]

    response = send(app, f"/{view}", headers={header: given})

    (record,) = caplog.records
    assert response.headers.getlist("X-Request-ID") == [record.request_id]  # type: ignore[attr-defined]
    if view != "missing":
        assert response.text == response.headers["X-Request-ID"]
    limited_to_request_ids = header == "traceparent" and ("LENGTH" in str(config) or "ALPHABET" in str(config))
    assert (response.headers["X-Request-ID"] in ("the-id", TRACE)) is (taken or limited_to_request_ids)


# Configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "given", "taken"),
    [
        ({"GUARD_REQUEST_ID_TRUST": False}, "the-id", False),
        ({"GUARD_REQUEST_ID_TRUST": ["127.0.0.0/8"]}, "the-id", True),
        ({"GUARD_REQUEST_ID_TRUST": ["10.0.0.0/8"]}, "the-id", False),
        ({"GUARD_REQUEST_ID_LENGTH": 5}, "the-id", False),
        ({"GUARD_REQUEST_ID_LENGTH": 6}, "the-id", True),
        ({"GUARD_REQUEST_ID_ALPHABET": "0123456789"}, "the-id", False),
        ({"GUARD_REQUEST_ID_ALPHABET": "theid-=/+"}, "the-id+/=", True),
    ],
)
def test_configuration_says_which_ids_are_taken(
    make_app: MakeApp, config: dict[str, Any], given: str, taken: bool
) -> None:
    app = serve(make_app(**config), lambda: str(current_request_id))

    response = send(app, headers={"X-Request-ID": given})

    assert response.text == response.headers["X-Request-ID"]
    assert (response.text == given) is taken


@pytest.mark.parametrize(
    "config",
    [
        {"GUARD_REQUEST_ID_TRUST": "10.0.0.0/8"},
        {"GUARD_REQUEST_ID_TRUST": ["ten"]},
        {"GUARD_REQUEST_ID_LENGTH": 0},
        {"GUARD_REQUEST_ID_ALPHABET": "a b"},
    ],
)
def test_configuration_that_cannot_be_meant_is_refused(make_app: MakeApp, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="GUARD_REQUEST_ID_"):
        Guard(make_app(**config))
