"""Credentials in a request: their places, and their syntax."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from werkzeug.http import quote_header_value

from ..errors import ConfigError
from ..wsgi.fields import environ_key

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Request

Extract: TypeAlias = "Callable[[Request], str | None]"
"""Returns the credential in a request: None without one, an empty string for a malformed one."""

SEVERAL = "several credentials"
"""Stands in place of several credentials in one request. Compared by identity."""


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
    takes_bearer = "bearer" in places
    named = [place_of(place) for place in places if place != "bearer"]
    variables = tuple(dict.fromkeys(environ_key(name) for where, name in named if where == "header"))
    parameters = tuple(dict.fromkeys(name for where, name in named if where == "query"))

    def extract(request: Request) -> str | None:
        environ = request.environ
        found = _bearer_token(environ) if takes_bearer else None
        for variable in variables:
            value = environ.get(variable)
            if value is not None:
                if found is not None:
                    return SEVERAL
                found = value
        return _in_query(request, parameters, found) if parameters else found

    return extract


def _bearer_token(environ: WSGIEnvironment) -> str | None:
    """Return the bearer token, an empty string for a scheme without a token, or None for another scheme."""
    value: str | None = environ.get("HTTP_AUTHORIZATION")
    if value is None:
        return None
    if value[:7] != "Bearer " and (value[:6].lower() != "bearer" or value[6:7] not in ("", " ")):
        return None
    return value[7:].strip(" ")


def _in_query(request: Request, parameters: tuple[str, ...], found: str | None) -> str | None:
    """Return the one credential in the query parameters, or the one that was found elsewhere."""
    for name in parameters:
        try:
            values = request.args.getlist(name)
        except UnicodeDecodeError:  # Werkzeug fails on a query string that is not UTF-8
            values = [""]
        if len(values) > 1 or (values and found is not None):
            return SEVERAL
        found = values[0] if values else found
    return found


def text_of(presented: str) -> str:
    """Return the value of a header field as text. WSGI decodes the bytes as Latin-1."""
    if presented.isascii():
        return presented
    try:
        return presented.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return presented


def is_canonical_base64url(text: str) -> bool:
    """Return whether `text` is base64url as encoders write it (RFC 7515, section 2).

    Decoders also read other spellings of the same bytes: with padding, or with other unused bits at the end.
    """
    return _BASE64URL.fullmatch(text) is not None


_BASE64URL = re.compile(r"(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?", re.ASCII)
"""The unused bits of the last character are zero."""


def quoted(text: str) -> str:
    """Return `text`, which is printable ASCII, as a quoted-string (RFC 9110, section 5.6.4)."""
    return quote_header_value(text, allow_token=False)


AMBIENT_SCHEMES = frozenset({"basic", "digest", "negotiate", "ntlm"})
"""The schemes of ``Authorization`` that browsers add automatically, once the user has logged in."""


def has_ambient_credentials(environ: WSGIEnvironment) -> bool:
    """Return whether a request carries credentials that a browser adds to the requests of any page."""
    if environ.get("HTTP_COOKIE") or environ.get("REMOTE_USER"):
        return True
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return authorization.strip().partition(" ")[0].lower() in AMBIENT_SCHEMES
