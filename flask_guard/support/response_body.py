"""Watching a streamed body go out: how much, from when until when, and whether to its end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from werkzeug.wsgi import ClosingIterator, FileWrapper

from ..wsgi.request_ids import CURRENT

if TYPE_CHECKING:
    from ..typing import Response

log: logging.Logger = logging.getLogger("flask_guard")

Done: TypeAlias = Callable[[int, "BaseException | None", bool], None]
"""Called once with the bytes handed to the server, the exception that ended the body, and whether it ended early."""


def size_if_complete(response: Response) -> int | None:
    """Return the size of a body that is there as a whole, in bytes; None for one that is made while it is sent.

    Werkzeug hands the page of an exception over as an iterator, although it is complete.
    """
    body = response.response
    if isinstance(body, (list, tuple)):
        return len(body[0]) if len(body) == 1 and type(body[0]) is bytes else sum(map(_size, body))
    if isinstance(body, ClosingIterator) and response.status_code >= 300:
        return response.content_length
    return None


def _size(chunk: str | bytes) -> int:
    return len(chunk.encode() if isinstance(chunk, str) else chunk)


def watch_body(response: Response, done: Done, request_id: str | None = None) -> WatchedBody | None:
    """Call `done` when the body of `response` has been sent, or given up.

    The body stays the stream it is. A file that the server may send itself (``wsgi.file_wrapper``) stays one, too: for
    that None is returned, and its size is 0 if the server failed to send it, since how far it came is not known.

    :param request_id: the id that log records get which are made while the body is.
    """
    size = response.content_length
    body = response.response
    is_file = response.direct_passthrough and size is not None and not isinstance(body, FileWrapper)
    if is_file and _call_on_close(body, lambda failed: done(0 if failed else size or 0, None, failed)):
        return None
    response.direct_passthrough = False
    watched = response.response = WatchedBody(body, done, size, request_id)
    return watched


def _call_on_close(body: Any, call: Callable[[bool], None]) -> bool:
    """Make ``body.close()`` call `call` too, with whether the server closes it because it failed.

    Return whether it could be done.
    """
    close = getattr(body, "close", None)
    before = sys.exc_info()[1]

    def close_and_call() -> None:
        error = sys.exc_info()[1]
        try:
            if close is not None:
                close()
        finally:
            call(error is not None and error is not before)

    try:
        body.close = close_and_call
    except AttributeError:
        return False
    return True


class WatchedBody:
    """An iterable that passes another's chunks on, counts them, and notes when the first one went out.

    :ivar first_byte_at: when that was, in seconds of :func:`time.perf_counter`; None before.
    """

    def __init__(
        self, body: Iterable[Any], done: Done, length: int | None = None, request_id: str | None = None
    ) -> None:
        self.first_byte_at: float | None = None
        self._body = body
        self._chunks: Iterator[Any] | None = None
        self._done: Done | None = done
        self._length = length
        self._request_id = request_id
        self._size = 0

    def __iter__(self) -> Iterator[Any]:
        """Go through the chunks. A generator is told when it is dropped: not every server closes bodies."""
        try:
            while True:
                try:
                    chunk = next(self)
                except StopIteration:
                    return
                yield chunk
        except GeneratorExit:
            if self._done is not None:
                self.close()
            raise

    def __next__(self) -> Any:
        try:
            chunk = self._with_id(self._next)
        except StopIteration:
            self._finish(None, aborted=False)
            raise
        except BaseException as error:
            self._finish(error, aborted=True)
            raise
        if chunk:
            self._size += _size(chunk)
            if self.first_byte_at is None:
                self.first_byte_at = perf_counter()
        return chunk

    def close(self) -> None:
        """Close the body, once. If its end has not been reached, the client left."""
        body, self._body = self._body, ()
        try:
            close = getattr(body, "close", None)
            if close is not None:
                self._with_id(close)
        finally:
            self._finish(None, aborted=self._length is None or self._size < self._length)

    def _next(self) -> Any:
        if self._chunks is None:
            self._chunks = iter(self._body)
        return next(self._chunks)

    def _with_id(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns, called while the request's id is the current one."""
        before = CURRENT.get()
        if before == self._request_id or self._request_id is None:  # what kept the request's context resets it
            return call()
        CURRENT.set(self._request_id)
        try:
            return call()
        finally:
            CURRENT.set(before)

    def _finish(self, error: BaseException | None, *, aborted: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            try:
                done(self._size, error, aborted)
            except Exception:  # such as that of a log handler: no reason to break the response off
                log.exception("what was to follow a body failed")
