"""Other WSGI applications that stand in front of an app, as Werkzeug's DispatcherMiddleware puts them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

MOST_WRAPPED = 50
"""WSGI middleware that is looked through."""


def mounts_of(app: Flask) -> Iterator[tuple[str, str]]:
    """Yield the prefix of each mount, and the name of what is mounted there."""
    for dispatcher in _dispatchers(app):
        for prefix, mounted in dispatcher.mounts.items():
            yield prefix, name_of(mounted)


def mount_above(app: Flask, path: str) -> tuple[str, Any] | None:
    """Return the prefix of the mount that takes the requests for `path`, and what is mounted there; else None."""
    for dispatcher in _dispatchers(app):
        script = path
        while "/" in script:
            if script in dispatcher.mounts:
                return script, dispatcher.mounts[script]
            script = script.rpartition("/")[0]
    return None


def name_of(application: Any) -> str:
    """Return a name for a WSGI application."""
    if isinstance(application, Flask):
        return f"the Flask app {application.name!r}"
    named = application if hasattr(application, "__qualname__") else type(application)
    return f"{named.__module__}.{named.__qualname__}"


def _dispatchers(app: Flask) -> Iterator[DispatcherMiddleware]:
    """Yield the dispatchers among the WSGI middleware around `app`, outside in."""
    wsgi: Any = app.wsgi_app
    for _ in range(MOST_WRAPPED):
        if wsgi is None or getattr(wsgi, "__self__", None) is app:
            return
        if isinstance(wsgi, DispatcherMiddleware):
            yield wsgi
        inner = (getattr(wsgi, name, None) for name in ("app", "wsgi_app", "application"))
        wsgi = next((each for each in inner if each is not None), None)
