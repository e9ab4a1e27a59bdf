"""A WSGI server for tests: it does what PEP 3333 says, and tells what it saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

from werkzeug.middleware.lint import LintMiddleware

from flask_guard.wsgi import Headers, Layer, Middleware, RequestID, RewriteBody, Timing

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Replacing:
    """An incremental rewriter that replaces one letter, and adds something at the end."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b"o", b"0")

    def flush(self) -> bytes:
        return b"!"


class Shouting(Middleware):
    """Rewrites chunk by chunk."""

    def on_body(self, chunk: bytes) -> bytes:
        return chunk.upper()


LAYERS: dict[str, Layer] = {
    "Middleware": Middleware,
    "Headers": Headers(set={"X-Frame-Options": "DENY"}, default={"Cache-Control": "no-store"}, remove=["X-Powered-By"]),
    "Timing": Timing,
    "Timing logging": Timing(logger="flask_guard.access"),
    "RequestID": RequestID,
    "RewriteBody": RewriteBody(rewrite=lambda page: page.replace(b"o", b"0")),
    "RewriteBody incremental": RewriteBody(incremental=Replacing, content_types=["text/*", "application/*"]),
    "RewriteBody buffering": RewriteBody(rewrite=bytes.upper, content_types=["text/*"], buffer_streams=True),
    "on_body": Shouting,
}
"""A layer of each kind."""


class Body:
    """A body that counts how often it was closed, and how far it was read."""

    def __init__(self, *chunks: bytes, fails: BaseException | None = None) -> None:
        self._chunks = iter(chunks)
        self._fails = fails
        self.read = 0
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for chunk in self._chunks:
            self.read += 1
            return chunk
        if self._fails is not None:
            raise self._fails
        raise StopIteration

    def close(self) -> None:
        self.closed += 1


@dataclass
class Answer:
    """What a client got."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def __getitem__(self, name: str) -> str | None:
        values = [value for each, value in self.headers if each.lower() == name.lower()]
        return ", ".join(values) if values else None


class Server:
    """Serves one request with `app`. The client hangs up after `chunks` of the body, if that is given."""

    def __init__(self, app: WSGIApplication, *, chunks: int | None = None) -> None:
        self.answer = Answer()
        self._app = app
        self._most = chunks
        self._sent_headers = False

    def serve(self, environ: WSGIEnvironment) -> Answer:
        body = self._app(environ, self.start_response)
        try:
            for number, chunk in enumerate(body):
                if number == self._most:
                    break
                self.write(chunk)
            if not self._sent_headers:
                self.write(b"")
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return self.answer

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if exc_info is not None and self._sent_headers and exc_info[1] is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info is not None or not self.answer.status, "start_response was called twice"
        self.answer.status, self.answer.headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        assert self.answer.status, "the body began before the response"
        self._sent_headers = self._sent_headers or bool(data)
        self.answer.chunks.append(data)


def environ_of(path: str = "/", method: str = "GET", file_wrapper: type = FileWrapper, **more: str) -> WSGIEnvironment:
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        **more,
    }
    setup_testing_defaults(environ)
    environ["wsgi.input"] = BytesIO()
    environ["wsgi.file_wrapper"] = file_wrapper
    return environ


def send(app: WSGIApplication, path: str = "/", method: str = "GET", **environ: str) -> Answer:
    """Send one request to `app`; return what comes back."""
    return Server(app).serve(environ_of(path, method) | environ)


def linted(app: WSGIApplication) -> WSGIApplication:
    """Return `app` in Werkzeug's checker, whose complaints are warnings, and so errors here."""
    checked: WSGIApplication = LintMiddleware(app)
    return checked


Check = Callable[["WSGIApplication"], "WSGIApplication"]
CHECKS: dict[str, Check] = {"wsgiref.validate": validator, "werkzeug.middleware.lint": linted}
"""What complains of an application, or a server, that does not keep the rules. (One inside the other, they complain of
each other.)
"""


def answering(
    body: Iterable[bytes], content_type: str = "text/html", status: str = "200 OK", **headers: str
) -> WSGIApplication:
    """Return an application that answers with `body`. Underscores in the names of `headers` are dashes."""
    fields = [("Content-Type", content_type)] if content_type else []
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(fields))
        return body

    return app
