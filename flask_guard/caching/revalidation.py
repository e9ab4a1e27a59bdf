"""Entity tags, and the 304 for a client that has the response already (RFC 9110, sections 8.8.3 and 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.http import is_resource_modified

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..core.request_run import Run
    from ..typing import Response

OTHER_CONDITIONS = frozenset({"HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_RANGE"})
"""Conditions of requests that only a view can check."""


def revalidate(run: Run, response: Response) -> None:
    """Give a response an entity tag, and make it a 304 if the client has it.

    A tag of the view stays. A stream gets no tag, because the tag needs the whole body.
    """
    if type(response.response) is list and not response.direct_passthrough:
        response.add_etag()
    environ = run.request.environ
    if _asks_for_news(environ) and not is_resource_modified(
        environ, response.headers.get("ETag"), None, response.headers.get("Last-Modified")
    ):
        response.status_code = 304


def _asks_for_news(environ: WSGIEnvironment) -> bool:
    asks = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ
    return asks and OTHER_CONDITIONS.isdisjoint(environ)
