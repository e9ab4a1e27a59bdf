"""`require_request(max_body=…)`: bodies with a length and without one, in Flask's test client and under gunicorn."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_guard import Denied, Guard, log_timing, request_denied, request_would_be_denied, require_request
from tests.cases import together
from tests.serving import GUNICORN, serving

from .served import MOST

SHARED = [pytest.mark.slow, pytest.mark.xdist_group("servers of bodies")]
PATHS = ["/stream", "/data", "/form", "/json", "/lines"]


class Unreadable(io.RawIOBase):
    """A body that nobody may read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise AssertionError("the body was read")


def limited(app: Flask, **options: Any) -> list[Denied]:
    """Give `app` a view that reads a body of ten bytes at most; return the list that denials go to."""
    Guard(app, policies=[log_timing])

    @app.post("/")
    @require_request(max_body=10, **options)
    def read() -> Response:
        return Response(request.get_data())

    denied: list[Denied] = []
    app.extensions["denied"] = [request_denied.connected_to(lambda _app, denial, request: denied.append(denial), app)]
    return denied


def chunked(body: bytes) -> dict[str, Any]:
    """Return the environ that a server which takes chunked bodies makes of one."""
    return {
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }


def test_a_declared_length_is_refused_before_the_body_is_read(app: Flask) -> None:
    limited(app)

    answer = app.test_client().post("/", environ_overrides={"CONTENT_LENGTH": "11", "wsgi.input": Unreadable()})

    assert (answer.status_code, answer.content_type) == (413, "application/problem+json")
    assert answer.get_json()["detail"] == "The body of a request may have 10 bytes at most."


@together(("size", "expected"), [(0, 200), (9, 200), (10, 200), (11, 413), (100_000, 413)])
@together("how", ["length", "chunked"])
def test_the_limit_is_the_largest_body_that_is_served(app: Flask, size: int, expected: int, how: str) -> None:
    limited(app)
    body = b"x" * size

    if how == "length":
        answer = app.test_client().post("/", data=body)
    else:
        answer = app.test_client().post("/", environ_overrides=chunked(body))

    assert answer.status_code == expected
    assert expected == 413 or answer.data == body


@pytest.mark.parametrize(
    "length",
    ["11", "0011", "9" * 19, "9" * 5000, "99999999999999999999"],
)
def test_any_length_above_the_limit_is_refused(app: Flask, length: str) -> None:
    limited(app)

    answer = app.test_client().post("/", environ_overrides={"CONTENT_LENGTH": length, "wsgi.input": Unreadable()})

    assert answer.status_code == 413


@together("length", ["-1", "+5", "1_0", "5, 5", "٣", "0x5", " ", "5.0", "1e1", "nan"])
@together("size", [5, 11])
def test_a_length_that_is_none_opens_nothing(app: Flask, length: str, size: int) -> None:
    limited(app)
    body = io.BytesIO(b"x" * size)

    answer = app.test_client().post(
        "/", environ_overrides={"CONTENT_LENGTH": length, "wsgi.input": body, "wsgi.input_terminated": True}
    )

    assert answer.status_code == (413 if size > 10 else 200)


def test_a_length_beside_chunks_does_not_hide_them(app: Flask) -> None:
    limited(app)

    answer = app.test_client().post("/", environ_overrides={**chunked(b"x" * 11), "CONTENT_LENGTH": "3"})

    assert answer.status_code == 413


def test_a_body_with_neither_length_nor_chunks_is_counted_as_http_2_has_them(app: Flask) -> None:
    limited(app)
    body = chunked(b"x" * 11)
    del body["HTTP_TRANSFER_ENCODING"]

    assert app.test_client().post("/", environ_overrides=body).status_code == 413


def test_a_body_that_a_hook_has_read_is_counted(app: Flask) -> None:
    app.before_request(lambda: request.get_data() and None)
    limited(app)

    assert app.test_client().post("/", environ_overrides=chunked(b"x" * 11)).status_code == 413
    assert app.test_client().post("/", environ_overrides=chunked(b"x" * 10)).status_code == 200


@together(("size", "expected"), [(10, 200), (11, 413)])
def test_a_body_whose_stream_a_hook_has_asked_for_is_counted(app: Flask, size: int, expected: int) -> None:
    app.before_request(lambda: request.stream and None)
    limited(app)

    assert app.test_client().post("/", environ_overrides=chunked(b"x" * size)).status_code == expected


FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=-"
PART = b'---\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n%s\r\n-----\r\n'


@together(
    ("content_type", "body", "expected"),
    [
        (FORM, b"a=" + b"x" * 8, 200),
        (FORM, b"a=" + b"x" * 10, 413),
        (FORM, b"a=12345&a=12345", 413),
        (MULTIPART, PART % (b"", b"x" * 10), 413),
        (MULTIPART, PART % (b'; filename="f"', b"x" * 11), 413),
        (MULTIPART, PART % (b'; filename="f"', b"x"), 200),  # the parts are short
    ],
)
def test_a_form_that_a_hook_has_read_is_counted(app: Flask, content_type: str, body: bytes, expected: int) -> None:
    """As Flask-WTF reads one before every request, to find its token."""

    @app.before_request
    def find_token() -> None:
        request.form.get("token")

    limited(app)

    @app.post("/form")
    @require_request(max_body=10)
    def show() -> str:
        return str(request.files["a"].read()) if request.files else request.form["a"]

    answer = app.test_client().post("/form", environ_overrides={**chunked(body), "CONTENT_TYPE": content_type})

    assert answer.status_code == expected
    assert expected == 413 or answer.text in ("x" * 8, "b'x'")


def test_a_chunked_body_that_is_too_large_is_a_denial_like_any_other(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    denied = limited(app)
    with app.extensions["denied"][0], caplog.at_level("INFO", "flask_guard"):
        app.test_client().post("/", environ_overrides=chunked(b"x" * 11))

    assert [(each.policy, each.reason, each.code) for each in denied] == [("require_request", "body", 413)]
    assert "POST / denied by require_request (body)" in caplog.text
    records: list[Any] = [each for each in caplog.records if each.name == "flask_guard.access"]
    assert records[-1].status == 413
    assert records[-1].verdicts["require_request"] == "denied"


def test_a_view_that_reads_on_is_refused_again_and_counted_once(app: Flask) -> None:
    denied = limited(app)

    @app.post("/stubborn")
    @require_request(max_body=10)
    def stubborn() -> dict[str, int]:
        refused = 0
        for _ in range(3):
            try:
                request.stream.read()
            except Denied:
                refused += 1
        return {"refused": refused}

    with app.extensions["denied"][0]:
        answer = app.test_client().post("/stubborn", environ_overrides=chunked(b"x" * 100))

    assert answer.get_json() == {"refused": 3}
    assert len(denied) == 1


def test_report_mode_lets_the_whole_chunked_body_through(app: Flask) -> None:
    limited(app, mode="report")
    seen: list[Denied] = []
    with request_would_be_denied.connected_to(lambda _app, denial, request: seen.append(denial), app):
        answer = app.test_client().post("/", environ_overrides=chunked(b"x" * 100_000))

    assert len(answer.data) == 100_000
    assert [each.reason for each in seen] == ["body"]


def test_max_content_length_of_the_app_holds_beside_it(make_app: Callable[..., Flask]) -> None:
    app = make_app(MAX_CONTENT_LENGTH=5)
    limited(app)

    assert app.test_client().post("/", data=b"123456").status_code == 413
    assert app.test_client().post("/", environ_overrides=chunked(b"12345")).data == b"12345"


@pytest.mark.slow
@given(body=st.binary(max_size=60), most=st.integers(0, 60), sizes=st.lists(st.integers(0, 20), max_size=30))
@settings(max_examples=60)
def test_reads_of_any_size_see_the_body_or_are_refused(body: bytes, most: int, sizes: list[int]) -> None:
    """Nothing beyond the limit is handed out, and nothing below it is lost."""
    app, source, read = Flask("any"), io.BytesIO(body), bytearray()
    Guard(app, policies=[require_request(max_body=most)])

    @app.post("/")
    def reads() -> str:
        for size in sizes:
            read.extend(request.stream.read(size))
        read.extend(request.stream.read())
        return ""

    answer = app.test_client().post("/", environ_overrides={**chunked(b""), "wsgi.input": source})

    assert answer.status_code == (413 if len(body) > most else 200)
    assert answer.status_code == 413 or bytes(read) == body
    assert len(read) <= most
    assert source.tell() <= most + 1


# Under gunicorn ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[pytest.param(each, marks=SHARED) for each in ("sync", "gthread")])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return the port of a gunicorn with one worker."""
    with serving([*GUNICORN, "-k", request.param, "tests.request_rules.served:app"]) as server:
        yield server.port


def send(port: int, path: str, head: str, *pieces: bytes) -> tuple[int, bytes]:
    """Send a request of which nothing follows `pieces`, and leave the connection open; return status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        header, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in header.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", b"0")):
            body += connection.recv(65536)
        return int(header.split()[1]), body


def as_chunks(body: bytes, size: int) -> list[bytes]:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]


def body_for(path: str, size: int) -> tuple[bytes, str]:
    """Return a body that `path` can parse, and its content type."""
    if path == "/json":
        return json.dumps("x" * (size - 2)).encode(), "application/json"
    if path == "/form":
        return b"a=" + b"x" * (size - 2), "application/x-www-form-urlencoded"
    return b"x" * size, "application/octet-stream"


@pytest.mark.parametrize("path", [*PATHS, "/unread"])
def test_gunicorn_answers_413_before_any_of_the_declared_body_is_sent(port: int, path: str) -> None:
    status, body = send(port, path, f"Content-Type: application/json\r\nContent-Length: {MOST + 1}")

    assert status == 413
    assert json.loads(body)["detail"] == f"The body of a request may have {MOST} bytes at most."


@pytest.mark.parametrize(
    ("path", "size"), [("/stream", 1), *((path, size) for path in PATHS for size in (8_000, MOST + 2_000))]
)
def test_gunicorn_answers_413_as_soon_as_a_chunked_body_is_too_large(port: int, path: str, size: int) -> None:
    body, content_type = body_for(path, MOST + 2_000)

    head = f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked"
    status, answer = send(port, path, head, b"".join(as_chunks(body, size)))  # and no last chunk: the body goes on

    assert status == 413
    assert json.loads(answer)["title"] == "Request Entity Too Large"


@pytest.mark.parametrize("path", PATHS)
def test_gunicorn_serves_a_chunked_body_of_the_largest_size(port: int, path: str) -> None:
    body, content_type = body_for(path, MOST)

    head = f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked"
    status, answer = send(port, path, head, *as_chunks(body, 8_000), b"0\r\n\r\n")

    assert (status, json.loads(answer)) == (200, {"size": MOST - (2 if path in ("/json", "/form") else 0)})


def test_gunicorn_serves_the_whole_body_in_report_mode(port: int) -> None:
    body = b"x" * (3 * MOST)

    status, answer = send(port, "/report", "Transfer-Encoding: chunked", *as_chunks(body, 10_000), b"0\r\n\r\n")

    assert (status, json.loads(answer)) == (200, {"size": 3 * MOST})


def test_gunicorn_takes_the_next_request_of_a_connection_whose_body_was_refused_for_its_length(port: int) -> None:
    status, _ = send(port, "/unread", "Content-Length: 999999999999")

    assert status == 413
    assert send(port, "/unread", "Content-Length: 0")[0] == 200
