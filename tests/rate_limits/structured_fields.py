"""A strict reader of the RateLimit fields: Lists of String Items with parameters (RFC 9651, section 4.2)."""

from __future__ import annotations

import base64
import re
from typing import TypeAlias

from werkzeug.wrappers import Response

Value: TypeAlias = "int | str | bytes"
Item: TypeAlias = "tuple[str, dict[str, Value]]"

STRING = r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
INTEGER = r"(-?[0-9]{1,15})(?![0-9.])"
BYTES = r":([A-Za-z0-9+/]*={0,2}):"
_ITEM = re.compile(STRING)
_PARAMETER = re.compile(rf"; *([a-z*][a-z0-9_.*-]*)=(?:{INTEGER}|{STRING}|{BYTES})")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


def parsed(field: str) -> list[Item]:
    """Return the items of a field: the String and its parameters."""
    items: list[Item] = []
    position = 0
    while match := _ITEM.match(field, position):
        parameters: dict[str, Value] = {}
        position = match.end()
        while parameter := _PARAMETER.match(field, position):
            name, integer, string, data = parameter.groups()
            assert name not in parameters, field
            value: Value = int(integer) if integer else string if string is not None else base64.b64decode(data)
            parameters[name] = value
            position = parameter.end()
        items.append((match[1], parameters))
        if position == len(field):
            return items
        separator = _SEPARATOR.match(field, position)
        assert separator, field
        position = separator.end()
    raise AssertionError(f"{field!r} is no List of String Items")


def fields(response: Response) -> tuple[list[Item], list[Item]]:
    """Return the parsed `RateLimit-Policy` and `RateLimit`, each of which must be there once."""
    (policy,), (now,) = response.headers.getlist("RateLimit-Policy"), response.headers.getlist("RateLimit")
    return parsed(policy), parsed(now)


def whole(item: Item, name: str) -> int:
    """Return a parameter that must be an Integer."""
    value = item[1][name]
    assert isinstance(value, int)
    return value


def is_jittered(retry_after: str, wait: int) -> bool:
    """Return whether `Retry-After` is `wait` seconds, or up to a tenth and half a minute later."""
    return wait <= int(retry_after) <= wait + min(30, max(1, wait // 10))
