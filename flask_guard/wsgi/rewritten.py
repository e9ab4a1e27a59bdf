"""A response that is rewritten while it is sent, with corrected header fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from .fields import OF_BODY, drop, has_content, value_of

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

    from .typing import HeaderList, Hooks, Incremental, StartResponse, WSGIApplication, WSGIEnvironment


class Rewritten:
    """One response whose body a layer may rewrite.

    A rewritten response starts with its first bytes. If they are the whole body, the length is known; otherwise the
    response has no length.
    """

    _body: Iterable[bytes] = ()
    _chunks: Iterator[bytes] | None = None
    _rewriter: Incremental | None = None
    _pending: tuple[str, HeaderList, OptExcInfo | None] | None = None
    _started: bool = False
    _untouched: bool = False
    _over: bool = False

    def __init__(self, layer: Hooks, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._layer = layer
        self._environ = environ
        self._start_response = start_response

    def run(self, app: WSGIApplication) -> Iterable[bytes]:
        """Call `app`, and return the body for the server: the application's own if no rewriter changes it."""
        body = app(self._environ, self.start)
        self._untouched = self._started and self._pending is None and self._rewriter is None
        if self._untouched:
            return body
        self._body = body
        return self

    def start(
        self, status: str, headers: HeaderList, exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Stand in for the server's ``start_response``."""
        headers = list(headers)
        status, headers = self._layer.on_response(self._environ, status, headers) or (status, headers)
        self._rewriter = self._find_rewriter(status, headers)
        if self._untouched and self._rewriter is not None and exc_info is not None and exc_info[1] is not None:
            # The server has the body already, and an error page must not pass unchanged.
            raise exc_info[1].with_traceback(exc_info[2])
        begun = self._started and self._pending is None
        self._started = True
        self._pending = (status, headers, exc_info)
        exc_info = None
        if self._rewriter is None or begun:
            self._begin()
        return self.write

    def write(self, data: bytes) -> None:
        """Stand in for the server's ``write``."""
        output = data if self._rewriter is None else self._rewriter.feed(data)
        if output or self._pending is None:
            self._begin()
            self._write(output)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._body)
        while not self._over:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                return self._last()
            output = chunk if self._rewriter is None else self._rewriter.feed(chunk)
            if output or self._pending is None:
                self._begin()
                return output
        raise StopIteration

    def close(self) -> None:
        body, self._body = self._body, ()
        self._pending = None
        close_body(body)

    def _last(self) -> bytes:
        self._over = True
        output = b"" if self._rewriter is None else self._rewriter.flush()
        self._begin(len(output))
        if not output:
            raise StopIteration
        return output

    def _begin(self, length: int | None = None) -> None:
        """Pass the status and the header fields to the server, once."""
        if self._pending is None:
            return
        status, headers, exc_info = self._pending
        self._pending = None
        if length is not None:
            headers.append(("Content-Length", str(length)))
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            try:
                self._write = self._start_response(status, headers, exc_info)
            finally:
                exc_info = None  # its traceback refers to this frame

    def _find_rewriter(self, status: str, headers: HeaderList) -> Incremental | None:
        if not has_content(status):
            self._describe_known(status, headers)
            return None
        rewriter = self._layer.rewriter(self._environ, status, headers)
        if rewriter is None:
            return None
        drop(headers, OF_BODY)
        _weaken_etag(headers)
        return None if self._environ["REQUEST_METHOD"] == "HEAD" else rewriter

    def _describe_known(self, status: str, headers: HeaderList) -> None:
        """Weaken the entity tag of a 304 if the client has the weak tag."""
        etag = value_of(headers, "etag")
        if status.startswith("304") and etag and f"W/{etag}" in self._environ.get("HTTP_IF_NONE_MATCH", ""):
            _weaken_etag(headers)


def _weaken_etag(headers: HeaderList) -> None:
    """Make the entity tag a weak one: same meaning, other bytes (RFC 9110, section 8.8.1)."""
    for index, (name, value) in enumerate(headers):
        if name.lower() == "etag" and value.startswith('"'):
            headers[index] = (name, f"W/{value}")


def close_body(body: object) -> None:
    """Close `body` if it can be closed."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
