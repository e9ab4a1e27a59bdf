"""The base class of layers, and `stack`. Write the hooks, and the rules of WSGI (PEP 3333) are kept for you.

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

    One layer serves many requests at once: keep the values of a request in its ``environ``, not on ``self``. A body
    that no hook looks at passes as it is, so the server may still send a file itself.

    :param app: the WSGI application; None for a layer that :func:`flask_guard.wsgi.stack` puts around one.
    :raises TypeError: if `app` is not a WSGI application.
    """

    settled_by: str = ""
    """A key of ``environ``: once an application has put it there, :meth:`on_end` need not be called."""
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

        :return: None to call the application, or a status line, header fields and a body in place of its answer.
        """
        return None

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> tuple[str, HeaderList] | None:
        """See the status line and the header fields, and change the list of fields if need be.

        Called again if the application starts its response anew because of an error (``exc_info``).

        :return: None, or another status line and other header fields.
        """
        return None

    def on_body(self, chunk: bytes) -> bytes:
        """Return the bytes to send in place of `chunk`. Overriding this takes ``Content-Length`` off the response.

        The chunk holds bytes as they are sent: compressed if the application compresses, and cut anywhere. To change
        text that may stretch over chunks, override :meth:`rewriter`.
        """
        return chunk

    def rewriter(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> Incremental | None:
        """Return a new object that rewrites the body of this response, or None to leave the body alone.

        Called after :meth:`on_response`, for ``HEAD`` too, so that the header fields are those of ``GET``.
        """
        return _Each(self.on_body) if type(self).on_body is not Middleware.on_body else None

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        """See how the response ended. Called once for each request that :meth:`on_request` has seen."""

    def around(self, app: WSGIApplication) -> Self:
        """Return this layer around `app`.

        :raises ValueError: if the layer is around an application already.
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
        """Decide, on the first request, how all requests are served."""
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
        """Return whether this layer leaves bodies alone, and its ``__call__`` is not overridden."""
        return not self._watches and not self._rewrites and type(self).__call__ is Middleware.__call__


# Putting layers around an application --------------------------------------------------------------------------------


def stack(app: WSGIApplication, *layers: Layer) -> WSGIApplication:
    """Return `app` with `layers` around it. The first layer is the outermost, and sees the request first.

    ::

        app.wsgi_app = stack(app.wsgi_app, RequestID, Timing, Headers(set={"X-Frame-Options": "DENY"}))

    A layer is a :class:`Middleware` without an application, a class of them, or any callable that takes an
    application and returns one, such as ``functools.partial(ProxyFix, x_for=1)``.

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


# Neighbours that leave bodies alone are served together, and decisions are made beforehand. `Timing` and `Headers`
# together cost a quarter less so.


def _passing(outermost: Middleware) -> WSGIApplication:
    """Return an application that does the work of `outermost`, and of the layers inside it that leave bodies alone."""
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
    """Return the hooks that change a response on its way out through `layers`, the innermost first."""
    return [each.on_response for each in reversed(layers) if type(each).on_response is not Middleware.on_response]


def is_layer_class(value: object) -> bool:
    """Return whether `value` is a class of layers."""
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
