"""`RequestID`: gives each request an id, from before the application to after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fields import check_name, value_of
from .middleware import Middleware
from .request_ids import ENVIRON_KEY, RequestIds

if TYPE_CHECKING:
    from .typing import HeaderList, WSGIApplication, WSGIEnvironment


class RequestID(Middleware):
    """Puts the id of the request into ``environ["flask_guard.request_id"]`` and on the response.

    ``@log_timing`` and other layers of its kind take the id that is there, so all of them agree on one.

    :param header: the response header that carries it; None for none. One that the application set stays.
    :param ids: where ids come from: by default ``X-Request-ID`` or ``traceparent`` if well-formed, else a new one.
    :raises TypeError: if `ids` is something else.
    :raises ValueError: for a name that a header cannot have.
    """

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        header: str | None = "X-Request-ID",
        ids: RequestIds | None = None,
    ) -> None:
        super().__init__(app)
        if not isinstance(ids, (RequestIds, type(None))):
            raise TypeError(f"RequestID(ids=…) takes RequestIds(), not {ids!r}")
        self._ids = ids or RequestIds()
        self._header = None if header is None else check_name(header, "RequestID(header=…)")

    def on_request(self, environ: WSGIEnvironment) -> None:
        """Give the request its id, unless it has one."""
        self._ids.of(environ)

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        """Send the id."""
        if self._header is not None and value_of(headers, self._header.lower()) is None:
            headers.append((self._header, environ[ENVIRON_KEY]))
