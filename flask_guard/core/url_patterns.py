"""Parts of URL rules as regular expressions, with the patterns of their converters."""

from __future__ import annotations

import re

from werkzeug.routing import BaseConverter, Map
from werkzeug.routing.rules import parse_converter_args

VARIABLE: re.Pattern[str] = re.compile(
    r"<(?:(?P<converter>[a-zA-Z_]\w*)(?:\((?P<arguments>.*?)\))?:)?(?P<name>[a-zA-Z_]\w*)>"
)
"""A variable part of a URL rule, such as ``<int:number>``."""


def pattern_of(rule: str, url_map: Map) -> str:
    """Return a part of a URL rule as a regular expression."""
    pattern, end = "", 0
    for variable in VARIABLE.finditer(rule):
        pattern += re.escape(rule[end : variable.start()]) + f"(?:{converter_of(variable, url_map).regex})"
        end = variable.end()
    return pattern + re.escape(rule[end:])


def converter_of(variable: re.Match[str], url_map: Map) -> BaseConverter:
    """Return the converter of a variable part.

    :raises LookupError: if `url_map` has no such converter.
    """
    arguments, options = parse_converter_args(variable["arguments"] or "")
    made: BaseConverter = url_map.converters[variable["converter"] or "default"](url_map, *arguments, **options)
    return made
