"""Watching a streamed body go out: how much, until when, and whether to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from ..typing import Response

Done: TypeAlias = Callable[[int, "BaseException | None", bool], None]
"""Called once with the bytes sent, the exception that ended the body, and whether it ended early."""


def size_if_complete(response: Response) -> int | None:
    """Return the size of a body that is there as a whole, in bytes; None for one that is made while it is sent.

    Werkzeug hands the page of an exception over as an iterator, although it is complete.
    """
    body = response.response
    if isinstance(body, (list, tuple)):
        return sum(map(len, body))
    if isinstance(body, ClosingIterator) and response.status_code >= 300:
        return response.content_length
    return None


def watch_body(response: Response, done: Done) -> None:
    """Call `done` when the body of `response` has been sent, or given up.

    The body stays the stream it is. A file that the server may send itself (``wsgi.file_wrapper``) stays one, too.
    """
    size = response.content_length
    is_file = response.direct_passthrough and size is not None
    if is_file and _call_on_close(response.response, lambda: done(size or 0, None, False)):
        return
    response.direct_passthrough = False
    response.response = WatchedBody(response.response, done)


def _call_on_close(body: Any, call: Callable[[], None]) -> bool:
    """Make ``body.close()`` call `call` too. Return whether it could be done."""
    close = getattr(body, "close", None)

    def close_and_call() -> None:
        try:
            if close is not None:
                close()
        finally:
            call()

    try:
        body.close = close_and_call
    except AttributeError:
        return False
    return True


class WatchedBody:
    """An iterable that passes another's chunks on, and counts them."""

    def __init__(self, body: Iterable[Any], done: Done) -> None:
        self._body = body
        self._chunks: Iterator[Any] | None = None
        self._done: Done | None = done
        self._size = 0

    def __iter__(self) -> WatchedBody:
        return self

    def __next__(self) -> Any:
        if self._chunks is None:
            self._chunks = iter(self._body)
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._finish(None, aborted=False)
            raise
        except BaseException as error:
            self._finish(error, aborted=True)
            raise
        self._size += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the body. If its end has not been reached, the client left."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._finish(None, aborted=True)

    def _finish(self, error: BaseException | None, *, aborted: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._size, error, aborted)
