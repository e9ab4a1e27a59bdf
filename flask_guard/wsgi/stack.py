"""Putting layers around an application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .middleware import Middleware, is_layer_class

if TYPE_CHECKING:
    from .typing import WSGIApplication

Layer: TypeAlias = "Middleware | Callable[[WSGIApplication], WSGIApplication]"
"""A layer without an application, a class of layers, or whatever takes a WSGI application and returns another."""


def stack(app: WSGIApplication, *layers: Layer) -> WSGIApplication:
    """Return `app` with `layers` around it. The first layer is the outermost: it sees the request first.

    ::

        app.wsgi_app = stack(app.wsgi_app, RequestID, Timing, Headers(set={"X-Frame-Options": "DENY"}))

    A layer is a :class:`Middleware` without an application, a class of them, or any callable that takes an
    application and returns one, such as ``functools.partial(ProxyFix, x_for=1)``.

    :raises TypeError: if `app` is no application, or a layer no layer.
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
