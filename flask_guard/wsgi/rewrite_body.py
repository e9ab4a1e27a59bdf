"""`RewriteBody`: changes bodies of some content types, whichever application they come from.

::

    def add_banner(page: bytes) -> bytes:
        return page.replace(b"</body>", b"<p>Maintenance at ten.</p></body>")

    app.wsgi_app = RewriteBody(app.wsgi_app, rewrite=add_banner)

A function gets a body as a whole, so it is for bodies whose length the application knows, up to ``max_buffer`` bytes. A
body that is streamed is not held up for it: give an :class:`~flask_guard.wsgi.Incremental` to rewrite it as it passes,
or say ``buffer_streams=True``.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .coding import CODINGS, narrowed, recoded
from .fields import value_of
from .middleware import Middleware

if TYPE_CHECKING:
    from .typing import HeaderList, Incremental, WSGIApplication, WSGIEnvironment

log: logging.Logger = logging.getLogger("flask_guard.wsgi")


class NotRewritten(RuntimeError):
    """A body that ought to be rewritten cannot be, and ``RewriteBody(strict=True)`` does not let it out as it is."""


class RewriteBody(Middleware):
    """Rewrites the bodies of some content types.

    What is rewritten gets the length that it has then, or none where it is streamed, a weak ``ETag`` (RFC 9110, section
    8.8.1), and no ``Accept-Ranges``. A ``Range`` is taken off a request unless the extension of its path is that of
    a type that is not rewritten: a part of a body cannot be. Compressed bodies are rewritten inside their coding, and
    applications are only offered those that can be: ``gzip`` and ``deflate``.

    :param rewrite: a function from a whole body to another.
    :param incremental: in place of that, a class or function that returns a new object with ``feed(bytes) -> bytes``
        and ``flush() -> bytes`` for each body. Only what that keeps is kept.
    :param content_types: whose bodies are rewritten; ``text/*`` names all of a kind.
    :param max_buffer: bytes of a body that are collected for ``rewrite`` at most. Longer ones go out as they are.
    :param buffer_streams: whether bodies without a ``Content-Length`` are collected for ``rewrite``, too. One that
        turns out to be longer than `max_buffer` goes out as it is.
    :param strict: refuse what ought to be rewritten but cannot be, with a 500, in place of sending it as it is: for a
        function that takes out what nobody may see. No ``Range`` reaches the application then.
    :raises TypeError: for an option of the wrong type, and if it is not exactly one of `rewrite` and `incremental`.
    :raises ValueError: for a content type or number that cannot be meant.
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
        """Ask the application for what can be rewritten: whole bodies, in a known coding."""
        accepted = environ.get("HTTP_ACCEPT_ENCODING")
        if accepted:
            environ["HTTP_ACCEPT_ENCODING"] = narrowed(accepted)
        if "HTTP_RANGE" in environ and not self._may_be_ranged(environ):
            del environ["HTTP_RANGE"]
            environ.pop("HTTP_IF_RANGE", None)

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
        """Return what rewrites the body; None if it is of another type, or cannot be rewritten."""
        if not self._concerns(value_of(headers, "content-type") or ""):
            return None
        coding = (value_of(headers, "content-encoding") or "identity").strip().lower()
        obstacle = self._obstacle(status, headers, coding)
        if obstacle is None:
            return recoded(self._new_rewriter(), coding)
        if self._strict:
            raise NotRewritten(f"a body that ought to be rewritten {obstacle}")
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
            return None if self._buffers_streams else "is streamed; give an incremental=…, or say buffer_streams=True"
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
            raise NotRewritten(f"a body that ought to be rewritten is longer than max_buffer, {self._most} bytes")
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
            raise ValueError(f"RewriteBody(content_types=…): {each!r} is no type such as 'text/html' or 'text/*'")
    if not types:
        raise ValueError("RewriteBody(content_types=…) names no type, so nothing would be rewritten")
    return frozenset(each.strip().lower() for each in types)


def _check_size(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"RewriteBody(max_buffer=…) must be a number of bytes, not {given!r}")
    if given < 1:
        raise ValueError(f"RewriteBody(max_buffer=…) must be 1 byte or more, not {given!r}")
    return given
