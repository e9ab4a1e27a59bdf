"""`log_timing` counts what goes out, in bytes and milliseconds, also where a server takes it into its own hands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, send_file
from werkzeug.test import create_environ
from werkzeug.wsgi import FileWrapper

from flask_guard.support.response_body import ResponseBody
from flask_guard.wsgi.request_ids import CURRENT
from tests.access_log.logged import Records, accept, send, serve, slow_chunks
from tests.clock import Clock


def test_first_byte_of_a_stream_has_its_own_time(app: Flask, records: Records, clock: Clock) -> None:
    serve(app, lambda: slow_chunks(clock))

    send(app)

    (record,) = records()
    assert (record.first_byte_ms, record.duration_ms) == (20, 60)


def test_first_byte_of_a_whole_body_is_its_last(app: Flask, records: Records, clock: Clock) -> None:
    serve(app, lambda: clock.advance(20) or "hello")  # type: ignore[func-returns-value]

    send(app)

    (record,) = records()
    assert (record.first_byte_ms, record.duration_ms) == (20, 20)


def test_durations_are_rounded_to_microseconds(app: Flask, records: Records, clock: Clock) -> None:
    serve(app, lambda: clock.advance(1.23456) or iter(["a"]))  # type: ignore[func-returns-value]

    send(app)

    (record,) = records()
    assert (record.first_byte_ms, record.duration_ms) == (1.235, 1.235)


@pytest.mark.parametrize("body", [["é", "€"], iter(["é", "€"])], ids=["list", "stream"])
def test_bytes_are_bytes_although_the_view_gives_text(app: Flask, records: Records, body: Any) -> None:
    serve(app, lambda: Response(body))

    assert len(send(app).data) == 5

    assert records()[0].bytes == 5


def test_server_that_stops_at_the_announced_length_has_not_aborted(app: Flask, records: Records) -> None:
    serve(app, lambda: Response(iter(["abc", "def"]), headers={"Content-Length": "6"}))
    body = app.wsgi_app(create_environ("/"), accept)
    chunks = iter(body)

    assert next(chunks) + next(chunks) == b"abcdef"
    body.close()  # type: ignore[attr-defined]

    (record,) = records()
    assert (record.bytes, record.aborted) == (6, False)


def test_body_that_takes_its_requests_id_away_at_its_end_is_not_given_it_back() -> None:
    """As in Flask 3.0, where ``stream_with_context`` puts the teardown of the request off until then."""

    def chunks() -> Iterator[str]:
        yield "chunk"
        CURRENT.set(None)

    CURRENT.set("the-id")
    body = ResponseBody(Response(chunks()))
    body.request_id = "the-id"

    assert list(body) == [b"chunk"]

    assert CURRENT.get() is None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_bytes(b"0123456789" * 2000)
    return path


def test_file_that_the_client_leaves_is_aborted(app: Flask, records: Records, file: Path) -> None:
    serve(app, lambda: send_file(file))
    body = app.wsgi_app(create_environ("/"), accept)

    next(iter(body))
    body.close()  # type: ignore[attr-defined]

    (record,) = records()
    assert (record.bytes, record.aborted) == (8192, True)


def test_file_that_the_server_fails_to_send_itself_is_aborted(app: Flask, records: Records, file: Path) -> None:
    class ServersOwn:
        """What a server recognises and hands to the kernel."""

        def __init__(self, file: Any, _size: int = 8192) -> None:
            self.file = file

        def close(self) -> None:
            self.file.close()

    serve(app, lambda: send_file(file))
    body = app.wsgi_app(create_environ("/") | {"wsgi.file_wrapper": ServersOwn}, accept)
    assert isinstance(body, ServersOwn)

    try:
        raise BrokenPipeError
    except BrokenPipeError:
        body.close()

    (record,) = records()
    assert (record.bytes, record.aborted, record.exception) == (0, True, None)


def test_werkzeugs_own_file_wrapper_is_counted_as_it_goes_out(app: Flask, records: Records, file: Path) -> None:
    serve(app, lambda: send_file(file))

    body = app.wsgi_app(create_environ("/") | {"wsgi.file_wrapper": FileWrapper}, accept)

    assert records() == []
    assert len(b"".join(body)) == records()[0].bytes == 20_000
    body.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_body_that_is_dropped_without_being_closed_is_recorded(app: Flask, records: Records, taken: int) -> None:
    serve(app, lambda: Response(iter([b"abc"] * 3), headers={"Content-Length": "9"}))

    body = app.wsgi_app(create_environ("/"), accept)
    if taken:
        body = iter(body)
    for _ in range(taken):
        next(body)  # type: ignore[call-overload]
    del body

    (record,) = records()
    assert (record.bytes, record.aborted, record.status) == (3 * taken, taken < 3, 200)


def test_stream_that_fails_before_its_first_byte_is_the_500_that_the_server_makes_of_it(
    app: Flask, records: Records
) -> None:
    def chunks() -> Iterator[bytes]:
        raise ZeroDivisionError
        yield b""

    serve(app, lambda: Response(chunks()))

    with pytest.raises(ZeroDivisionError):
        send(app)

    (record,) = records()
    assert (record.status, record.exception, record.aborted, record.bytes) == (500, "ZeroDivisionError", True, 0)
