"""The base class of layers: write the hooks, and the rules of WSGI (PEP 3333) are kept for you.

::

    class Maintenance(Middleware):
        def __init__(self, app=None, *, flag):
            super().__init__(app)
            self.flag = Path(flag)

        def on_request(self, environ):
            if self.flag.exists():
                return "503 Service Unavailable", [("Content-Type", "text/plain")], [b"Back soon."]

    app.wsgi_app = Maintenance(app.wsgi_app, flag="/run/maintenance")
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from .rewritten import Rewritten, close_body
from .watched import Watched

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from typing_extensions import Self

    from .typing import Answer, Ending, HeaderList, Incremental, StartResponse, WSGIApplication, WSGIEnvironment

    Change: TypeAlias = Callable[[WSGIEnvironment, str, HeaderList], tuple[str, HeaderList] | None]


class Middleware:
    """A layer around a WSGI application. Override the hooks that you need.

    One layer serves many requests at once: what belongs to a request goes into its ``environ``, not on ``self``.
    Bodies that no hook looks at pass as they are, so the server may go on sending files itself.

    :param app: the WSGI application. Without one it is a layer for :func:`flask_guard.wsgi.stack`.
    :raises TypeError: if `app` is no WSGI application.
    """

    settled_by: str = ""
    """A key of ``environ``: once an application has put it there, :meth:`on_end` need not be called any more."""
    _asks: ClassVar[bool] = False
    _rewrites: ClassVar[bool] = False
    _watches: bool = False
    _serve: WSGIApplication | None = None

    def __init__(self, app: WSGIApplication | None = None) -> None:
        if app is not None and (not callable(app) or is_layer_class(app)):
            name = type(self).__name__
            raise TypeError(f"{name}() goes around a WSGI application, and takes options by keyword, not {app!r}")
        self._app: WSGIApplication = _no_app if app is None else app

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._asks = cls.on_request is not Middleware.on_request
        cls._rewrites = cls.on_body is not Middleware.on_body or cls.rewriter is not Middleware.rewriter
        cls._watches = cls.on_end is not Middleware.on_end

    @property
    def app(self) -> WSGIApplication:
        """The application that this layer is around."""
        return self._app

    def on_request(self, environ: WSGIEnvironment) -> Answer | None:
        """See the request, and change its ``environ`` if need be.

        :return: None to go on, or a status line, header fields and a body in place of the application's answer.
        """
        return None

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> tuple[str, HeaderList] | None:
        """See the status line and the header fields, and change the list of those if need be.

        Called again if the application starts over because of an error (``exc_info``).

        :return: None, or another status line and other header fields.
        """
        return None

    def on_body(self, chunk: bytes) -> bytes:
        """Return what goes out in place of `chunk`. Overriding it takes ``Content-Length`` off the response.

        It sees the bytes as they are sent: compressed if the application compresses, and cut anywhere. For what
        stretches over chunks there is :meth:`rewriter`.
        """
        return chunk

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
        """Return a new object that rewrites this response's body, or None to leave that alone.

        Called after :meth:`on_response`, also for ``HEAD``, so that its header fields are those of ``GET``.
        """
        return _Each(self.on_body) if type(self).on_body is not Middleware.on_body else None

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        """See how the response ended. Called once for each request that :meth:`on_request` has seen."""

    def around(self, app: WSGIApplication) -> Self:
        """Return this layer around `app`.

        :raises ValueError: if it is around one already.
        """
        if self._app is not _no_app:
            raise ValueError(f"this {type(self).__name__} has an application already: {self._app!r}")
        bound = copy.copy(self)
        bound._serve = None
        Middleware.__init__(bound, app)
        return bound

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Serve one request, as a WSGI application."""
        return (self._serve or self._compile())(environ, start_response)

    def _compile(self) -> WSGIApplication:
        """Decide, on the first request, how all of them are served."""
        self._serve = self._serve_body if self._watches or self._rewrites else _passing(self)
        return self._serve

    def _serve_body(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        app = self._app
        if self._asks:
            answer = self.on_request(environ)
            if answer is not None:
                app = _answering(answer)
        if self._watches:
            return Watched(self, environ, start_response).run(app, self._rewrites)
        return Rewritten(self, environ, start_response).run(app)

    def _passes(self) -> bool:
        """Return whether this layer leaves bodies alone, and is served as any other."""
        return not self._watches and not self._rewrites and type(self).__call__ is Middleware.__call__


# Layers that leave bodies alone are served together with their neighbours of that kind, and what can be decided
# beforehand is: `Timing` and `Headers` together cost a quarter less so.


def _passing(outermost: Middleware) -> WSGIApplication:
    """Return what serves the requests of a layer that leaves bodies alone, and of those right inside that do."""
    layers, app = [outermost], outermost.app
    while isinstance(app, Middleware) and app._passes():
        layers.append(app)
        app = app.app
    inner, changing = app, _changes(layers)
    asking = [(each.on_request, _changes(layers[:number])) for number, each in enumerate(layers, 1) if each._asks]

    def serve(environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        app, changes = inner, changing
        for ask, changes_so_far in asking:
            answer = ask(environ)
            if answer is not None:
                app, changes = _answering(answer), changes_so_far
                break

        def start(status: str, headers: HeaderList, exc_info: OptExcInfo | None = None, /) -> Callable[[bytes], object]:
            for change in changes:
                headers = list(headers)  # each layer's own: an application may hand out the same list each time
                status, headers = change(environ, status, headers) or (status, headers)
            if exc_info is None:
                return start_response(status, headers)
            try:
                return start_response(status, headers, exc_info)
            finally:
                exc_info = None  # its traceback refers to this frame

        return app(environ, start)

    return serve


def _changes(layers: list[Middleware]) -> list[Change]:
    """Return what changes a response that comes out through `layers`, the innermost first."""
    return [each.on_response for each in reversed(layers) if type(each).on_response is not Middleware.on_response]


def is_layer_class(value: object) -> bool:
    """Return whether `value` is a class of layers, given where an application is wanted."""
    return isinstance(value, type) and issubclass(value, Middleware)


class _Each:
    """Rewrites each chunk by itself."""

    def __init__(self, rewrite: Callable[[bytes], bytes]) -> None:
        self.feed = rewrite

    def flush(self) -> bytes:
        return b""


def _no_app(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("this layer has no application: stack(app, layer) puts it around one")


def _answering(answer: Answer) -> WSGIApplication:
    """Return an application that gives `answer`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, headers, body = answer
        start_response(status, headers)
        if environ["REQUEST_METHOD"] != "HEAD":
            return [body] if isinstance(body, bytes) else body
        close_body(body)
        return []

    return app
