"""The presence of a body in a request, by its header fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def has_body(environ: WSGIEnvironment) -> bool | None:
    """Return whether a request has a body, or None if only a read can show one.

    HTTP/2 bodies need no length. A server that passes such a body on sets ``wsgi.input_terminated``; under any other
    server Werkzeug reads nothing without a length.
    """
    length: str = environ.get("CONTENT_LENGTH") or ""
    if length not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return True
    return None if not length and "wsgi.input_terminated" in environ else False
