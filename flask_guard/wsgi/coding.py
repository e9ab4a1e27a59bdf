"""Content codings (RFC 9110, section 8.4.1) that a body can be taken out of, rewritten, and put back into."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .typing import Incremental

CODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})
"""The codings that :func:`recoded` knows, in lower case."""

_GZIP, _ZLIB, _EITHER = 31, 15, 47
_PIECE = 65536


def narrowed(accept_encoding: str) -> str:
    """Return what of an ``Accept-Encoding`` names known codings."""
    items = [item.strip() for item in accept_encoding.split(",")]
    return ", ".join(item for item in items if item.partition(";")[0].strip().lower() in CODINGS) or "identity"


def recoded(rewriter: Incremental, coding: str) -> Incremental:
    """Return a rewriter of bodies in `coding` that does to them what `rewriter` does to plain ones."""
    if coding == "identity":
        return rewriter
    return _Recoded(rewriter, _ZLIB if coding == "deflate" else _GZIP)


class _Recoded:
    """Rewrites what is compressed. What goes out early can be read early: each output is flushed to its last byte."""

    def __init__(self, rewriter: Incremental, format: int) -> None:
        self._rewriter = rewriter
        self._compressor = zlib.compressobj(wbits=format)
        self._decompressor = zlib.decompressobj(_EITHER)
        self._fed = False

    def feed(self, chunk: bytes) -> bytes:
        self._fed = self._fed or bool(chunk)
        outputs = [self._compressor.compress(piece) for piece in self._rewritten(chunk)]
        return b"".join(outputs) + self._compressor.flush(zlib.Z_SYNC_FLUSH) if outputs else b""

    def flush(self) -> bytes:
        if self._fed and not self._decompressor.eof:
            raise EOFError("the application's compressed body ended before its end")
        return self._compressor.compress(self._rewriter.flush()) + self._compressor.flush()

    def _rewritten(self, chunk: bytes) -> Iterator[bytes]:
        for piece in self._decompressed(chunk):
            output = self._rewriter.feed(piece)
            if output:
                yield output

    def _decompressed(self, chunk: bytes) -> Iterator[bytes]:
        """Go through what `chunk` holds in pieces of a bounded size, whatever it grows to."""
        while chunk:
            if self._decompressor.eof:  # a file may have several members (RFC 1952, section 2.2)
                self._decompressor = zlib.decompressobj(_EITHER)
            yield self._decompressor.decompress(chunk, _PIECE)
            chunk = self._decompressor.unconsumed_tail or self._decompressor.unused_data
