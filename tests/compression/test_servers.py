"""`compress` under gunicorn: streams stay streams, and files are whole."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import GUNICORN, serving

from . import served

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server that compresses")]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a gunicorn whose worker has threads."""
    with serving([*GUNICORN, "--threads", "4", "tests.compression.served:app"]) as server:
        yield server.port


@contextlib.contextmanager
def asked(port: int, path: str, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
    """Send a request that takes gzip."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Accept-Encoding": "gzip"})
        yield connection.getresponse()


def test_a_line_of_a_stream_can_be_read_before_the_next_one_is_made(port: int) -> None:
    decoder = zlib.decompressobj(31)
    with asked(port, "/stream") as response:
        first = b""
        while not first:
            first = decoder.decompress(response.read1())
        with asked(port, "/on", "POST") as answer:
            assert answer.status == 200
        rest = decoder.decompress(response.read()) + decoder.flush()

    assert (first, rest) == (b"first line\n", b"second line\n")
    assert response.headers["Content-Encoding"] == "gzip"


def test_a_file_arrives_whole(port: int) -> None:
    with asked(port, "/file") as response:
        body = response.read()

    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == Path(served.__file__).read_bytes()
