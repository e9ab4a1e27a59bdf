"""Whether a response was made for one caller, so that it must not reach another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.header_fields import lines_of
from .flask_versions import session_of

if TYPE_CHECKING:
    from ..typing import Response
    from .request_run import Run


def is_personal(run: Run, response: Response) -> bool:
    """Return whether `response` was made for a credential.

    It was if a policy recognised the caller, if the request has ``Authorization``, if the app looked at the session or
    changed it, and if the response sets a cookie.
    """
    if run.identities or "HTTP_AUTHORIZATION" in run.request.environ:
        return True
    session = session_of(run.context)
    if session is not None and (session.accessed or session.modified):
        return True
    return bool(lines_of(response.headers, "set-cookie"))
