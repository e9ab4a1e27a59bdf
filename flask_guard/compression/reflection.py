"""The check whether the size of a compressed response could reveal a secret (BREACH)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.http_credentials import has_ambient_credentials
from ..support.request_body import has_body

if TYPE_CHECKING:
    from flask import Request

    from ..core.request_run import Run
    from ..typing import Response


def may_reveal(run: Run, response: Response) -> bool:
    """Return whether a foreign page may have chosen input that the response repeats beside the user's secrets.

    Such a request has credentials that the browser adds automatically, input other than a number in the path, and an
    origin that is not the app's own. A file repeats no input.
    """
    request = run.request
    environ = request.environ
    if response.direct_passthrough or not has_ambient_credentials(environ):
        return False
    if environ.get("HTTP_SEC_FETCH_SITE") in ("same-origin", "none"):
        return False
    if environ.get("QUERY_STRING") or request.url_rule is None or _has_body(request):
        return True
    return any(not isinstance(value, (int, float)) for value in (request.view_args or {}).values())


def _has_body(request: Request) -> bool:
    """Return whether a foreign page may have sent a body. Browsers send none with GET and HEAD."""
    found = has_body(request.environ)
    return request.method not in ("GET", "HEAD") if found is None else found
