"""Watching a response go out: how much of it, until when, and whether to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .fields import has_content, value_of
from .rewritten import Rewritten
from .typing import Ending

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

    from .typing import HeaderList, Hooks, StartResponse, WSGIApplication, WSGIEnvironment


class Watched(Ending):
    """One response that passes a layer. The layer's ``on_end`` is called with it once, when it has ended.

    The body stays the stream it is, and a file that the server may send itself (``wsgi.file_wrapper``) stays one.
    """

    # What most responses leave as it is stands here and not in __init__, which every request goes through.
    status: str | None = None
    first_byte: float | None = None
    size: int = 0
    error: BaseException | None = None
    aborted: bool = False
    _body: Iterable[bytes] = ()
    _headers: HeaderList
    _write: Callable[[bytes], object]
    _rewritten = False
    _over = False

    def __init__(self, layer: Hooks, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._layer = layer
        self._environ = environ
        self._start_response = start_response

    def run(self, app: WSGIApplication, rewritten: bool) -> Iterable[bytes]:
        """Call `app`, and return what the server gets for a body.

        :param rewritten: whether the layer rewrites the body, too.
        """
        try:
            if rewritten:
                self._rewritten = True
                body = Rewritten(self._layer, self._environ, self.start).run(app)
            else:
                body = app(self._environ, self.start)
        except BaseException as error:
            self._end(error, aborted=True)
            raise
        if self._layer.settled_by in self._environ:
            return body
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper) and self._end_on_close(body):
            return body
        self._body = body
        return self

    def start(
        self, status: str, headers: HeaderList, exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Stand in for the server's ``start_response``."""
        if not self._rewritten:
            headers = list(headers)  # the layer's own: an application may hand out the same list each time
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
            self.first_byte = self.first_byte or perf_counter()
            self.size += len(data)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._body:
                if chunk:
                    self.first_byte = self.first_byte or perf_counter()
                    self.size += len(chunk)
                yield chunk
        except GeneratorExit:  # the server stopped
            self._stop()
            raise
        except BaseException as error:
            self._end(error, aborted=True)
            raise
        if not self._over:
            self._over = True
            self._layer.on_end(self._environ, self)

    def close(self) -> None:
        """Close the body. If it had not come to its end, the client left."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if not self._over:
                self._stop()

    def _stop(self) -> None:
        """End what the server has stopped sending. It may have all: some stop before they have seen the end."""
        all_sent = self.status is not None and (
            self._environ["REQUEST_METHOD"] == "HEAD"
            or not has_content(self.status)
            or value_of(self._headers, "content-length") == str(self.size)
        )
        self._end(None, aborted=not all_sent)

    def _end(self, error: BaseException | None, *, aborted: bool) -> None:
        if not self._over:
            self._over = True
            self.error, self.aborted = error, aborted
            if error is not None and not self.size:
                self.status = None
            self._layer.on_end(self._environ, self)

    def _end_on_close(self, body: Any) -> bool:
        """Make ``body.close()`` the end. Return whether that could be done."""
        close = getattr(body, "close", None)

        def close_and_end() -> None:
            failed = sys.exc_info()[1] is not None  # the server closes while it handles that the client left
            try:
                if close is not None:
                    close()
            finally:
                length = value_of(self._headers, "content-length") or ""
                self.size += int(length) if length.isdecimal() and not failed else 0
                self._end(None, aborted=failed)

        try:
            body.close = close_and_end
        except AttributeError:
            return False
        return True
