"""Compression of a stream while it is sent, so that each chunk arrives without delay."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

CODINGS = ("br", "gzip", "deflate")
"""The codings in which streams are sent."""
_GZIP, _ZLIB = 31, 15


@dataclass(frozen=True, slots=True)
class Encoder:
    """The compression of one body.

    :ivar feed: takes a chunk, and returns the compressed bytes so far.
    :ivar flush: returns the bytes that a client needs to read every chunk so far.
    :ivar finish: returns the end of the body.
    """

    feed: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    finish: Callable[[], bytes]


def encoder(coding: str, config: Mapping[str, Any]) -> Encoder:
    """Return an encoder, with the level that Flask-Compress is configured to use."""
    if coding == "br":
        return _brotli(config["COMPRESS_BR_LEVEL"])
    level: int = config["COMPRESS_LEVEL" if coding == "gzip" else "COMPRESS_DEFLATE_LEVEL"]
    made = zlib.compressobj(level, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    return Encoder(made.compress, lambda: made.flush(zlib.Z_SYNC_FLUSH), made.flush)


def _brotli(level: int) -> Encoder:
    try:
        brotli: Any = import_module("brotlicffi")
    except ImportError:  # Flask-Compress brings one of the two
        brotli = import_module("brotli")
    made = brotli.Compressor(quality=level)
    return Encoder(made.process, made.flush, made.finish)


class CompressedStream:
    """The chunks of a body, compressed one by one.

    :param body: the body, which is closed with this.
    :param chunks: its chunks as bytes.
    :param at_once: whether a client can read each chunk when it arrives.
    """

    def __init__(self, body: object, chunks: Iterable[bytes], encoder: Encoder, *, at_once: bool) -> None:
        self._body = body
        self._chunks = self._compressed(chunks, encoder, at_once=at_once)

    @staticmethod
    def _compressed(chunks: Iterable[bytes], encoder: Encoder, *, at_once: bool) -> Iterator[bytes]:
        for chunk in chunks:
            compressed = encoder.feed(chunk)
            if at_once and chunk:
                compressed += encoder.flush()
            if compressed:
                yield compressed
        yield encoder.finish()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
