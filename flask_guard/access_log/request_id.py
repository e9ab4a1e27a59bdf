"""The id of the request: in its view, in the threads that the view starts, and on every log record."""

from __future__ import annotations

import logging

from flask import has_request_context
from werkzeug.local import LocalProxy

from ..core.app_state import AppState
from ..core.flask_versions import current_flask
from ..core.request_run import this_request
from ..wsgi.request_ids import CURRENT, ENVIRON_KEY, RequestIds
from .concern import configured_ids
from .telemetry import span_reader

NO_REQUEST = "-"


def request_ids(state: AppState) -> RequestIds:
    """Make the source of an app's request ids. It is kept as a service of `state`."""
    spans = span_reader()
    return configured_ids(state, trace=spans.trace_id if spans is not None else None)


def _current_id() -> str | None:
    if has_request_context():
        environ = this_request._get_current_object().environ
        found: str | None = environ.get(ENVIRON_KEY)
        if found is not None:
            return found
        state = AppState.of(current_flask())
        if state.guard is not None:
            return state.service(request_ids).of(environ)
    return CURRENT.get()


current_request_id: LocalProxy[str | None] = LocalProxy(_current_id)
"""The id of this request; None outside of a request. Threads that run in a copy of its context see the id, too."""


class RequestIDFilter(logging.Filter):
    """Gives every log record the id of the request in which it was made, as ``record.request_id``.

    Outside of a request the id is ``-``. Put the filter on handlers: a logger's filters do not see the records of its
    children::

        handler = logging.StreamHandler()
        handler.addFilter(RequestIDFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s [%(request_id)s] %(message)s"))
        logging.getLogger().addHandler(handler)

    A record that has an id keeps it. With a ``QueueHandler``, put the filter on that handler.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete `record`, and let it through."""
        if getattr(record, "request_id", None) is None:
            record.request_id = _current_id() or NO_REQUEST
        return True
