"""Header fields in the list of pairs that WSGI has for them (PEP 3333)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING
from wsgiref.util import is_hop_by_hop

if TYPE_CHECKING:
    from .typing import HeaderList

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = frozenset({"content-length", "status"})
_OUTDATED = frozenset({"content-length", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"})


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


def describe_rewritten(headers: HeaderList) -> None:
    """Take out what a rewritten body makes untrue, and weaken the entity tag (RFC 9110, section 8.8.1)."""
    drop(headers, _OUTDATED)
    weaken_etag(headers)


def weaken_etag(headers: HeaderList) -> None:
    """Say of the entity tag that it holds for what means the same, not for the same bytes."""
    for index, (name, value) in enumerate(headers):
        if name.lower() == "etag" and value.startswith('"'):
            headers[index] = (name, f"W/{value}")


def check_pairs(given: object, what: str) -> tuple[tuple[str, str], ...]:
    """Return header fields, given as a mapping or as pairs, if a layer can add them to a response.

    :raises TypeError: if they are no names and values.
    :raises ValueError: for a name or a value that a header cannot have, and for the fields that are the server's.
    """
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"{what} takes names and values, as in {{'X-Frame-Options': 'DENY'}}, not {given!r}")
    return tuple(_check_pair(pair, what) for pair in pairs)


def _check_pair(pair: object, what: str) -> tuple[str, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{what} takes names and values, as in {{'X-Frame-Options': 'DENY'}}, not {pair!r}")
    name, value = check_name(pair[0], what), pair[1]
    if is_hop_by_hop(name) or name.lower() in _FRAMING:
        raise ValueError(f"{what}: {name} is the server's to set")
    if not isinstance(value, str):
        raise TypeError(f"{what}: the value of {name} must be a string, not {value!r}")
    if value != value.strip() or not all(" " <= c < "\x7f" or "\xa0" <= c <= "\xff" for c in value):
        raise ValueError(f"{what}: the value of {name} holds what a header cannot carry: {value!r}")
    return name, value


def check_name(name: object, what: str) -> str:
    """Return `name` if it names a header field.

    :raises TypeError: if it is no string.
    :raises ValueError: if a header cannot have that name.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what}: the name of a header must be a string, not {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what}: {name!r} is no name for a header: write letters, digits and dashes")
    return name


def is_token(text: str) -> bool:
    """Return whether `text` is a token (RFC 9110, section 5.6.2)."""
    return bool(_TOKEN.fullmatch(text))
