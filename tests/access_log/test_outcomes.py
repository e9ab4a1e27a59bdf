"""`log_timing` records what the client got: hooks, sessions and servers may yet change or refuse a response."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.test import create_environ

from flask_guard import Guard, exempt, log_timing
from flask_guard.wsgi import RequestID, Timing, stack
from flask_guard.wsgi.request_ids import CURRENT
from tests.access_log.logged import LOGGER, Records, accept, send, serve, three_chunks
from tests.conftest import MakeApp

BODIES: dict[str, Callable[[], Any]] = {"whole": lambda: "hello", "stream": three_chunks}
each_body = pytest.mark.parametrize("body", BODIES)


# What comes after the policies -----------------------------------------------------------------------------------


@each_body
def test_hook_that_fails_after_the_policies_is_recorded_as_the_500_it_becomes(
    app: Flask, records: Records, body: str
) -> None:
    @app.after_request  # registered before the Guard, so it sees the response after every policy
    def fail(response: Response) -> Response:
        if response.status_code == 200:
            raise ZeroDivisionError
        return response

    serve(app, BODIES[body])

    response = send(app)

    (record,) = records()
    assert (record.status, response.status_code) == (500, 500)
    assert (record.exception, record.levelname, record.aborted) == ("ZeroDivisionError", "WARNING", False)
    assert record.bytes == len(response.data)


def test_hook_that_fails_on_the_error_page_too_is_recorded_as_what_flask_sends(app: Flask, records: Records) -> None:
    @app.after_request
    def fail(response: Response) -> NoReturn:
        raise ZeroDivisionError

    serve(app, lambda: "hello")

    response = send(app)

    (record,) = records()
    assert (record.status, record.bytes, record.aborted) == (response.status_code, len(response.data), False)
    assert record.status == 500
    assert record.exception == "ZeroDivisionError"


def test_hook_that_fails_and_whose_exception_is_left_to_the_server_is_recorded(
    make_app: MakeApp, records: Records
) -> None:
    app = make_app(TESTING=True)
    app.after_request(lambda response: str(1 / 0))
    serve(app, lambda: "hello")

    with pytest.raises(ZeroDivisionError):
        send(app)

    (record,) = records()
    assert (record.status, record.exception, record.aborted, record.bytes) == (500, "ZeroDivisionError", True, 0)


@each_body
def test_session_that_cannot_be_saved_is_recorded_as_the_500_it_becomes(
    app: Flask, records: Records, body: str
) -> None:
    seen: list[Response] = []

    class Broken(SecureCookieSessionInterface):
        def save_session(self, app: Flask, session: object, response: Response) -> NoReturn:
            seen.append(response)
            if len(seen) > 1:
                seen[0].close()  # which nobody will get
            raise ConnectionError("the session store is down")

    app.session_interface = Broken()
    serve(app, BODIES[body])

    response = send(app)

    (record,) = records()
    assert (record.status, response.status_code, record.exception) == (500, 500, "ConnectionError")
    assert (record.bytes, record.aborted) == (len(response.data), False)


@each_body
def test_response_that_an_outer_hook_replaces_is_the_one_recorded(app: Flask, records: Records, body: str) -> None:
    app.after_request(lambda response: Response("replaced", 418))
    serve(app, BODIES[body])

    assert send(app).status_code == 418

    (record,) = records()
    assert (record.status, record.bytes, record.aborted) == (418, len("replaced"), False)


@each_body
def test_bytes_are_those_that_go_out_after_an_outer_hook_has_compressed_them(
    app: Flask, records: Records, body: str
) -> None:
    @app.after_request
    def compress(response: Response) -> Response:
        response.set_data(gzip.compress(response.get_data() * 100))
        return response

    serve(app, BODIES[body])

    response = send(app)

    assert records()[0].bytes == len(response.data)
    assert records()[0].bytes == int(response.headers["Content-Length"])


@each_body
def test_response_that_the_server_refuses_is_a_500_and_names_the_exception(
    app: Flask, records: Records, body: str
) -> None:
    def refuse(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> NoReturn:
        raise AssertionError("a header that cannot be sent")

    serve(app, BODIES[body])

    with pytest.raises(AssertionError):
        app.wsgi_app(create_environ("/"), refuse)

    (record,) = records()
    assert (record.status, record.exception, record.aborted, record.bytes) == (500, "AssertionError", True, 0)


def test_app_that_is_called_while_an_exception_is_handled_is_not_blamed_for_it(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello")

    try:
        raise KeyError("of the caller")
    except KeyError:
        send(app)

    (record,) = records()
    assert (record.status, record.exception, record.levelname) == (200, None, "INFO")


def test_client_that_keeps_the_context_finds_the_record_inside_its_block(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello")

    with app.test_client() as client:
        client.get("/")
        assert [record.status for record in records()] == [200]

    assert len(records()) == 1


# Other layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/500", "/404", "/stream"])
def test_layers_outside_are_told_that_the_request_is_logged(app: Flask, records: Records, path: str) -> None:
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/stream", "stream", three_chunks)
    serve(app, lambda: "hello")
    environ = create_environ(path)

    body = app.wsgi_app(environ, accept)

    assert environ["flask_guard.logged"] is True
    list(body)
    assert records()[0].request_id == environ["flask_guard.request_id"]


def test_layers_outside_are_told_although_the_exception_is_left_to_them(make_app: MakeApp) -> None:
    app = serve(make_app(TESTING=True), lambda: str(1 / 0))
    environ = create_environ("/")

    with pytest.raises(ZeroDivisionError):
        app.wsgi_app(environ, accept)

    assert environ["flask_guard.logged"] is True


@pytest.mark.parametrize("path", ["/", "/500", "/stream", "/health"])
def test_request_is_logged_once_and_has_one_id_inside_the_layers_of_the_package(
    app: Flask, records: Records, path: str
) -> None:
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/stream", "stream", three_chunks)
    app.add_url_rule("/health", "health", exempt(log_timing)(lambda: "healthy"))
    serve(app, lambda: "hello")
    app.wsgi_app = stack(app.wsgi_app, Timing(logger=LOGGER), RequestID())  # type: ignore[assignment, method-assign]

    response = send(app, path)

    (record,) = records()
    assert response.headers.getlist("X-Request-ID") == [record.request_id]
    assert record.endpoint == {"/": "index", "/500": "broken", "/stream": "stream"}.get(path)


def test_layers_outside_log_what_is_exempt(app: Flask) -> None:
    serve(app, exempt(log_timing)(lambda: request.path))
    environ = create_environ("/")

    app.wsgi_app(environ, accept)

    assert "flask_guard.logged" not in environ


@pytest.mark.parametrize("body", ["whole", "stream"])
def test_handler_that_fails_harms_neither_the_response_nor_the_next_request(
    app: Flask, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("no log today")

    failing, logger = Failing(), logging.getLogger("tests.failing")
    logger.addHandler(failing)
    app.add_url_rule("/", "index", lambda: "hello" if body == "whole" else iter(["hel", "lo"]))
    Guard(app, policies=[log_timing(logger="tests.failing", level=logging.ERROR)])

    response = app.test_client().get("/", buffered=True)
    logger.removeHandler(failing)

    assert (response.status_code, response.text) == (200, "hello")
    assert "no log today" in caplog.text
    assert CURRENT.get() is None
