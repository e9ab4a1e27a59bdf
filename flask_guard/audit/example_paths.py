"""Example paths: a path that a URL rule matches, for the explanation of an endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from werkzeug.routing import BaseConverter, BuildError, Rule
from werkzeug.routing.converters import AnyConverter, NumberConverter, PathConverter, UUIDConverter

from ..core.path_scopes import segments
from ..core.url_patterns import VARIABLE, converter_of

ZERO_UUID = "00000000-0000-0000-0000-000000000000"


def example_path(rule: Rule) -> str:
    """Return a path that `rule` matches. If no usual value fits its converters, return the rule itself."""
    return example_url(rule) or rule.rule


def example_url(rule: Rule) -> str | None:
    """Return a path that `rule` matches, or None."""
    try:
        values = {each["name"]: _value(converter_of(each, rule.map)) for each in VARIABLE.finditer(rule.rule)}
        built = rule.build({**dict(rule.defaults or {}), **values}, append_unknown=False)
    except (BuildError, LookupError, TypeError, ValueError):
        return None
    return built[1].partition("?")[0] if built is not None else None


def example_below(rule: Rule, scope: str) -> str:
    """Return a path below the scope by path `scope` that `rule` matches, for a rule that has such paths."""
    given, wanted, path = segments(rule.rule), segments(scope), list[str]()
    for position, segment in enumerate(given):
        rest = wanted[position:]
        if rest and any(not converter_of(each, rule.map).part_isolating for each in VARIABLE.finditer(segment)):
            path += [*rest, *given[position + 1 :]]
            break
        path.append(rest[0] if rest and not VARIABLE.search(rest[0]) else segment)
    return VARIABLE.sub(lambda each: _written(converter_of(each, rule.map)), f"/{'/'.join(path)}")


def _written(converter: BaseConverter) -> str:
    return converter.to_url(_value(converter))


def _value(converter: BaseConverter) -> Any:
    """Return a value that `converter` can put into a URL."""
    if isinstance(converter, NumberConverter):
        return converter.num_convert(converter.min if converter.min is not None else 1)
    fitting = (each for each in _words(converter) if converter.regex and re.fullmatch(converter.regex, each))
    word = next(fitting, "example")
    try:
        return converter.to_python(word)
    except ValueError:
        return word


def _words(converter: BaseConverter) -> Iterator[str]:
    if isinstance(converter, UUIDConverter):
        yield ZERO_UUID
    if isinstance(converter, AnyConverter):
        yield from sorted(converter.items)
    if isinstance(converter, PathConverter):
        yield "example"
    for length in (7, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64):
        yield "example"[:length].ljust(length, "x")
        yield "1" * length
    yield ZERO_UUID
