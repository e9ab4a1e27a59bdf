"""Scopes by path: ``protect(app, limit(…), under="/admin")`` reaches all below, whoever registered it.

Mostly the rules of an endpoint show whether it lies below. A rule such as ``/<section>/users`` may match paths inside
and outside: then the path of each request decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flask import Flask
from werkzeug.routing import Map

from ..errors import ConfigError
from .marks import Mark
from .url_patterns import VARIABLE, converter_of, pattern_of

PATHS = "__guard_paths__"
"""The attribute of an app that holds its scopes by path."""

Relation: TypeAlias = Literal["inside", "maybe", "outside"]
_SLASHES = re.compile("/+")
_IN_NO_PATH = re.compile(r"[?#<>]|//|/\.\.?(?:/|\Z)")
"""A query, a fragment, part of a variable, an empty segment, and the dots that clients resolve."""
_ESCAPED = re.compile("%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class PathScope:
    """The policies of an app for the paths below `path`."""

    path: str
    marks: tuple[Mark, ...]


def check_path(under: object) -> str:
    """Return a path below which policies hold, without a slash at its end.

    :raises ConfigError: for other text than a path below the root, and for a spelling that no request has.
    """
    if not isinstance(under, str) or not under.startswith("/") or _IN_NO_PATH.search(VARIABLE.sub("x", under)):
        raise ConfigError(f"protect(under=…) must be a path such as '/admin' or '/tenants/<tenant>', not {under!r}")
    if "*" in under:
        raise ConfigError(f"protect(under={under!r}) needs no *, because it covers all below a path: leave the * out")
    if _ESCAPED.search(under):
        raise ConfigError(f"protect(under={under!r}) must be written as in a rule: the characters, not %XX")
    path = under.rstrip("/")
    if not path:
        raise ConfigError("protect(under='/') is the whole app: leave under=… out")
    return path


def path_scopes(app: Flask) -> tuple[PathScope, ...]:
    """Return the scopes by path of `app`, outer ones first."""
    marks: dict[str, tuple[Mark, ...]] = getattr(app, PATHS, {})
    return tuple(PathScope(path, marks[path]) for path in sorted(marks, key=lambda path: (path.count("/"), path)))


class PathScopes:
    """Finds the scopes by path of endpoints and paths. A service: it is made again after registrations."""

    def __init__(self, app: Flask) -> None:
        self.all: tuple[PathScope, ...] = path_scopes(app)
        self._map = app.url_map
        self._depending: dict[str, bool] = {}
        self._covers = [(each, self._compiled(each.path)) for each in self.all]

    def _compiled(self, path: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern_of(path, self._map) + r"(?:/|\Z)", re.DOTALL)
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"protect(under={path!r}): a converter or its arguments are invalid: {error}. Write a part of a"
                " rule, such as /tenants/<int:id>"
            ) from None

    def covering(self, path: str) -> tuple[str, ...]:
        """Return the paths of the scopes that `path` lies below."""
        plain = _SLASHES.sub("/", path)
        return tuple(each.path for each, pattern in self._covers if pattern.match(plain))

    def relations(self, scope: PathScope, endpoint: str) -> set[Relation]:
        """Return for each rule of `endpoint` whether all, some or none of its paths lie below `scope`."""
        return {self.relation(scope, rule.rule) for rule in self._map.iter_rules(endpoint)}

    def relation(self, scope: PathScope, rule: str) -> Relation:
        """Return whether all, some or none of the paths of a rule lie below `scope`."""
        if not VARIABLE.search(rule):
            return "inside" if scope.path in self.covering(rule) else "outside"
        return _relation(segments(scope.path), segments(rule), self._map)

    def depends_on_path(self, endpoint: str) -> bool:
        """Return whether the plan of `endpoint` depends on the path of the request."""
        if endpoint not in self._depending:
            relations = [self.relations(scope, endpoint) for scope in self.all]
            self._depending[endpoint] = any("maybe" in each and "inside" not in each for each in relations)
        return self._depending[endpoint]


def segments(rule: str) -> list[str]:
    """Return the segments of a rule. A slash inside a variable part does not end a segment."""
    variables: list[str] = []

    def keep(variable: re.Match[str]) -> str:
        variables.append(variable[0])
        return f"<{len(variables) - 1}>"

    plain = VARIABLE.sub(keep, rule)
    segments = [each for each in plain.split("/") if each]
    return [re.sub(r"<(\d+)>", lambda number: variables[int(number[1])], each) for each in segments]


def _relation(scope: list[str], rule: list[str], url_map: Map) -> Relation:
    """Return whether each path that `rule` matches, some, or none lies below `scope`."""
    found: Relation = "inside"
    if rule[: len(scope)] == scope:
        return found
    for position, wanted in enumerate(scope):
        if position == len(rule):
            return "outside"
        given = rule[position]
        if _spans_segments(given, url_map) or _spans_segments(wanted, url_map):
            return "maybe"  # the path decides which segments of rule and scope meet
        if given == wanted:
            continue
        if not VARIABLE.search(given):
            if not re.fullmatch(pattern_of(wanted, url_map), given):
                return "outside"
        elif VARIABLE.search(wanted) or re.fullmatch(pattern_of(given, url_map), wanted):
            found = found if _match_the_same(given, wanted) else "maybe"
        else:
            return "outside"
    return found


def _spans_segments(segment: str, url_map: Map) -> bool:
    """Return whether a variable of `segment` may match slashes, as that of ``<path:name>`` does."""
    return any(not converter_of(each, url_map).part_isolating for each in VARIABLE.finditer(segment))


def _match_the_same(given: str, wanted: str) -> bool:
    """Return whether two segments differ in the names of their variables only."""
    unnamed = [
        VARIABLE.sub(lambda each: f"<{each['converter'] or 'default'}({each['arguments'] or ''})>", segment)
        for segment in (given, wanted)
    ]
    return unnamed[0] == unnamed[1]
