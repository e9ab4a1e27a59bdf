"""Credentials in a request: the places where they may be, and the texts around them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import ConfigError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Request

Extract: TypeAlias = "Callable[[Request], str | None]"
"""Returns the credential in a request: None if there is none, an empty string if it is malformed."""

SEVERAL = "several credentials"
"""Stands for the credential of a request that presents several. Compared by identity."""


def place_of(name: str) -> tuple[Literal["header", "query"], str]:
    """Return the header field or the query parameter that a place names.

    :param name: ``bearer``, ``x-api-key``, ``header:NAME`` or ``query:NAME``.
    :raises ConfigError: for any other name.
    """
    where, _, field = {"bearer": "header:Authorization", "x-api-key": "header:X-API-Key"}.get(name, name).partition(":")
    if where == "header" and field.replace("-", "").isalnum() and field.isascii():
        return "header", field
    if where == "query" and field:
        return "query", field
    raise ConfigError(f"require_api_key(in_=…): {name!r} is not 'bearer', 'x-api-key', 'header:NAME' or 'query:NAME'")


def extract_from(places: tuple[str, ...]) -> Extract:
    """Return a function that finds the one credential of a request."""
    distinct = dict.fromkeys("header:X-API-Key" if place == "x-api-key" else place for place in places)
    first, *others = [_extractor(place) for place in distinct]

    def extract(request: Request) -> str | None:
        found = first(request)
        for look in others:
            value = look(request)
            if value is not None:
                if found is not None:
                    return SEVERAL
                found = value
        return found

    return extract


def _extractor(place: str) -> Extract:
    if place == "bearer":
        return _bearer
    where, field = place_of(place)
    if where == "query":
        return lambda request: _in_query(request, field)
    variable = f"HTTP_{field.upper().replace('-', '_')}"
    return lambda request: request.environ.get(variable)


def _bearer(request: Request) -> str | None:
    """Return the bearer token, an empty string if there is none after the scheme, or None for another scheme."""
    value: str | None = request.environ.get("HTTP_AUTHORIZATION")
    if value is None or value[:6].lower() != "bearer" or value[6:7] not in ("", " "):
        return None
    return value[7:].strip(" ")


def _in_query(request: Request, field: str) -> str | None:
    try:
        values = request.args.getlist(field)
    except UnicodeDecodeError:  # Werkzeug does not handle a query string that is not UTF-8
        return ""
    return SEVERAL if len(values) > 1 else next(iter(values), None)


def text_of(presented: str) -> str:
    """Return the value of a header field as text: WSGI hands its bytes over as Latin-1."""
    if presented.isascii():
        return presented
    try:
        return presented.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return presented


def is_canonical_base64url(text: str) -> bool:
    """Return whether `text` is base64url in the one form that encoders write (RFC 7515, section 2).

    The bytes have other spellings, which decoders read: with padding, or with other bits at the end.
    """
    return _BASE64URL.fullmatch(text) is not None


_BASE64URL = re.compile(r"(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?", re.ASCII)
"""The last character has bits to spare, which are zero."""


def quoted(text: str) -> str:
    """Return `text`, which is printable ASCII, as a quoted-string (RFC 9110, section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


AMBIENT_SCHEMES = frozenset({"basic", "digest", "negotiate", "ntlm"})
"""The schemes of ``Authorization`` that browsers add by themselves, once the user has logged in."""


def has_ambient_credentials(environ: WSGIEnvironment) -> bool:
    """Return whether a request carries credentials that a browser adds whatever page it comes from."""
    if environ.get("HTTP_COOKIE") or environ.get("REMOTE_USER"):
        return True
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return authorization.strip().partition(" ")[0].lower() in AMBIENT_SCHEMES
