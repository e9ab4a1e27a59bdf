"""Content types in options and in requests (RFC 9110, section 8.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..support.options import listed
from ..wsgi.fields import is_token

JSON = ("application/json", "application/*+json")
"""The content types that Flask parses as JSON."""
LONGEST = 256
"""The longest content type, in characters. A longer one is not accepted."""
_LISTED = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*(?:\+[a-z0-9!#$&^_.+-]+)?|[a-z0-9!#$&^_.+-]+)")


def content_types(value: Any, what: str) -> tuple[str, ...]:
    """Check for content types such as ``text/csv``, ``image/*`` and ``application/*+json``."""
    return tuple(_content_type(each, what) for each in listed(value))


def _content_type(value: object, what: str) -> str:
    hint = "write a type such as text/csv, image/* or application/*+json"
    if not isinstance(value, str):
        raise ConfigError(f"{what}: {value!r} is not a content type; {hint}")
    if ";" in value:
        raise ConfigError(f"{what}: {value!r} has a parameter. Leave it out: every charset and boundary is accepted")
    if value == "*/*":
        raise ConfigError(f"{what}: '*/*' accepts everything. Leave the option out")
    if not _LISTED.fullmatch(value.lower()):
        raise ConfigError(f"{what}: {value!r} is not a content type; {hint}")
    return value.lower()


def accepting(accepted: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a function that checks the value of a ``Content-Type`` field for one of the `accepted` types.

    A malformed value, or a list of several types, is not accepted.
    """
    exact = frozenset(each for each in accepted if "*" not in each)
    wildcards = tuple(tuple(each.split("*")) for each in accepted if "*" in each)

    def accepts(field: str) -> bool:
        if field in exact:
            return True
        if len(field) > LONGEST:
            return False
        essence = field.partition(";")[0].strip(" \t").lower()
        if essence in exact:
            return True
        return all(map(is_token, essence.split("/", 1))) and any(
            essence.startswith(start) and essence.endswith(end) and len(essence) > len(start) + len(end)
            for start, end in wildcards
        )

    return accepts
