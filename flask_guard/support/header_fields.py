"""Response header fields, written fast."""

from __future__ import annotations

from collections.abc import Iterable

from werkzeug.datastructures import Headers

from ..errors import ConfigError
from ..wsgi.fields import is_field_text

Pair = tuple[str, str]


def field_names(headers: Headers) -> set[str]:
    """Return the names that `headers` has, in lower case."""
    return {name.lower() for name, _ in _pairs(headers)}


def append(headers: Headers, pairs: Iterable[Pair]) -> None:
    """Append `pairs`, which must have been checked: they are not checked again, which is what makes it fast."""
    _pairs(headers).extend(pairs)


def put(headers: Headers, *fields: Pair) -> None:
    """Set each of `fields`, in place of any of its name. They must have been checked."""
    pairs = _pairs(headers)
    present = [name.lower() for name, _ in pairs]
    for name, _ in fields:
        if name.lower() in present:
            drop(headers, (name.lower(),))
    pairs.extend(fields)


def drop(headers: Headers, names: Iterable[str]) -> None:
    """Remove every field named in `names` (lower case)."""
    unwanted = frozenset(names)
    pairs = _pairs(headers)
    pairs[:] = [pair for pair in pairs if pair[0].lower() not in unwanted]


def add_vary(headers: Headers, name: str) -> None:
    """Add `name` to ``Vary`` unless it is there (RFC 9110, section 12.5.5)."""
    present = headers.get("Vary")
    if present is None:
        append(headers, [("Vary", name)])
    elif present != "*" and name.lower() not in [each.strip().lower() for each in present.split(",")]:
        headers["Vary"] = f"{present}, {name}"


def _pairs(headers: Headers) -> list[Pair]:
    """Return the list that `headers` wraps: going through its methods costs several times as much."""
    return headers._list


def check_value(value: object, what: str) -> str:
    """Return `value` if a header field can carry it.

    :raises ConfigError: if it is no string, or holds a control character or what Latin-1 lacks.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what} must be a header value, or None to leave the header out, not {value!r}")
    if not is_field_text(value):
        raise ConfigError(f"{what} holds a character that a header cannot carry: {value!r}")
    return value
