"""`RewriteBody` of compressed bodies: they are rewritten inside their coding."""

from __future__ import annotations

import gzip
import logging
import random
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from flask_compress import Compress

from flask_guard.wsgi import RewriteBody
from tests.cases import together
from tests.wsgi.driver import Body, answering, environ_of, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PAGE = b"<body>" + b"hello " * 5000 + b"</body>"
REWRITTEN = PAGE.replace(b"hello", b"goodbye")


class Goodbye:
    """Says goodbye instead of hello. (It is good enough for chunks of whole words.)"""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b"hello", b"goodbye")

    def flush(self) -> bytes:
        return b""


whole = RewriteBody(rewrite=lambda page: page.replace(b"hello", b"goodbye"), buffer_streams=True)
streaming = RewriteBody(incremental=Goodbye)
both = pytest.mark.parametrize("layer", [whole, streaming], ids=["whole", "incremental"])
CODINGS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "x-gzip": (gzip.compress, gzip.decompress),
    " GZip ": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "identity": (bytes, bytes),
}


@together("coding", CODINGS)
@together("size", [1, 1000, 10**6])
def test_compressed_page_is_rewritten_and_stays_compressed(coding: str, size: int) -> None:
    compress, decompress = CODINGS[coding]
    data = compress(PAGE)
    app = answering([data[start : start + size] for start in range(0, len(data), size)], Content_Encoding=coding)

    answer = send(whole.around(app))

    assert decompress(answer.body) == REWRITTEN
    assert (answer["Content-Encoding"], answer["Content-Length"]) == (coding, str(len(answer.body)))


def test_compressed_stream_can_be_read_as_far_as_it_was_sent() -> None:
    compressor = zlib.compressobj(wbits=31)
    parts = [compressor.compress(b"hello 1 ") + compressor.flush(zlib.Z_SYNC_FLUSH), compressor.compress(b"hello 2")]
    body = Body(parts[0], parts[1], compressor.flush())
    chunks = iter(
        streaming.around(answering(body, Content_Encoding="gzip"))(environ_of(), lambda *args: lambda data: None)
    )
    reader = zlib.decompressobj(wbits=31)

    assert reader.decompress(next(chunks)) == b"goodbye 1 "
    assert body.read == 1
    assert reader.decompress(b"".join(chunks)) == b"goodbye 2"
    assert reader.eof


def test_file_of_several_gzip_members_is_rewritten_to_its_end() -> None:
    data = gzip.compress(b"hello 1 ") + gzip.compress(b"hello 2 ") + gzip.compress(b"hello 3")

    for body in ([data], [data[:5], data[5:]], [bytes([byte]) for byte in data]):
        answer = send(whole.around(answering(body, Content_Encoding="gzip")))

        assert gzip.decompress(answer.body) == b"goodbye 1 goodbye 2 goodbye 3"


@both
def test_what_grows_a_thousandfold_is_rewritten_to_its_end(layer: RewriteBody) -> None:
    size = 900_000
    noise = random.Random(1).randbytes(1000)  # noqa: S311
    data = gzip.compress(noise + b"\0" * size + b"hello")

    answer = send(layer.around(answering([data], Content_Encoding="gzip")))

    assert gzip.decompress(answer.body) == noise + b"\0" * size + b"goodbye"


def test_bound_is_that_of_what_comes_out_of_the_coding() -> None:
    layer = RewriteBody(rewrite=lambda page: b"", max_buffer=len(PAGE) - 1)
    data = gzip.compress(PAGE)

    answer = send(layer.around(answering([data], Content_Encoding="gzip", Content_Length=str(len(data)))))

    assert gzip.decompress(answer.body) == PAGE


def test_compressed_body_that_ends_early_is_not_made_whole() -> None:
    with pytest.raises(EOFError):
        send(whole.around(answering([gzip.compress(PAGE)[:-10]], Content_Encoding="gzip")))


def test_body_in_another_coding_is_left_alone_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="flask_guard.wsgi")

    answer = send(whole.around(answering([b"hello"], Content_Encoding="br", ETag='"v1"')))

    assert (answer.body, answer["ETag"]) == (b"hello", '"v1"')
    assert caplog.messages == ["a body is not rewritten: it is in the content coding 'br'"]


@pytest.mark.parametrize(
    ("accepted", "offered"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", "GZIP;q=0.8"),
        ("br", "identity"),
        ("*", "identity"),
        ("gzip;q=0", "gzip;q=0"),
        ("identity;q=0.5", "identity;q=0.5"),
        (",,;q=1," + "x" * 100_000, "identity"),
    ],
)
def test_application_is_offered_only_codings_that_can_be_rewritten(accepted: str, offered: str) -> None:
    seen: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(environ["HTTP_ACCEPT_ENCODING"])
        return list(answering([])(environ, start_response))

    send(whole.around(app), HTTP_ACCEPT_ENCODING=accepted)

    assert seen == [offered]


def test_pages_that_flask_compresses_are_rewritten_for_every_browser() -> None:
    app = Flask("tests")
    app.add_url_rule("/", "index", lambda: PAGE.decode())
    Compress(app)

    answer = send(whole.around(app.wsgi_app), HTTP_ACCEPT_ENCODING="gzip, deflate, br, zstd")

    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == REWRITTEN
