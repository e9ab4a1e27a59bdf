"""The body of a Flask response: its size if it is complete, and the observation of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from flask import Request
from werkzeug.wsgi import ClosingIterator, FileWrapper

from ..typing import Response
from ..wsgi.request_ids import CURRENT
from ..wsgi.typing import Ending
from ..wsgi.watched import WatchedBody, call_safely

T = TypeVar("T")
Done: TypeAlias = "Callable[[Ending], object]"
"""Called once, with the end of the body."""


def size_if_complete(request: Request, response: Response) -> int | None:
    """Return the number of bytes that are sent, or None for a body that is made while it is sent.

    The answer to HEAD, a 204 and a 304 have no body (RFC 9110, section 6.4.1). Werkzeug passes the page of an exception
    as an iterator, although the page is complete.
    """
    if request.method == "HEAD" or response.status_code in (204, 304):
        return 0
    body = response.response
    if isinstance(body, (list, tuple)):
        return len(body[0]) if len(body) == 1 and type(body[0]) is bytes else sum(map(_size, body))
    if isinstance(body, ClosingIterator) and response.status_code >= 300:
        return response.content_length
    return None


def _size(chunk: str | bytes) -> int:
    return len(chunk.encode() if isinstance(chunk, str) else chunk)


def watch_body(request: Request, response: Response, done: Done, request_id: str | None = None) -> None:
    """Call `done` when the body of `response` has been sent or given up.

    A stream stays a stream, and a file stays a file that the server may send itself.

    :param request_id: the id for log records that are made together with the body.
    """
    body = response.response
    if not isinstance(body, ResponseBody):
        body = ResponseBody(response)
        may_be_file = response.direct_passthrough and response.content_length is not None
        may_be_file = may_be_file and not isinstance(response.response, FileWrapper)  # Werkzeug's, which is only read
        if not may_be_file or not body.take_file(request.environ, response.response):
            response.direct_passthrough = False
            response.response = body
    body.listeners.append(done)
    body.request_id = request_id or body.request_id


class ResponseBody(WatchedBody):
    """The body of a Flask response, watched for several listeners."""

    def __init__(self, response: Response) -> None:
        self.listeners: list[Done] = []
        self.request_id: str | None = None
        self._body = response.response  # type: ignore[assignment]  # its chunks may be text
        self._encoded = response.iter_encoded()
        self._announced = response.content_length

    def _chunks(self) -> Iterable[bytes]:
        return self._encoded if self.request_id is None else self._chunks_with_id()

    def _chunks_with_id(self) -> Iterator[bytes]:
        chunks = iter(self._encoded)
        while True:
            try:
                chunk = self._with_id(lambda: next(chunks))
            except StopIteration:
                return
            yield chunk

    def _close(self, body: object) -> None:
        self._with_id(lambda: super(ResponseBody, self)._close(body))

    def _with_id(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, called while the request's id is the current one."""
        before = CURRENT.get()
        if before == self.request_id or self.request_id is None:  # then the owner of the context resets the id
            return call()
        CURRENT.set(self.request_id)
        try:
            return call()
        finally:
            CURRENT.set(before)

    def _length(self) -> int | None:
        return self._announced

    def _tell(self) -> None:
        while self.listeners:  # emptied, because listeners may refer back to this body
            call_safely(self.listeners.pop(0), self)
