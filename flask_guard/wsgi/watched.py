"""The observation of a response while it is sent: its size, its duration, and whether it is complete."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from .fields import has_content, value_of
from .rewritten import Rewritten, close_body
from .typing import Ending

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

    from .typing import HeaderList, Hooks, StartResponse, WSGIApplication, WSGIEnvironment

DEBUGGER_KEY = "werkzeug.debug.preserve_context"
"""The key of ``environ`` with which Werkzeug's debugger answers an exception by its own page."""

log: logging.Logger = logging.getLogger("flask_guard.wsgi")


class WatchedBody(Ending):
    """A body that passes the chunks of another body on, counts them, and reports its end once.

    A stream stays a stream. Some servers do not close bodies, so a deleted body has ended, too.
    """

    first_byte: float | None = None  # declared again for type checkers, as these are set here
    size: int = 0
    error: BaseException | None = None
    aborted: bool = False
    _body: Iterable[bytes] = ()
    _over: bool = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks():
                if chunk:
                    self._count(chunk)
                yield chunk
        except GeneratorExit:  # the server stopped
            self._stop()
            raise
        except BaseException as error:
            self._end(error, aborted=True)
            raise
        self._end(None, aborted=False)

    def __del__(self) -> None:
        self._stop()

    def close(self) -> None:
        """Close the body, once."""
        body, self._body = self._body, ()
        try:
            self._close(body)
        finally:
            self._stop()

    def take_file(self, environ: WSGIEnvironment, body: object) -> bool:
        """Return whether `body` is a file that the server may send itself. Its closing is the end then.

        The file counts as sent, unless the server closes it during the handling of an error.
        """
        wrapper = environ.get("wsgi.file_wrapper")
        if not isinstance(wrapper, type) or not isinstance(body, wrapper):
            return False
        before = sys.exc_info()[1]

        def close_and_end() -> None:
            error = sys.exc_info()[1]
            failed = error is not None and error is not before
            try:
                if close is not None:
                    close()
            finally:
                self.size += 0 if failed else self._length() or 0
                self._end(None, aborted=failed)

        close = getattr(body, "close", None)
        try:
            body.close = close_and_end  # type: ignore[attr-defined]
        except AttributeError:
            return False
        self.first_byte = perf_counter()
        return True

    def _count(self, chunk: bytes) -> None:
        self.first_byte = self.first_byte or perf_counter()
        self.size += len(chunk)

    def _chunks(self) -> Iterable[bytes]:
        return self._body

    def _close(self, body: object) -> None:
        close_body(body)

    def _length(self) -> int | None:
        """Return the announced number of bytes, or None."""
        raise NotImplementedError

    def _is_whole(self) -> bool:
        """Return whether the server has all bytes. Some servers stop before the end of the iterator."""
        length = self._length()
        return length is not None and self.size >= length

    def _tell(self) -> None:
        """Report the end of the body."""
        raise NotImplementedError

    def _stop(self) -> None:
        """End a body that the server has stopped sending."""
        if not self._over:
            self._end(None, aborted=not self._is_whole())

    def _end(self, error: BaseException | None, *, aborted: bool) -> None:
        if not self._over:
            self._over = True
            self.error, self.aborted = error, aborted
            self._tell()


def call_safely(call: Callable[..., object], *args: object) -> None:
    """Call `call`, and log an exception, such as that of a log handler: it must not interrupt the response."""
    try:
        call(*args)
    except Exception:
        log.exception("%r failed at the end of a body", call)


class Watched(WatchedBody):
    """A response that passes a layer, whose ``on_end`` is called once, with this object, at the end."""

    # Class attributes, because most responses keep the defaults, and every request runs __init__.
    _headers: HeaderList
    status: str | None = None
    _write: Callable[[bytes], object]
    _rewritten: bool = False

    def __init__(self, layer: Hooks, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._layer = layer
        self._environ = environ
        self._start_response = start_response

    def run(self, app: WSGIApplication, rewritten: bool) -> Iterable[bytes]:
        """Call `app`, and return the body for the server.

        :param rewritten: whether the layer rewrites the body, too.
        """
        try:
            if rewritten:
                self._rewritten = True
                body = Rewritten(self._layer, self._environ, self.start).run(app)
            else:
                body = app(self._environ, self.start)
        except BaseException as error:
            self._end(error, aborted=DEBUGGER_KEY not in self._environ)
            raise
        if self._layer.settled_by in self._environ:
            self._over = True
            return body
        if self.take_file(self._environ, body):
            return body
        self._body = body
        return self

    def start(
        self, status: str, headers: HeaderList, exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Stand in for the server's ``start_response``."""
        if not self._rewritten:
            headers = list(headers)  # a copy: an application may pass the same list each time
            status, headers = self._layer.on_response(self._environ, status, headers) or (status, headers)
        self.status, self._headers = status, headers
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            try:
                self._write = self._start_response(status, headers, exc_info)
            finally:
                exc_info = None  # its traceback refers to this frame
        return self.write

    def write(self, data: bytes) -> None:
        """Stand in for the server's ``write``."""
        self._write(data)
        if data:
            self._count(data)

    def _length(self) -> int | None:
        length = value_of(self._headers, "content-length") if self.status is not None else None
        return int(length) if length is not None and length.isdecimal() else None

    def _is_whole(self) -> bool:
        if self.status is None:
            return False
        return self._environ["REQUEST_METHOD"] == "HEAD" or not has_content(self.status) or super()._is_whole()

    def _tell(self) -> None:
        if self.error is not None and not self.size:
            self.status = None
        call_safely(self._layer.on_end, self._environ, self)
