"""Header fields: their syntax (RFC 9110, section 5), and their list of pairs in WSGI (PEP 3333)."""

from __future__ import annotations

import re
from collections.abc import Collection
from string import ascii_letters, digits

from .typing import HeaderList

OF_BODY = frozenset({"content-length", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"})
"""The fields (lower case) that are wrong after a change of the body."""
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_TOKEN = ascii_letters + digits + "!#$%&'*+.^_`|~-"


def is_token(text: str) -> bool:
    """Return whether `text` is a token (RFC 9110, section 5.6.2)."""
    return bool(text) and not text.strip(_TOKEN)


def is_field_text(text: str) -> bool:
    """Return whether a field can carry `text`: Latin-1 without control characters."""
    return all(" " <= c < "\x7f" or "\xa0" <= c <= "\xff" for c in text)


def check_name(name: object, what: str) -> str:
    """Return `name` if a header field can have it.

    :raises TypeError: for a name that is not a string.
    :raises ValueError: for an invalid name.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what}: the name of a header must be a string, not {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what}: {name!r} is not the name of a header; write letters, digits and dashes")
    return name


def environ_key(name: str) -> str:
    """Return the key of a request's header field in the environ (PEP 3333)."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def value_of(headers: HeaderList, name: str) -> str | None:
    """Return the first value of the field called `name` (lower case), or None."""
    for field, value in headers:
        if field.lower() == name:
            return value
    return None


def drop(headers: HeaderList, names: Collection[str]) -> None:
    """Remove every field named in `names` (lower case)."""
    headers[:] = [pair for pair in headers if pair[0].lower() not in names]


def has_content(status: str) -> bool:
    """Return whether a response with this status line may have content (RFC 9110, section 6.4.1)."""
    return status[:3] not in ("204", "304") and status[:1] != "1"
