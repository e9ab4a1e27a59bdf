"""The checks of the options of `cors`, for the code and for the configuration."""

from __future__ import annotations

import re

from ..errors import ConfigError
from ..support.header_fields import check_names
from ..support.options import listed
from ..support.origins import ignoring_case

_LIKE_A_PATTERN = re.compile(r"[*+^$|]")
"""Characters that names of methods and headers may have (RFC 9110, section 5.6.2) and that none has."""


def methods(value: object, what: str) -> tuple[str, ...]:
    """Check for the names of methods."""
    found = check_names(value, what)
    for each in found:
        if _LIKE_A_PATTERN.search(each):
            raise ConfigError(
                f"{what} takes names of methods, not {each!r}. Leave it out to allow the methods of the route"
            )
    return tuple(method.upper() for method in found)


def exposed_names(value: object, what: str) -> tuple[str, ...]:
    """Check for the names of response headers, which browsers compare as they are."""
    found = check_names(value, what)
    for each in found:
        if each != "*" and _LIKE_A_PATTERN.search(each):
            raise ConfigError(f"{what}: {each!r} is compared as it is. Name each header, or write '*' for all")
    return found


def header_names(value: object, what: str) -> tuple[str | re.Pattern[str], ...]:
    """Check for the names of request headers, and patterns of names."""
    found = listed(value)
    for each in check_names([each for each in found if not isinstance(each, re.Pattern)], what):
        if each != "*" and _LIKE_A_PATTERN.search(each):
            raise ConfigError(f"{what}: {each!r} is compared as it is. For a pattern, write re.compile({each!r})")
    return tuple(ignoring_case(each, what) if isinstance(each, re.Pattern) else each for each in found)
