"""Whether the size of a compressed response could tell a stranger a secret (BREACH)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.http_credentials import has_ambient_credentials

if TYPE_CHECKING:
    from ..core.request_run import Run
    from ..typing import Response


def may_reveal(run: Run, response: Response) -> bool:
    """Return whether a foreign page may have chosen input that the response repeats beside the user's secrets.

    That takes a request with credentials that the browser adds by itself, input that is more than a number in the path,
    and a page that the browser does not call the app's own. A file repeats nothing.
    """
    request = run.request
    environ = request.environ
    if response.direct_passthrough or not has_ambient_credentials(environ):
        return False
    if environ.get("HTTP_SEC_FETCH_SITE") in ("same-origin", "none"):
        return False
    if environ.get("QUERY_STRING") or environ.get("CONTENT_LENGTH", "0") not in ("", "0"):
        return True
    if "HTTP_TRANSFER_ENCODING" in environ or request.url_rule is None:
        return True
    return any(not isinstance(value, (int, float)) for value in (request.view_args or {}).values())
