"""`Middleware`: hooks to override."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from flask_guard.wsgi import Answer, Ending, HeaderList, Headers, Incremental, Middleware, RequestID, Timing, stack
from tests.cases import together
from tests.clock import Clock
from tests.wsgi.driver import Body, Server, answering, environ_of, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


hello = answering([b"hello"], "text/plain", Content_Length="5", ETag='"v1"', Accept_Ranges="bytes")


# Hooks -----------------------------------------------------------------------------------------------------------


class Closed(Middleware):
    """Answers in place of the application on one path."""

    def __init__(self, app: WSGIApplication | None = None, *, path: str = "/closed") -> None:
        super().__init__(app)
        self.path = path

    def on_request(self, environ: WSGIEnvironment) -> Answer | None:
        environ["test.seen"] = True
        if environ["PATH_INFO"] != self.path:
            return None
        return "503 Service Unavailable", [("Content-Type", "text/plain")], [b"Back soon."]

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        headers.append(("X-Seen", str(environ["test.seen"])))


def test_answer_of_on_request_goes_out_in_place_of_the_applications() -> None:
    app = Closed(hello)

    closed, head, passed = send(app, "/closed"), send(app, "/closed", "HEAD"), send(app)

    assert (closed.status, closed.body, closed["X-Seen"]) == ("503 Service Unavailable", b"Back soon.", "True")
    assert (head.status, head.body) == ("503 Service Unavailable", b"")
    assert (passed.status, passed.body, passed["X-Seen"]) == ("200 OK", b"hello", "True")


def test_body_of_an_answer_is_closed_if_it_does_not_go_out() -> None:
    body = Body(b"x")

    class Answers(Middleware):
        def on_request(self, environ: WSGIEnvironment) -> Answer:
            return "200 OK", [("Content-Type", "text/plain")], body

    assert send(Answers(hello), method="HEAD").body == b""
    assert (body.closed, body.read) == (1, 0)


def test_on_response_may_return_another_status_and_other_fields() -> None:
    class Teapot(Middleware):
        def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> tuple[str, HeaderList]:
            return "418 I'm a teapot", [("Content-Type", "text/plain"), ("X-Was", status)]

    answer = send(Teapot(hello))

    assert (answer.status, answer["X-Was"], answer["ETag"]) == ("418 I'm a teapot", "200 OK", None)


def test_on_body_takes_off_what_it_makes_untrue() -> None:
    class Doubled(Middleware):
        def on_body(self, chunk: bytes) -> bytes:
            return chunk * 2

    answer = send(Doubled(hello))

    assert answer.body == b"hellohello"
    assert (answer["Content-Length"], answer["ETag"], answer["Accept-Ranges"]) == (None, 'W/"v1"', None)


def test_rewriter_keeps_what_stretches_over_chunks_for_each_response() -> None:
    class Backwards:
        def __init__(self) -> None:
            self.kept = b""

        def feed(self, chunk: bytes) -> bytes:
            self.kept += chunk
            return b""

        def flush(self) -> bytes:
            return self.kept[::-1]

    class Reversing(Middleware):
        def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
            return Backwards() if environ["PATH_INFO"] == "/turn" else None

    app = Reversing(answering([b"ab", b"cd"], "text/plain", Content_Length="4"))

    turned, left = send(app, "/turn"), send(app)

    assert (turned.body, turned["Content-Length"]) == (b"dcba", "4")
    assert (left.body, left["Content-Length"]) == (b"abcd", "4")


class Watching(Middleware):
    """Keeps how each response ended."""

    def __init__(self, app: WSGIApplication | None = None) -> None:
        super().__init__(app)
        self.endings: list[Ending] = []

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        self.endings.append(ending)


def ending_of(app: WSGIApplication, *, chunks: int | None = None, method: str = "GET") -> Ending:
    """Return how the response of `app` ended, of which the client reads so many chunks."""
    watching = Watching(app)
    with contextlib.suppress(ZeroDivisionError):
        Server(watching, chunks=chunks).serve(environ_of(method=method))
    (ending,) = watching.endings
    return ending


def facts(ending: Ending) -> tuple[str | None, int, str | None, bool]:
    error = type(ending.error).__name__ if ending.error is not None else None
    return ending.status, ending.size, error, ending.aborted


def failing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise ZeroDivisionError


def writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])(b"hel")
    return [b"lo"]


BROKEN = Body(b"ab", b"cd", fails=ZeroDivisionError())
ENDINGS: list[tuple[WSGIApplication, int | None, str, Any]] = [
    (hello, None, "GET", ("200 OK", 5, None, False)),
    (answering(Body(b"ab", b"", b"cd")), None, "GET", ("200 OK", 4, None, False)),
    (writing, None, "GET", ("200 OK", 5, None, False)),
    (answering(Body(b"ab", b"cd", b"ef")), 2, "GET", ("200 OK", 6, None, True)),
    (answering(Body(b"ab", b"cd"), Content_Length="4"), 1, "GET", ("200 OK", 4, None, False)),
    (answering(Body(b"ab", b"cd"), Content_Length="4"), 0, "GET", ("200 OK", 2, None, True)),
    (answering(BROKEN), None, "GET", ("200 OK", 4, "ZeroDivisionError", True)),
    (answering(Body(fails=ZeroDivisionError())), None, "GET", (None, 0, "ZeroDivisionError", True)),
    (failing, None, "GET", (None, 0, "ZeroDivisionError", True)),
    (answering([], Content_Length="5"), None, "HEAD", ("200 OK", 0, None, False)),
]


@together(("app", "chunks", "method", "expected"), ENDINGS)
def test_on_end_is_called_once_with_how_it_ended(
    app: WSGIApplication, chunks: int | None, method: str, expected: Any
) -> None:
    assert facts(ending_of(app, chunks=chunks, method=method)) == expected


@pytest.mark.parametrize(
    ("method", "status", "aborted"), [("GET", "200 OK", True), ("HEAD", "200 OK", False), ("GET", "304 No", False)]
)
def test_body_that_the_server_does_not_read_is_aborted_unless_there_is_none(
    method: str, status: str, aborted: bool
) -> None:
    watching = Watching(answering(Body(b"ab"), "", status))

    body = watching(environ_of(method=method), lambda status, headers, exc_info=None, /: lambda data: None)
    body.close()  # type: ignore[attr-defined]

    assert [each.aborted for each in watching.endings] == [aborted]


def test_first_byte_is_that_of_the_first_chunk_that_has_one(clock: Clock) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        clock.advance(10)
        yield b"x"

    before = clock.now

    assert ending_of(app).first_byte == before + 0.01


def test_body_is_not_watched_once_an_application_has_settled_what_it_is_watched_for() -> None:
    class Patient(Watching):
        settled_by = "test.settled"

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["test.settled"] = True
        return body

    body = Body(b"hello")
    watching = Patient(app)

    assert watching(environ_of(), lambda status, headers, exc_info=None, /: lambda data: None) is body
    assert watching.endings == []


def test_requests_at_once_do_not_meet_in_a_layer() -> None:
    barrier = threading.Barrier(8)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        for _ in range(20):
            barrier.wait(10)
            yield environ["PATH_INFO"].encode()

    layered = stack(app, RequestID, Timing, Headers(add={"X-A": "b"}), Watching())
    answers: dict[str, bytes] = {}

    def run(path: str) -> None:
        answers[path] = send(layered, path).body

    threads = [threading.Thread(target=run, args=(f"/{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {f"/{number}": f"/{number}".encode() * 20 for number in range(8)}
