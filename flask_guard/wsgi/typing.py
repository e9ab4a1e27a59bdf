"""The types of WSGI (PEP 3333), and the types of layers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if sys.version_info >= (3, 11):
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
elif TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HeaderList: TypeAlias = list[tuple[str, str]]
"""Header fields as (name, value), in a list that may be changed."""

Answer: TypeAlias = tuple[str, HeaderList, Iterable[bytes]]
"""A response: its status line such as ``"404 Not Found"``, its header fields and its body."""


class Incremental(Protocol):
    """Rewrites one body, piece by piece."""

    def feed(self, chunk: bytes, /) -> bytes:
        """Take the next piece. Return the bytes that can be sent, or no bytes yet."""
        ...

    def flush(self) -> bytes:
        """Return the rest when the body has ended."""
        ...


class Hooks(Protocol):
    """The calls of a layer while a response passes."""

    settled_by: str

    def on_response(
        self, environ: WSGIEnvironment, status: str, headers: HeaderList, /
    ) -> tuple[str, HeaderList] | None:
        """Change the status or the header fields."""
        ...

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList, /) -> Incremental | None:
        """Return an object that rewrites the body, or None for an unchanged body."""
        ...

    def on_end(self, environ: WSGIEnvironment, ending: Ending, /) -> None:
        """Read the end of the response."""
        ...


class Ending:
    """The end of a response.

    :ivar status: the status line; None if the application failed before anything was sent.
    :ivar first_byte: the time of the first byte, in seconds of :func:`time.perf_counter`; None without a byte.
    :ivar size: the bytes of the body that the server got. A file that the server sends itself counts as a whole, or, if
        sending failed, as 0.
    :ivar error: the exception that ended the response, or None.
    :ivar aborted: whether the body stopped before its end: the application failed, or the client left.
    """

    status: str | None = None
    first_byte: float | None = None
    size: int = 0
    error: BaseException | None = None
    aborted: bool = False

    @property
    def code(self) -> int:
        """The status code; 500, as servers send, if the application failed before anything was sent."""
        code = self.status[:3] if self.status is not None else ""
        return int(code) if code.isascii() and code.isdigit() else 500

    @property
    def exception(self) -> str | None:
        """The name of the exception's class."""
        return type(self.error).__name__ if self.error is not None else None


__all__ = ["Answer", "Ending", "HeaderList", "Hooks", "Incremental", "StartResponse", "WSGIApplication"]
__all__ += ["WSGIEnvironment"]
