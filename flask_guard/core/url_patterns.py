"""URL rules as regular expressions, and the paths of guarded blueprints for requests that no rule matches."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask.sansio.blueprints import BlueprintSetupState
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


# Blueprints ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mount:
    """A blueprint, and the URL prefix and subdomain that it was registered with."""

    blueprint: str
    subdomain: str
    prefix: str

    @classmethod
    def of(cls, setup: BlueprintSetupState) -> Mount | None:
        """Return the place of a blueprint; None if its paths do not differ from the app's."""
        prefix, subdomain = (setup.url_prefix or "").rstrip("/"), setup.subdomain or ""
        name = f"{setup.name_prefix}.{setup.name}".lstrip(".")
        return cls(name, subdomain, prefix) if prefix or subdomain else None


class MountedPaths:
    """Finds the nearest of several mounts above a path."""

    def __init__(self, mounts: list[Mount], url_map: Map) -> None:
        self._mounts = [
            (
                mount.blueprint,
                re.compile(pattern_of(mount.subdomain, url_map)) if mount.subdomain else None,
                re.compile(pattern_of(mount.prefix, url_map) + r"(?:/|\Z)"),
            )
            for mount in sorted(mounts, key=_closeness, reverse=True)
        ]

    def blueprint_above(self, path: str, subdomain: str) -> str | None:
        """Return the name of the blueprint that is mounted most closely above `path` at `subdomain`, or None."""
        for blueprint, at, below in self._mounts:
            if (at is None or at.fullmatch(subdomain)) and below.match(path):
                return blueprint
        return None


def _closeness(mount: Mount) -> tuple[int, int]:
    """Order mounts by depth, and then by the number of variable parts, the fewest last."""
    return (mount.prefix.count("/"), -len(VARIABLE.findall(mount.subdomain + mount.prefix)))
