"""The WSGI middleware around an app, and other applications that a DispatcherMiddleware mounts beside the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

MOST_WRAPPED = 50
"""Layers of WSGI middleware that are looked through."""


def mounts_of(app: Flask) -> Iterator[tuple[str, str]]:
    """Yield the prefix of each mount, and the name of the application there."""
    for dispatcher in _dispatchers(app):
        for prefix, mounted in dispatcher.mounts.items():
            yield prefix, name_of(mounted)


def mount_above(app: Flask, path: str) -> tuple[str, Any] | None:
    """Return the prefix and the application of the mount that takes requests for `path`, or None."""
    for dispatcher in _dispatchers(app):
        script = path
        while "/" in script:
            if script in dispatcher.mounts:
                return script, dispatcher.mounts[script]
            script = script.rpartition("/")[0]
    return None


def name_of(application: Any) -> str:
    if isinstance(application, Flask):
        return f"the Flask app {application.name!r}"
    named = application if hasattr(application, "__qualname__") else type(application)
    return f"{named.__module__}.{named.__qualname__}"


def _dispatchers(app: Flask) -> Iterator[DispatcherMiddleware]:
    return (layer for layer in wsgi_layers(app) if isinstance(layer, DispatcherMiddleware))


def wsgi_layers(app: Flask) -> Iterator[Any]:
    """Yield the WSGI middleware around `app`, outside in."""
    layer: Any = app.wsgi_app
    for _ in range(MOST_WRAPPED):
        if layer is None or getattr(layer, "__self__", None) is app:
            return
        yield layer
        inner = (getattr(layer, name, None) for name in ("app", "_app", "wsgi_app", "application"))
        layer = next((each for each in inner if each is not None), None)
