"""The answer to a request that a policy has denied, where the app leaves the answer to the denial itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from ..typing import Response
    from .denials import Denied
    from .request_run import Run


def denied_answer(run: Run, denial: Denied) -> Response | None:
    """Return the response that Flask would make of `denial`, or None where the app decides on the answer.

    Flask calls an exception that no handler takes as a WSGI application, and makes a second response of the result.
    Making the response here costs a third as much, so a flood of denied requests costs less than one of allowed ones.
    """
    app = run.state.app
    if not _is_left_to(denial, app):
        return None
    response_class: Any = app.response_class
    answer: Response = response_class.force_type(denial.get_response(run.request.environ))
    return answer


def _is_left_to(denial: Denied, app: Flask) -> bool:
    """Return whether `app` has no error handler that may take `denial`, and answers exceptions as Flask does."""
    code = type(denial).code  # Flask finds error handlers by the status of the class
    for handlers in app.error_handler_spec.values():
        if handlers.get(code) or handlers.get(None):
            return False
    cls = type(app)
    if cls.handle_user_exception is not _handle_user or cls.handle_http_exception is not _handle_http:
        return False
    if cls.finalize_request is not _finalize or cls.make_response is not _make:
        return False
    return vars(app).keys().isdisjoint(_NAMES) and not app.trap_http_exception(denial)


_handle_user, _handle_http = Flask.handle_user_exception, Flask.handle_http_exception
_finalize, _make = Flask.finalize_request, Flask.make_response
_NAMES = frozenset({"handle_user_exception", "handle_http_exception", "finalize_request", "make_response"})
