"""`RewriteBody`: what is rewritten, what is left alone, and what the response says of itself afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from flask_guard.wsgi import Middleware, NotRewritten, RewriteBody, stack
from tests.cases import together
from tests.wsgi.driver import Body, answering, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PAGE = b"<html><body>hello</body></html>"
REWRITTEN = b"<html><body>hello<p>Down at ten.</p></body></html>"


def add_banner(page: bytes) -> bytes:
    return page.replace(b"</body>", b"<p>Down at ten.</p></body>")


class Banner:
    """Adds the banner even where the tag that it goes before is cut in two."""

    TAG = b"</body>"

    def __init__(self) -> None:
        self.kept = b""

    def feed(self, chunk: bytes) -> bytes:
        data = add_banner(self.kept + chunk)
        most = next((n for n in range(len(self.TAG) - 1, 0, -1) if data.endswith(self.TAG[:n])), 0)
        self.kept = data[len(data) - most :]
        return data[: len(data) - most]

    def flush(self) -> bytes:
        return self.kept


whole = RewriteBody(rewrite=add_banner)
streaming = RewriteBody(incremental=Banner)
both = pytest.mark.parametrize("layer", [whole, streaming], ids=["whole", "incremental"])


def page(*chunks: bytes, content_type: str = "text/html; charset=utf-8", **headers: str) -> WSGIApplication:
    return answering(chunks or (PAGE,), content_type, Content_Length=str(len(PAGE)), **headers)


# What is rewritten -----------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_page_is_rewritten_wherever_it_is_cut(layer: RewriteBody, size: int) -> None:
    chunks = [PAGE[start : start + size] for start in range(0, len(PAGE), size)]

    assert send(layer.around(page(*chunks))).body == REWRITTEN


def test_length_is_that_of_what_goes_out() -> None:
    assert send(whole.around(page()))["Content-Length"] == str(len(REWRITTEN))


def test_length_is_not_given_where_it_is_not_known_in_time() -> None:
    assert send(streaming.around(page()))["Content-Length"] is None


@both
@together(
    "name", ["Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"]
)  # fmt: skip
def test_what_the_application_said_of_its_own_bytes_is_taken_off(layer: RewriteBody, name: str) -> None:
    assert send(layer.around(page(content_type="text/html", **{name.replace("-", "_"): "x"})))[name] is None


@both
@pytest.mark.parametrize(("etag", "expected"), [('"v1"', 'W/"v1"'), ('W/"v1"', 'W/"v1"')])
def test_entity_tag_becomes_a_weak_one(layer: RewriteBody, etag: str, expected: str) -> None:
    assert send(layer.around(page(ETag=etag)))["ETag"] == expected


@pytest.mark.parametrize(
    ("content_types", "content_type", "rewritten"),
    [
        (["text/html"], "text/html", True),
        (["text/html"], "TEXT/HTML;charset=x", True),
        (["text/html"], "text/html2", False),
        (["text/html"], "application/xhtml+xml", False),
        (["text/html", "Application/XHTML+xml"], "application/xhtml+xml", True),
        (["text/*"], "text/plain", True),
        (["text/*"], "texts/plain", False),
        (["text/html"], "", False),
    ],
)
def test_bodies_of_the_content_types_that_were_named_are_rewritten(
    content_types: list[str], content_type: str, rewritten: bool
) -> None:
    layer = RewriteBody(rewrite=add_banner, content_types=content_types)

    answer = send(layer.around(page(content_type=content_type, ETag='"v1"')))

    assert answer.body == (REWRITTEN if rewritten else PAGE)
    assert answer["ETag"] == ('W/"v1"' if rewritten else '"v1"')
    assert answer["Content-Length"] == str(len(answer.body))


def test_body_of_another_type_is_handed_on_as_it_is() -> None:
    body = Body(b"data")

    assert (
        whole.around(answering(body, "image/png"))(  # as the object that it is, for servers that know it
            {"REQUEST_METHOD": "GET"}, lambda status, headers, exc_info=None, /: lambda data: None
        )
        is body
    )


def test_error_page_that_replaces_a_page_is_rewritten_in_its_place() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "9")])
        yield b"<body>half"
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oh", [("Content-Type", "text/html"), ("Content-Length", "12")], sys.exc_info())
        yield b"sorry</body>"

    answer = send(whole.around(app))

    assert (answer.status, answer.body) == ("500 Oh", b"sorry<p>Down at ten.</p></body>")


@both
def test_error_page_that_replaces_what_is_not_rewritten_does_not_pass_as_it_is(layer: RewriteBody) -> None:
    def body(start_response: StartResponse) -> Iterator[bytes]:
        try:
            raise ZeroDivisionError("mine")
        except ZeroDivisionError:
            start_response("500 Oh", [("Content-Type", "text/html"), ("Content-Length", "31")], sys.exc_info())
        yield PAGE

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "image/png")])
        return body(start_response)

    with pytest.raises(ZeroDivisionError, match="mine"):
        send(layer.around(app))


def test_function_that_fails_fails_before_anything_was_sent() -> None:
    with pytest.raises(ZeroDivisionError):
        send(RewriteBody(page(), rewrite=lambda page: bytes(1 // 0)))
    with pytest.raises(TypeError, match="must return bytes, not str"):
        send(RewriteBody(page(), rewrite=lambda page: page.decode()))  # type: ignore[arg-type,return-value]


# Bounds ----------------------------------------------------------------------------------------------------------


def test_streamed_page_is_not_collected_unless_asked() -> None:
    body = Body(PAGE[:20], PAGE[20:])
    chunks = iter(stack(answering(body), whole)({"REQUEST_METHOD": "GET"}, lambda *args: lambda data: None))

    assert next(chunks) == PAGE[:20]
    assert body.read == 1


def test_streamed_page_is_collected_if_asked() -> None:
    layer = RewriteBody(rewrite=add_banner, buffer_streams=True)

    answer = send(layer.around(answering(Body(PAGE[:20], PAGE[20:]))))

    assert (answer.body, answer["Content-Length"]) == (REWRITTEN, str(len(REWRITTEN)))


@pytest.mark.parametrize(("most", "rewritten"), [(len(PAGE) - 1, False), (len(PAGE), True)])
@pytest.mark.parametrize("streamed", [False, True])
def test_page_beyond_the_bound_goes_out_as_it_is(most: int, rewritten: bool, streamed: bool) -> None:
    layer = RewriteBody(rewrite=add_banner, max_buffer=most, buffer_streams=True)
    chunks = [PAGE[:9], PAGE[9:-1], PAGE[-1:]]

    answer = send(layer.around(answering(chunks) if streamed else page(*chunks)))

    assert answer.body == (REWRITTEN if rewritten else PAGE)


def test_page_that_is_longer_than_it_said_goes_out_as_it_is() -> None:
    layer = RewriteBody(rewrite=add_banner, max_buffer=50)

    assert send(layer.around(page(PAGE, PAGE, PAGE))).body == PAGE * 3


# Strict ----------------------------------------------------------------------------------------------------------


strict = RewriteBody(rewrite=add_banner, strict=True, max_buffer=100)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (answering(Body(PAGE)), "is streamed"),
        (answering([PAGE], Content_Length="101"), "longer than max_buffer"),
        (answering([PAGE] * 9, Content_Length="99"), "longer than max_buffer"),
        (answering([PAGE], Content_Length="x"), "longer than max_buffer"),
        (page(Content_Encoding="br"), "content coding 'br'"),
        (answering([PAGE], status="206 Partial Content"), "only a part"),
    ],
)
def test_strict_lets_nothing_out_that_ought_to_be_rewritten(app: WSGIApplication, message: str) -> None:
    with pytest.raises(NotRewritten, match=message):
        send(strict.around(app))


def test_strict_rewrites_what_it_can_and_leaves_alone_what_it_should() -> None:
    assert send(strict.around(page())).body == REWRITTEN
    assert send(strict.around(answering(Body(PAGE), "image/png"))).body == PAGE


# Options ---------------------------------------------------------------------------------------------------------


@together(
    ("options", "error", "message"),
    [
        ({}, TypeError, "takes one of rewrite=… .* and incremental=…"),
        ({"rewrite": add_banner, "incremental": Banner}, TypeError, "takes one of"),
        ({"rewrite": Banner}, TypeError, "must be a function from bytes to bytes"),
        ({"rewrite": b"x"}, TypeError, "must be a function from bytes to bytes"),
        ({"incremental": Banner()}, TypeError, "must make an object for each body, not be one"),
        ({"rewrite": add_banner, "content_types": "text/html"}, TypeError, "must be a list of types"),
        ({"rewrite": add_banner, "content_types": []}, ValueError, "is empty: name a type"),
        ({"rewrite": add_banner, "content_types": ["html"]}, ValueError, "'html' is not a type"),
        ({"rewrite": add_banner, "content_types": ["text/"]}, ValueError, "'text/' is not a type"),
        ({"rewrite": add_banner, "content_types": ["text/html; charset=x"]}, ValueError, "is not a type"),
        ({"rewrite": add_banner, "content_types": [5]}, ValueError, "5 is not a type"),
        ({"rewrite": add_banner, "max_buffer": 0}, ValueError, "1 byte or more"),
        ({"rewrite": add_banner, "max_buffer": "1M"}, TypeError, "a number of bytes"),
        ({"rewrite": add_banner, "max_buffer": True}, TypeError, "a number of bytes"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RewriteBody(**options)


def test_class_that_needs_options_is_no_layer_by_itself() -> None:
    with pytest.raises(TypeError, match="takes one of"):
        stack(page(), RewriteBody)
    assert isinstance(stack(page(), whole), Middleware)
