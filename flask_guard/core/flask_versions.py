"""The current app and context, under every version of Flask that is served: the one place that knows of 3.0 to 3.2.

Flask 3.2 has one context for the app and the request, and passes it to the methods that dispatch a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import Flask, Response, current_app
from flask import ctx as flask_ctx
from flask import globals as flask_globals
from flask.sessions import SessionMixin

MERGED: bool = "request_ctx" not in vars(flask_globals)
"""Whether the app's and the request's context are one object, as from Flask 3.2 on."""

VARIABLE: str = "_cv_app" if MERGED else "_cv_request"
"""The private name of the variable behind Flask's proxy of the context.

A call of the variable takes a fifth of the time, and each request makes several. Without the name, the proxy serves.
"""

_proxy: Any = flask_globals.app_ctx if MERGED else flask_globals.request_ctx

current_context: Callable[[], Any] = getattr(getattr(flask_globals, VARIABLE, None), "get", _proxy._get_current_object)
"""Returns the context of the current request, with its ``request`` and its ``url_adapter``.

Outside of a request, the call or ``request`` raises LookupError or RuntimeError.
"""


current_flask: Callable[[], Flask] = cast("Any", current_app)._get_current_object
"""Returns the current app itself, and not a proxy of it."""


def session_of(context: object) -> SessionMixin | None:
    """Return the session of a request's context. Since Flask 3.1.3, asking the context for it counts as an access."""
    kept = vars(context)
    found: SessionMixin | None = kept.get("_session", kept.get("session"))
    return found


CONTEXTS: tuple[type, ...] = (flask_ctx.AppContext,) if MERGED else (flask_ctx.AppContext, flask_ctx.RequestContext)
"""The classes of Flask's contexts."""


def handle_user_exception(app: Flask, error: Exception) -> Response:
    """Return what `app` answers where a view raises `error`. It raises `error` if nothing handles that."""
    handle: Any = app.handle_user_exception
    return app.make_response(handle(current_context(), error) if MERGED else handle(error))
