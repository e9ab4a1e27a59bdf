"""The base class of layers, and `stack`. Write the hooks; the class keeps the rules of WSGI (PEP 3333).

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

Layer: TypeAlias = "Middleware | Callable[[WSGIApplication], WSGIApplication]"
"""A layer without an application, a class of layers, or a callable that takes a WSGI application and returns one."""


class Middleware:
    """A layer around a WSGI application. Override the hooks that you need.

    One layer serves many requests at the same time: keep the values of a request in its ``environ``, not on ``self``. A
    body that no hook needs passes unchanged, so the server may send a file directly.

    :param app: the WSGI application; None for a layer that :func:`flask_guard.wsgi.stack` puts around one.
    :raises TypeError: if `app` is not a WSGI application.
    """

    settled_by: str = ""
    """A key of ``environ``. If the application sets it, :meth:`on_end` need not be called."""
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
        """Read the request, or change its ``environ``.

        :return: None to call the application; or a status line, header fields and a body, to answer in its place.
        """
        return None

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> tuple[str, HeaderList] | None:
        """Read the status line and the header fields, or change the list of fields.

        Called again if the application restarts its response because of an error (``exc_info``).

        :return: None, or another status line and other header fields.
        """
        return None

    def on_body(self, chunk: bytes) -> bytes:
        """Return the bytes to send in place of `chunk`. Such a response has no ``Content-Length``.

        The chunk holds the bytes that would be sent: compressed if the application compresses, and cut anywhere. To
        change text across chunks, override :meth:`rewriter`.
        """
        return chunk

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
        """Return a new object that rewrites the body of this response, or None for an unchanged body.

        Called after :meth:`on_response`, also for ``HEAD``, which gets the header fields of ``GET``.
        """
        return _Each(self.on_body) if type(self).on_body is not Middleware.on_body else None

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        """Read the end of the response. Called once for each request after :meth:`on_request`."""

    def around(self, app: WSGIApplication) -> Self:
        """Return this layer around `app`.

        :raises ValueError: if the layer is around an application already.
        """
        if self._app is not _no_app:
            raise ValueError(f"this {type(self).__name__} has an application already: {self._app!r}. Make another")
        bound = copy.copy(self)
        bound._serve = None
        Middleware.__init__(bound, app)
        return bound

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Serve one request, as a WSGI application."""
        return (self._serve or self._compile())(environ, start_response)

    def _compile(self) -> WSGIApplication:
        """Choose, at the first request, the way in which all requests are served."""
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
        """Return whether this layer changes no bodies, and does not override ``__call__``."""
        return not self._watches and not self._rewrites and type(self).__call__ is Middleware.__call__


# Putting layers around an application --------------------------------------------------------------------------------


def stack(app: WSGIApplication, *layers: Layer) -> WSGIApplication:
    """Return `app` with `layers` around it. The first layer is the outermost, and sees the request first.

    ::

        app.wsgi_app = stack(app.wsgi_app, RequestID, Timing, Headers(set={"X-Frame-Options": "DENY"}))

    A layer is a :class:`Middleware` without an application, a subclass of it, or a callable from an application to an
    application, such as ``functools.partial(ProxyFix, x_for=1)``.

    :raises TypeError: if `app` is not an application, or one of `layers` is not a layer.
    :raises ValueError: if a layer is around an application already.
    """
    if not callable(app) or is_layer_class(app):
        raise TypeError(f"stack() takes the application first, then the layers around it, not {app!r}")
    for layer in reversed(layers):
        app = _around(layer, app)
    return app


def _around(layer: Layer, app: WSGIApplication) -> WSGIApplication:
    if isinstance(layer, Middleware):
        return layer.around(app)
    made = layer(app) if callable(layer) else None
    if not callable(made):
        raise TypeError(f"a layer takes a WSGI application and returns one, which {layer!r} does not")
    return made


# Neighbours that change no bodies are served together, with decisions made in advance. This saves a quarter of the cost
# of `Timing` and `Headers`.


def _passing(outermost: Middleware) -> WSGIApplication:
    """Return an application for `outermost` together with the layers inside it that change no bodies."""
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
                headers = list(headers)  # a copy: an application may pass the same list each time
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
    """Return the hooks that change a response on its way out through `layers`, the innermost first."""
    return [each.on_response for each in reversed(layers) if type(each).on_response is not Middleware.on_response]


def is_layer_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Middleware)


class _Each:
    """Rewrites each chunk separately."""

    def __init__(self, rewrite: Callable[[bytes], bytes]) -> None:
        self.feed = rewrite

    def flush(self) -> bytes:
        return b""


def _no_app(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("this layer has no application: stack(app, layer) puts it around one")


def _answering(answer: Answer) -> WSGIApplication:

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, headers, body = answer
        start_response(status, headers)
        if environ["REQUEST_METHOD"] != "HEAD":
            return [body] if isinstance(body, bytes) else body
        close_body(body)
        return []

    return app
