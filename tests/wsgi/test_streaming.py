"""Streams stay streams: nothing is read ahead, and memory does not grow with the body."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from flask_guard.wsgi import Headers, Layer, RequestID, RewriteBody, Timing, stack
from tests.cases import together
from tests.wsgi.driver import LAYERS, Body, Replacing, answering, environ_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

CHUNK, CHUNKS = 65_536, 160  # 10 MiB
STREAMING = {name: layer for name, layer in LAYERS.items() if name != "RewriteBody buffering"}
every_streaming_layer = pytest.mark.parametrize("layer", STREAMING.values(), ids=STREAMING)


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
    return lambda data: None


def peak_of(app: WSGIApplication) -> tuple[int, int]:
    """Return the bytes that went out, and the most memory that was in use meanwhile."""
    tracemalloc.start()
    try:
        body = app(environ_of(), start_response)
        sent = sum(len(chunk) for chunk in body)
        body.close()  # type: ignore[attr-defined]
        return sent, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def large() -> Iterator[bytes]:
    for number in range(CHUNKS):
        yield bytes([number]) * CHUNK


@every_streaming_layer
@together("content_type", ["text/html", "image/png"])
def test_ten_megabytes_pass_in_constant_memory(layer: Layer, content_type: str) -> None:
    sent, peak = peak_of(stack(answering(large(), content_type), layer))

    assert sent in (CHUNK * CHUNKS, CHUNK * CHUNKS + 1)
    assert peak < 20 * CHUNK


def test_ten_megabytes_pass_in_constant_memory_through_all_of_them() -> None:
    sent, peak = peak_of(stack(answering(large()), *STREAMING.values()))

    assert sent == CHUNK * CHUNKS + 1
    assert peak < 20 * CHUNK


def test_what_is_collected_is_let_go_of_once_it_is_too_much() -> None:
    layer = RewriteBody(rewrite=bytes.upper, buffer_streams=True, max_buffer=4 * CHUNK)

    sent, peak = peak_of(stack(answering(large()), layer))

    assert sent == CHUNK * CHUNKS
    assert peak < 24 * CHUNK


@every_streaming_layer
def test_nothing_is_read_before_the_server_asks_for_it(layer: Layer) -> None:
    body = Body(b"a", b"b", b"c")

    chunks = iter(stack(answering(body), layer)(environ_of(), start_response))

    assert body.read == 0
    for number in (1, 2, 3):
        assert next(chunks)
        assert body.read == number


class File:
    """A ``wsgi.file_wrapper`` whose files a server would hand to ``sendfile``."""

    def __init__(self, file: BytesIO, size: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(3), b"")

    def close(self) -> None:
        self.file.close()


NOT_LOOKING: dict[str, Layer] = {
    "Headers": Headers(add={"X-A": "b"}),
    "Timing": Timing,
    "Timing logging": Timing(logger="flask_guard.access"),
    "RequestID": RequestID,
    "RewriteBody of another type": RewriteBody(incremental=Replacing),
}


@pytest.mark.parametrize("layer", NOT_LOOKING.values(), ids=NOT_LOOKING)
def test_file_that_the_server_sends_itself_stays_one(layer: Layer) -> None:
    environ = environ_of(file_wrapper=File)
    file = BytesIO(b"data")

    body = stack(answering(File(file), "image/png", Content_Length="4"), layer)(environ, start_response)

    assert isinstance(body, File)
    body.close()
    assert file.closed


class SealedFile:
    """A ``wsgi.file_wrapper`` of a server that lets nobody set attributes on it."""

    __slots__ = ("file",)

    def __init__(self, file: BytesIO, size: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"data"])

    def close(self) -> None:
        self.file.close()


def test_file_whose_end_cannot_be_seen_is_watched_as_a_stream() -> None:
    environ = environ_of(file_wrapper=SealedFile)
    file = BytesIO()

    body = stack(answering(SealedFile(file), "image/png"), Timing(logger="flask_guard.access"))(environ, start_response)

    assert list(body) == [b"data"]
    body.close()  # type: ignore[attr-defined]
    assert file.closed
