"""`log_timing` of bodies that are streamed, sent as files, given up or broken off, and of requests that raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, send_file, stream_with_context
from werkzeug.test import create_environ

from flask_guard import require_api_key
from tests.access_log.logged import Records, send, serve, slow_chunks, three_chunks
from tests.clock import Clock
from tests.conftest import MakeApp


def start(app: Flask, environ: dict[str, Any] | None = None) -> Any:
    """Start a request as a server does, and return the body, of which nothing has been read yet."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        return lambda _data: None

    return app.wsgi_app({**create_environ("/"), **(environ or {})}, start_response)


# Streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_context", [False, True])
def test_stream_is_timed_and_counted_to_its_last_byte(
    app: Flask, records: Records, clock: Clock, with_context: bool
) -> None:
    serve(app, lambda: stream_with_context(slow_chunks(clock)) if with_context else slow_chunks(clock))

    body = start(app)
    assert records() == []
    sent = b"".join(body)
    body.close()

    (record,) = records()
    assert sent == b"chunk 0chunk 1chunk 2"
    assert record.bytes == len(sent)
    assert record.duration_ms == 60
    assert (record.status, record.aborted, record.exception) == (200, False, None)


def test_stream_stays_a_stream(app: Flask, records: Records) -> None:
    made: list[int] = []

    def numbers() -> Iterator[str]:
        for number in range(3):
            made.append(number)
            yield str(number)

    serve(app, numbers)

    body = iter(start(app))

    assert (next(body), made) == (b"0", [0])
    assert (next(body), made) == (b"1", [0, 1])


def test_stream_that_the_client_leaves_is_aborted(app: Flask, records: Records) -> None:
    closed: list[bool] = []

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "again"
        finally:
            closed.append(True)

    serve(app, endless)
    body = start(app)
    chunks = iter(body)

    next(chunks)
    next(chunks)
    body.close()

    (record,) = records()
    assert (record.bytes, record.aborted, record.exception, record.status) == (10, True, None, 200)
    assert closed == [True]


def test_stream_that_is_closed_before_it_began_is_aborted(app: Flask, records: Records) -> None:
    serve(app, three_chunks)

    start(app).close()

    (record,) = records()
    assert (record.bytes, record.aborted) == (0, True)


def test_stream_that_raises_names_the_exception(app: Flask, records: Records) -> None:
    def broken() -> Iterator[str]:
        yield "begun"
        raise ZeroDivisionError("the body broke")

    serve(app, broken)
    body = start(app)

    with pytest.raises(ZeroDivisionError):
        list(body)
    body.close()

    (record,) = records()
    assert (record.bytes, record.aborted, record.exception) == (5, True, "ZeroDivisionError")
    assert record.levelname == "WARNING"


def test_stream_is_recorded_once_though_it_is_closed_twice(app: Flask, records: Records) -> None:
    serve(app, three_chunks)
    body = start(app)

    list(body)
    body.close()
    body.close()

    assert len(records()) == 1


def test_stream_that_knows_its_length_keeps_it(app: Flask, records: Records) -> None:
    serve(app, lambda: Response(three_chunks(), headers={"Content-Length": "21"}))

    response = send(app)

    assert (response.headers["Content-Length"], response.text) == ("21", "chunk 0chunk 1chunk 2")


@pytest.mark.parametrize("body", [three_chunks, lambda: "hello", lambda: Response(status=204), lambda: ("", 304)])
def test_answer_to_head_has_no_bytes(app: Flask, records: Records, body: Callable[[], Any]) -> None:
    serve(app, body)

    send(app, "/", "HEAD")

    (record,) = records()
    assert (record.method, record.bytes, record.aborted, record.exception) == ("HEAD", 0, False, None)


@pytest.mark.parametrize("status", [204, 304])
def test_status_that_has_no_body_has_no_bytes(app: Flask, records: Records, status: int) -> None:
    serve(app, lambda: Response(three_chunks(), status))

    send(app)

    (record,) = records()
    assert (record.status, record.bytes, record.aborted) == (status, 0, False)


# Files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_bytes(b"0123456789" * 100)
    return path


def test_sent_file_is_counted_and_stays_intact(app: Flask, records: Records, file: Path) -> None:
    serve(app, lambda: send_file(file))

    assert send(app).data == file.read_bytes()

    (record,) = records()
    assert (record.bytes, record.status, record.aborted) == (1000, 200, False)


def test_sent_file_without_a_length_is_counted(app: Flask, records: Records, file: Path) -> None:
    serve(app, lambda: send_file(file.open("rb"), mimetype="text/plain"))

    assert send(app).data == file.read_bytes()

    (record,) = records()
    assert record.bytes == 1000


def test_part_of_a_file_counts_as_that_part(app: Flask, records: Records, file: Path) -> None:
    serve(app, lambda: send_file(file))

    response = send(app, headers={"Range": "bytes=10-19"})

    assert (response.status_code, response.data) == (206, b"0123456789")

    (record,) = records()
    assert (record.bytes, record.aborted) == (10, False)


@pytest.mark.parametrize("how", ["HEAD", "not modified"])
def test_file_that_is_not_sent_has_no_bytes(app: Flask, records: Records, file: Path, how: str) -> None:
    serve(app, lambda: send_file(file))
    tag = send(app).headers["ETag"]

    response = send(app, method="HEAD") if how == "HEAD" else send(app, headers={"If-None-Match": tag})

    assert (response.status_code, response.data) == (200 if how == "HEAD" else 304, b"")
    assert (records()[-1].bytes, records()[-1].aborted) == (0, False)


def test_file_that_the_server_may_send_itself_stays_one(app: Flask, records: Records, file: Path) -> None:
    class FileWrapper:
        """What a server recognises and hands to the kernel."""

        def __init__(self, file: Any, _size: int = 8192) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.file)

        def close(self) -> None:
            self.file.close()

    serve(app, lambda: send_file(file))

    body = start(app, {"wsgi.file_wrapper": FileWrapper})

    assert isinstance(body, FileWrapper)
    body.close()
    assert body.file.closed
    (record,) = records()
    assert (record.bytes, record.status) == (1000, 200)


# Requests that raise ---------------------------------------------------------------------------------------------


def broken() -> str:
    raise ZeroDivisionError("broken on purpose")


@pytest.mark.parametrize("config", [{"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}])
def test_request_whose_exception_is_left_to_the_server_is_logged(
    make_app: MakeApp, records: Records, config: dict[str, Any]
) -> None:
    app = serve(make_app(**config), broken)

    with pytest.raises(ZeroDivisionError):
        send(app)

    (record,) = records()
    assert (record.status, record.exception, record.bytes) == (500, "ZeroDivisionError", 0)
    assert (record.levelname, record.endpoint) == ("WARNING", "index")


def test_denial_with_propagating_exceptions_is_no_exception(make_app: MakeApp, records: Records) -> None:
    app = serve(make_app(TESTING=True), require_api_key(lambda: "secret"))

    assert send(app).status_code == 401

    (record,) = records()
    assert (record.status, record.exception) == (401, None)


def test_exception_that_became_a_500_is_named(app: Flask, records: Records) -> None:
    serve(app, broken)

    send(app)

    (record,) = records()
    assert (record.status, record.exception) == (500, "ZeroDivisionError")


def test_client_that_keeps_the_context_sees_one_record(app: Flask, records: Records) -> None:
    serve(app, lambda: "hello")

    with app.test_client() as client:
        client.get("/")
        client.get("/")

    assert len(records()) == 2
