"""`RewriteBody`: changes the bodies of some content types, for any application.

::

    def add_banner(page: bytes) -> bytes:
        return page.replace(b"</body>", b"<p>Maintenance at ten.</p></body>")

    app.wsgi_app = RewriteBody(app.wsgi_app, rewrite=add_banner)

The function gets whole bodies of up to ``max_buffer`` bytes, if the application declares their length. A streamed body
is not collected: pass an :class:`~flask_guard.wsgi.Incremental` to rewrite a stream, or ``buffer_streams=True``.
"""

from __future__ import annotations

import logging
import mimetypes
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from .fields import value_of
from .middleware import Middleware

if TYPE_CHECKING:
    from .typing import HeaderList, Incremental, WSGIApplication, WSGIEnvironment

log: logging.Logger = logging.getLogger("flask_guard.wsgi")

CODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})
"""The content codings (RFC 9110, section 8.4.1) inside which a body can be rewritten, in lower case."""
_GZIP, _ZLIB, _EITHER = 31, 15, 47
"""The formats, as zlib numbers them."""
_PIECE = 65536


class NotRewritten(RuntimeError):
    """``RewriteBody(strict=True)`` has stopped a body that it cannot rewrite."""


class RewriteBody(Middleware):
    """Rewrites the bodies of some content types.

    A rewritten response gets its new length (a stream has none) and a weak ``ETag`` (RFC 9110, section 8.8.1), and
    loses ``Accept-Ranges``. Requests lose ``Range``, because a part of a body cannot be rewritten, unless the extension
    of the path shows another content type. Compressed bodies are decompressed and compressed again. Applications are
    only offered ``gzip`` and ``deflate``.

    :param rewrite: a function from a whole body to another.
    :param incremental: in place of `rewrite`, a class or function that returns a new object with
        ``feed(bytes) -> bytes`` and ``flush() -> bytes`` for each body. The layer then collects no bodies.
    :param content_types: the types of the bodies to rewrite; ``text/*`` stands for all of its subtypes.
    :param max_buffer: the largest body to collect for `rewrite`, in bytes. A longer body stays unchanged.
    :param buffer_streams: whether to collect bodies without a ``Content-Length`` for `rewrite`, too. A body longer than
        `max_buffer` stays unchanged.
    :param strict: whether to answer 500 in place of a body that cannot be rewritten, for a function that removes
        secrets. No ``Range`` reaches the application then.
    :raises TypeError: for an option of the wrong type, and unless one of `rewrite` and `incremental` is given.
    :raises ValueError: for an invalid content type or number.
    """

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        rewrite: Callable[[bytes], bytes] | None = None,
        incremental: Callable[[], Incremental] | None = None,
        content_types: Iterable[str] = ("text/html",),
        max_buffer: int = 1_048_576,
        buffer_streams: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__(app)
        _check_functions(rewrite, incremental)
        self._types = _check_types(content_types)
        self._rewrite = rewrite
        self._incremental = incremental
        self._max_buffer = _check_size(max_buffer)
        self._buffers_streams = bool(buffer_streams)
        self._strict = bool(strict)

    def on_request(self, environ: WSGIEnvironment) -> None:
        """Ask the application for whole bodies, in a known coding."""
        accepted = environ.get("HTTP_ACCEPT_ENCODING")
        if accepted:
            environ["HTTP_ACCEPT_ENCODING"] = _narrowed(accepted)
        if "HTTP_RANGE" in environ and not self._may_be_ranged(environ):
            del environ["HTTP_RANGE"]
            environ.pop("HTTP_IF_RANGE", None)

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
        """Return an object that rewrites the body; None for a body that stays unchanged."""
        if not self._concerns(value_of(headers, "content-type") or ""):
            return None
        coding = (value_of(headers, "content-encoding") or "identity").strip().lower()
        obstacle = self._obstacle(status, headers, coding)
        if obstacle is None:
            return _recoded(self._new_rewriter(), coding)
        if self._strict:
            raise NotRewritten(f"a body that must be rewritten {obstacle}")
        log.debug("a body is not rewritten: it %s", obstacle)
        return None

    def _new_rewriter(self) -> Incremental:
        if self._incremental is not None:
            return self._incremental()
        assert self._rewrite is not None  # noqa: S101  # one of the two was given
        return _Whole(self._rewrite, self._max_buffer, strict=self._strict)

    def _obstacle(self, status: str, headers: HeaderList, coding: str) -> str | None:
        """Return why the body cannot be rewritten, or None."""
        if status.startswith("206"):
            return "is only a part (206)"
        if coding not in CODINGS:
            return f"is in the content coding {coding!r}"
        if self._rewrite is None:
            return None
        length = value_of(headers, "content-length")
        if length is None:
            return None if self._buffers_streams else "is streamed; pass incremental=…, or buffer_streams=True"
        if not length.isdecimal() or int(length) > self._max_buffer:
            return f"is longer than max_buffer, {self._max_buffer} bytes"
        return None

    def _concerns(self, content_type: str) -> bool:
        media_type = content_type.partition(";")[0].strip().lower()
        return media_type in self._types or f"{media_type.partition('/')[0]}/*" in self._types

    def _may_be_ranged(self, environ: WSGIEnvironment) -> bool:
        guess, _ = mimetypes.guess_type(environ.get("PATH_INFO", ""))
        return not self._strict and guess is not None and not self._concerns(guess)


class _Whole:
    """Collects a body, and rewrites it as a whole."""

    def __init__(self, rewrite: Callable[[bytes], bytes], most: int, *, strict: bool) -> None:
        self._rewrite = rewrite
        self._most = most
        self._strict = strict
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        fitted = self._size <= self._most
        self._size += len(chunk)
        if self._size <= self._most:
            self._chunks.append(chunk)
            return b""
        if self._strict:
            raise NotRewritten(f"a body that must be rewritten is longer than max_buffer, {self._most} bytes")
        return self._collected() + chunk if fitted else chunk

    def flush(self) -> bytes:
        if self._size > self._most:
            return b""
        rewritten = self._rewrite(self._collected())
        if not isinstance(rewritten, bytes):
            raise TypeError(f"RewriteBody(rewrite=…) must return bytes, not {type(rewritten).__name__}")
        return rewritten

    def _collected(self) -> bytes:
        collected = b"".join(self._chunks)
        self._chunks.clear()
        return collected


# Content codings -----------------------------------------------------------------------------------------------------


def _narrowed(accept_encoding: str) -> str:
    """Return the known codings of an ``Accept-Encoding``."""
    items = [item.strip() for item in accept_encoding.split(",")]
    return ", ".join(item for item in items if item.partition(";")[0].strip().lower() in CODINGS) or "identity"


def _recoded(rewriter: Incremental, coding: str) -> Incremental:
    """Return a rewriter of bodies in `coding` that applies `rewriter` inside the coding."""
    if coding == "identity":
        return rewriter
    return _Recoded(rewriter, _ZLIB if coding == "deflate" else _GZIP)


class _Recoded:
    """Rewrites compressed bodies. Each output is flushed, so that clients can read it without delay."""

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
        """Yield the decompressed `chunk` in pieces of a bounded size."""
        while chunk:
            if self._decompressor.eof:  # a file may have several members (RFC 1952, section 2.2)
                self._decompressor = zlib.decompressobj(_EITHER)
            yield self._decompressor.decompress(chunk, _PIECE)
            chunk = self._decompressor.unconsumed_tail or self._decompressor.unused_data


# Options -------------------------------------------------------------------------------------------------------------


def _check_functions(rewrite: object, incremental: object) -> None:
    if (rewrite is None) == (incremental is None):
        raise TypeError("RewriteBody() takes one of rewrite=… (bytes to bytes) and incremental=… (makes rewriters)")
    if rewrite is not None and (not callable(rewrite) or isinstance(rewrite, type)):
        raise TypeError(f"RewriteBody(rewrite=…) must be a function from bytes to bytes, not {rewrite!r}")
    if incremental is not None and not callable(incremental):
        raise TypeError(f"RewriteBody(incremental=…) must make an object for each body, not be one: {incremental!r}")


def _check_types(given: object) -> frozenset[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"RewriteBody(content_types=…) must be a list of types such as 'text/html', not {given!r}")
    types = list(given)
    for each in types:
        if not isinstance(each, str) or each.count("/") != 1 or ";" in each or not all(each.split("/")):
            raise ValueError(f"RewriteBody(content_types=…): {each!r} is not a type such as 'text/html' or 'text/*'")
    if not types:
        raise ValueError("RewriteBody(content_types=…) is empty: name a type such as 'text/html'")
    return frozenset(each.strip().lower() for each in types)


def _check_size(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"RewriteBody(max_buffer=…) must be a number of bytes, not {given!r}")
    if given < 1:
        raise ValueError(f"RewriteBody(max_buffer=…) must be 1 byte or more, not {given!r}")
    return given
