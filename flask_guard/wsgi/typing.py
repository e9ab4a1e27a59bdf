"""The types of WSGI (PEP 3333), and what layers hand to each other."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if sys.version_info >= (3, 11):
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
elif TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HeaderList: TypeAlias = list[tuple[str, str]]
"""Header fields as (name, value), in a list that its holder may change."""

Answer: TypeAlias = tuple[str, HeaderList, Iterable[bytes]]
"""A response: its status line such as ``"404 Not Found"``, its header fields and its body."""


class Incremental(Protocol):
    """Rewrites one body, piece by piece."""

    def feed(self, chunk: bytes, /) -> bytes:
        """Take the next piece. Return what can be sent by now, which may be nothing."""
        ...

    def flush(self) -> bytes:
        """Return what is left when the body has ended."""
        ...


class Hooks(Protocol):
    """What the machinery asks of a layer while a response passes."""

    settled_by: str

    def on_response(
        self, environ: WSGIEnvironment, status: str, headers: HeaderList, /
    ) -> tuple[str, HeaderList] | None:
        """Change the status or the header fields."""
        ...

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList, /) -> Incremental | None:
        """Return what rewrites the body; None to leave it alone."""
        ...

    def on_end(self, environ: WSGIEnvironment, ending: Ending, /) -> None:
        """See how it ended."""
        ...


class Ending:
    """How a response ended.

    :ivar status: the status line; None if the application failed before anything was sent.
    :ivar first_byte: when the first byte was handed to the server, in seconds of :func:`time.perf_counter`, if one was.
    :ivar size: the bytes of body handed to the server. A file that the server sends itself counts as a whole, or, if
        that failed, not at all.
    :ivar error: the exception that ended it, if one did.
    :ivar aborted: whether the body was given up before its end: the application failed, or the client left.
    """

    status: str | None
    first_byte: float | None
    size: int
    error: BaseException | None
    aborted: bool


__all__ = ["Answer", "Ending", "HeaderList", "Hooks", "Incremental", "StartResponse", "WSGIApplication"]
__all__ += ["WSGIEnvironment"]
