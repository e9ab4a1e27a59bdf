"""The app's own errors, such as a 404, as problem documents (RFC 9457): ``GUARD_PROBLEMS = "all"``."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from .app_state import AppState
from .config import ERROR_FORMAT, PROBLEMS
from .denials import Denied, as_html


def render_errors(app: Flask, state: AppState) -> None:
    """Render every HTTP error that no handler of the app renders, if the configuration asks for that."""
    handlers = app.error_handler_spec[None][None]
    if state.config[PROBLEMS] == "all" and HTTPException not in handlers:
        app.register_error_handler(HTTPException, _renderer(state.config[ERROR_FORMAT]))


def _renderer(error_format: str) -> Callable[[HTTPException], Response | HTTPException]:
    def render(error: HTTPException) -> Response | HTTPException:
        environ = request.environ
        if isinstance(error, Denied) or error.response is not None or as_html(error_format, environ):
            return error
        document = {"type": "about:blank", "title": error.name, "status": error.code, "detail": error.description}
        headers = [pair for pair in error.get_headers(environ) if pair[0].lower() != "content-type"]
        vary = [("Vary", "Accept")] if error_format == "auto" else []
        body = json.dumps(document) + "\n"
        return Response(body, error.code, [*headers, *vary], content_type="application/problem+json")

    return render
