"""`Timing`: how long it took, in a header and, given a logger, in one log record unless somebody else makes one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pytest
from flask import Flask

from flask_guard import Guard, exempt, log_timing
from flask_guard.wsgi import Ending, RequestID, Timing, stack
from tests.cases import together
from tests.clock import Clock
from tests.wsgi.driver import Body, Server, answering, environ_of, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOGGER = "flask_guard.access"
Records: TypeAlias = Callable[[], list[Any]]

hello = answering([b"hello"], "text/plain", Content_Length="5")
logged = Timing(logger=LOGGER)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """Return a function that returns the access records so far."""
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]


@pytest.fixture
def slow(clock: Clock) -> WSGIApplication:
    """Return an application that takes 30 ms before it begins its response, before the first byte, and after it."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        clock.advance(30)
        start_response("200 OK", [("Content-Type", "text/plain")])
        clock.advance(30)
        yield b"slow"
        clock.advance(30)

    return app


# The header ------------------------------------------------------------------------------------------------------


def test_header_tells_the_time_until_the_response_began(slow: WSGIApplication) -> None:
    assert send(Timing(slow))["Server-Timing"] == "app;dur=30.0"


def test_header_goes_beside_that_of_the_application() -> None:
    app = Timing(answering([b""], Server_Timing="db;dur=1.0"), metric="all%")

    assert re.fullmatch(r"db;dur=1\.0, all%;dur=\d+\.\d", send(app)["Server-Timing"] or "")


def test_header_goes_only_to_whom_the_function_allows() -> None:
    app = Timing(hello, server_timing=lambda environ: environ["REMOTE_ADDR"] == "127.0.0.1")

    assert send(app, REMOTE_ADDR="127.0.0.1")["Server-Timing"]
    assert send(app, REMOTE_ADDR="192.0.2.1")["Server-Timing"] is None
    assert send(Timing(hello, server_timing=False))["Server-Timing"] is None


def test_layers_around_each_other_count_from_the_outermost(clock: Clock) -> None:
    class Slow(Timing):
        def on_request(self, environ: WSGIEnvironment) -> None:
            super().on_request(environ)
            clock.advance(30)

    answer = send(stack(hello, Slow(metric="outer"), Timing(metric="inner")))

    assert answer["Server-Timing"] == "inner;dur=30.0, outer;dur=30.0"


# The record ------------------------------------------------------------------------------------------------------


def test_record_has_the_attributes_of_log_timing(records: Records, slow: WSGIApplication) -> None:
    flask_app = Flask("tests")
    Guard(flask_app, policies=[log_timing])
    send(flask_app.wsgi_app)
    send(stack(slow, RequestID, logged), "/p%C3%A9/\xc3\xa9", "POST", HTTP_X_REQUEST_ID="abc", REMOTE_ADDR="192.0.2.1")

    theirs, ours = records()

    assert set(vars(theirs)) <= set(vars(ours))
    expected = {
        "request_id": "abc",
        "method": "POST",
        "path": "/p%C3%A9/é",
        "status": 200,
        "bytes": 4,
        "address": "192.0.2.1",
        "endpoint": None,
        "verdicts": {},
        "aborted": False,
        "exception": None,
        "levelname": "INFO",
    }
    assert {name: getattr(ours, name) for name in expected} == expected
    assert (ours.first_byte_ms, ours.duration_ms) == (60, 90)
    assert ours.getMessage() == "POST /p%C3%A9/é 200 90.0 ms"


def fails_at_once(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    raise ZeroDivisionError


BROKEN = {"exception": "ZeroDivisionError", "aborted": True, "levelname": "WARNING"}


@pytest.mark.parametrize(
    ("app", "chunks", "expected"),
    [
        (hello, None, {"status": 200, "bytes": 5, "aborted": False, "levelname": "INFO"}),
        (answering([], status="503 Busy"), None, {"status": 503, "aborted": False, "levelname": "WARNING"}),
        (answering([], status="404 No"), None, {"status": 404, "levelname": "INFO"}),
        (fails_at_once, None, {"status": 500, "bytes": 0, **BROKEN}),
        (answering(Body(fails=ZeroDivisionError())), None, {"status": 500, "bytes": 0, **BROKEN}),
        (answering(Body(b"abc", fails=ZeroDivisionError())), None, {"status": 200, "bytes": 3, **BROKEN}),
        (answering(Body(b"abc", b"d", b"e")), 1, {"bytes": 4, "aborted": True, "exception": None, "levelname": "INFO"}),
    ],
)
def test_record_is_right_however_it_ends(
    app: WSGIApplication, chunks: int | None, expected: dict[str, Any], records: Records
) -> None:
    try:
        Server(logged.around(app), chunks=chunks).serve(environ_of())
    except ZeroDivisionError:
        assert expected["exception"] == "ZeroDivisionError"

    (record,) = records()
    assert {name: getattr(record, name) for name in expected} == expected


@pytest.mark.parametrize("taken", [0, 1])
def test_body_that_the_server_drops_without_closing_it_is_logged(taken: int, records: Records) -> None:
    body = logged.around(answering(Body(b"ab", b"c")))(environ_of(), lambda *_: lambda data: None)
    chunks = iter(body) if taken else None
    assert chunks is None or next(chunks) == b"ab"

    del body, chunks

    (record,) = records()
    assert (record.bytes, record.aborted) == (2 * taken, True)


@pytest.mark.parametrize("failed", [False, True])
def test_file_that_the_server_sends_itself_is_logged_when_it_is_closed(failed: bool, records: Records) -> None:
    class File:
        def __init__(self, file: BytesIO) -> None:
            self.close = file.close

    body = logged.around(answering(File(BytesIO(b"data")), "image/png", Content_Length="4"))(  # type: ignore[arg-type]
        environ_of(file_wrapper=File), lambda status, headers, exc_info=None, /: lambda data: None
    )
    assert records() == []
    try:
        if failed:
            raise ConnectionResetError
    except ConnectionResetError:
        body.close()  # type: ignore[attr-defined]
    else:
        body.close()  # type: ignore[attr-defined]

    (record,) = records()
    assert (record.bytes, record.aborted) == ((0, True) if failed else (4, False))


def test_slow_request_is_a_warning(records: Records, slow: WSGIApplication) -> None:
    layer = Timing(logger=LOGGER, slow_ms=20)

    send(layer.around(hello))
    send(layer.around(slow))

    assert [record.levelname for record in records()] == ["INFO", "WARNING"]


def test_logger_and_level_are_as_told_and_nothing_is_logged_without_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    send(Timing(hello, logger="shop", level=logging.DEBUG))
    send(Timing(hello))

    assert [(record.name, record.levelname) for record in caplog.records] == [("shop", "DEBUG")]


@pytest.mark.parametrize("hostile", ["\r\n", "\x1b[31m", "\x00", "\x85", "\xe2\x80\xa8", "\xe2\x80\xae", "x" * 100_000])
def test_whatever_a_client_sends_the_record_is_one_line(hostile: str, records: Records) -> None:
    environ = {"REMOTE_ADDR": hostile, "HTTP_X_REQUEST_ID": hostile, "SCRIPT_NAME": "/s" + hostile}

    send(stack(hello, RequestID, logged), "/p" + hostile, hostile, **environ)

    (record,) = records()
    line = logging.Formatter("%(request_id)s %(address)s %(message)s").format(record)
    assert line.isprintable()
    assert len(line) < 4096


# Who logs --------------------------------------------------------------------------------------------------------


def guarded() -> Flask:
    app = Flask("tests")
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/stream", "stream", lambda: iter(["a", "b"]))
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/quiet", "quiet", exempt(log_timing)(lambda: "quiet"))
    Guard(app, policies=[log_timing])
    return app


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [("/", "index"), ("/stream", "stream"), ("/500", "broken"), ("/404", None), ("/quiet", None)],
)
def test_request_is_logged_once_by_log_timing_if_that_is_in_charge(
    path: str, endpoint: str | None, records: Records
) -> None:
    send(stack(guarded().wsgi_app, RequestID, logged, logged), path)

    (record,) = records()
    assert (record.path, record.endpoint) == (path, endpoint)


def test_timings_around_each_other_log_once(records: Records) -> None:
    send(stack(hello, logged, Timing, logged, logged))

    assert len(records()) == 1


def test_class_made_from_it_may_watch_how_responses_end_without_a_logger() -> None:
    class Counting(Timing):
        sizes: ClassVar[list[int]] = []

        def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
            self.sizes.append(ending.size)

    send(Counting(hello))

    assert Counting.sizes == [5]


@together(
    ("options", "error", "message"),
    [
        ({"metric": "a b"}, ValueError, "must be a token"),
        ({"metric": "a\r\nb"}, ValueError, "must be a token"),
        ({"metric": ""}, ValueError, "must be a token"),
        ({"metric": None}, ValueError, "must be a token"),
        ({"server_timing": "yes"}, TypeError, "a function of environ"),
        ({"logger": logging.getLogger("x")}, TypeError, "name of a logger"),
        ({"level": "INFO"}, TypeError, "a level such as"),
        ({"level": True}, TypeError, "a level such as"),
        ({"slow_ms": "5"}, TypeError, "milliseconds"),
        ({"slow_ms": -1}, ValueError, "milliseconds"),
        ({"slow_ms": float("nan")}, ValueError, "milliseconds"),
        ({"slow_ms": 500}, ValueError, r"none without a logger: Timing\(logger='flask_guard.access', slow_ms=500\)"),
        ({"slow_ms": 0, "logger": None}, ValueError, "none without a logger"),
        (
            {"level": logging.INFO},
            ValueError,
            r"none without a logger: Timing\(logger='flask_guard.access', level=20\)",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Timing(**options)
