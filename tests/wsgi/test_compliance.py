"""Every layer keeps the rules of WSGI (PEP 3333), around and inside whatever keeps them, too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from flask import Flask, Response, send_file

from flask_guard.wsgi import Layer, stack
from tests.cases import together
from tests.wsgi.driver import CHECKS, LAYERS, Answer, Body, Check, Server, answering, environ_of, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PLAIN = [("Content-Type", "text/plain")]
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
every_check = pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)


def complete(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [*PLAIN, ("Content-Length", "10"), ("ETag", '"v1"')])
    return [b"hello", b"world"]


def streamed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    return (each for each in (b"hello", b"", b"world"))


def started_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", list(PLAIN))
    yield b"hello"
    yield b"world"


def written(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    write = start_response("200 OK", list(PLAIN))
    write(b"hel")
    write(b"lo")
    return [b"world"]


def file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*PLAIN, ("Content-Length", "10")])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](BytesIO(b"helloworld"))
    return wrapped


def failed_and_started_over(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [*PLAIN, ("Content-Length", "5000")])
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        start_response("500 Oh", list(PLAIN), sys.exc_info())
    return [b"hello", b"world"]


def with_flask() -> WSGIApplication:
    app = Flask("tests")

    @app.get("/")
    def index() -> Response:
        return Response("helloworld", mimetype="text/plain")

    return app.wsgi_app


def with_flask_file() -> WSGIApplication:
    app = Flask("tests")

    @app.get("/")
    def index() -> Response:
        return send_file(BytesIO(b"helloworld"), mimetype="text/plain")

    return app.wsgi_app


APPS: dict[str, WSGIApplication] = {
    **{each.__name__: each for each in (complete, streamed, started_late, written, file, failed_and_started_over)},
    "Flask": with_flask(),
    "Flask's file": with_flask_file(),
}


@every_check
@every_layer
@together("app", APPS.values())
def test_nobody_complains_around_or_inside_a_layer(app: WSGIApplication, layer: Layer, check: Check) -> None:
    answer = send(check(stack(check(app), layer)))

    assert answer.body.lower().replace(b"0", b"o").rstrip(b"!") == b"helloworld"
    assert answer.status == ("500 Oh" if app is failed_and_started_over else "200 OK")
    assert answer["Content-Length"] in (None, str(len(answer.body)))


@every_check
@together("app", APPS.values())
def test_nobody_complains_about_all_of_them_at_once(app: WSGIApplication, check: Check) -> None:
    answer = send(check(stack(check(app), *LAYERS.values())))

    assert answer.body == b"HELLOWORLD!"


@every_check
@every_layer
@together("inner", LAYERS.values())
def test_nobody_complains_between_two_layers(layer: Layer, inner: Layer, check: Check) -> None:
    assert send(check(stack(check(stack(check(complete), inner)), layer))).body


@every_check
@every_layer
@together(
    ("status", "content_type"), [("204 No Content", ""), ("304 Not Modified", ""), ("404 Not Found", "text/plain")]
)
def test_responses_without_content_stay_so(layer: Layer, status: str, content_type: str, check: Check) -> None:
    fields = {"Content-Length": "0"} if status.startswith("204") else {}
    app = answering([b""] if content_type else [], content_type, status, **fields)

    answer = send(check(stack(check(app), layer)))

    assert answer.status == status
    assert answer.body in (b"", b"!")
    assert answer.body == b"" or content_type


@every_layer
@together("content_type", ["text/plain", "text/html", "image/png"])
def test_head_is_the_get_without_its_body(layer: Layer, content_type: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = b"helloworld"
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body))), ("ETag", '"v"')])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    layered = stack(app, layer)

    head, get = send(layered, method="HEAD"), send(layered)

    assert head.body == b""
    assert head["ETag"] == get["ETag"]
    assert head["Content-Length"] in (None, get["Content-Length"])
    assert {name for name, _ in head.headers} | {"Content-Length"} == {name for name, _ in get.headers} | {
        "Content-Length"
    }


# How it ends -----------------------------------------------------------------------------------------------------


def serve(app: WSGIApplication, layer: Layer, chunks: int | None = None) -> Answer:
    return Server(stack(app, layer), chunks=chunks).serve(environ_of())


@every_layer
@together("chunks", [None, 0, 1, 2])
@together("content_type", ["text/html", "image/png"])
def test_body_is_closed_once_even_if_the_client_hangs_up(layer: Layer, chunks: int | None, content_type: str) -> None:
    body = Body(b"a", b"b", b"c", b"d")

    serve(answering(body, content_type), layer, chunks)

    assert body.closed == 1


@every_layer
@together("before", [0, 2])
def test_body_that_fails_is_closed_once_and_its_exception_comes_through(layer: Layer, before: int) -> None:
    body = Body(*[b"a"] * before, fails=ZeroDivisionError("mine"))

    with pytest.raises(ZeroDivisionError, match="mine"):
        serve(answering(body), layer)

    assert body.closed == 1


@every_layer
def test_application_that_fails_at_once_fails_through_the_layer(layer: Layer) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        serve(app, layer)


@every_layer
def test_error_page_replaces_what_was_not_sent_yet(layer: Layer) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*PLAIN, ("X-Old", "yes")])
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oh", list(PLAIN), sys.exc_info())
        yield b"sorry"

    answer = serve(app, layer)

    assert (answer.status, answer["X-Old"]) == ("500 Oh", None)
    assert answer.body.lower().replace(b"0", b"o").rstrip(b"!") == b"sorry"


@every_layer
def test_error_after_the_first_byte_is_raised_to_the_application(layer: Layer) -> None:
    body_went_out: list[Callable[[bytes], object]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        yield b"hello"
        try:
            raise ZeroDivisionError("mine")
        except ZeroDivisionError:
            body_went_out.append(start_response("500 Oh", list(PLAIN), sys.exc_info()))

    with pytest.raises(ZeroDivisionError, match="mine"):
        serve(app, layer)

    assert body_went_out == []


@every_layer
def test_list_of_headers_that_an_application_keeps_is_not_changed(layer: Layer) -> None:
    kept = [("Content-Type", "text/html"), ("Content-Length", "5"), ("ETag", '"v"'), ("X-Powered-By", "me")]
    before = list(kept)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", kept)
        return [b"hello"]

    send(stack(app, layer))

    assert kept == before
