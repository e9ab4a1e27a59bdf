"""Where guarded blueprints are registered, for the requests below them that no rule matches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.routing import Map

from .url_patterns import VARIABLE, pattern_of

if TYPE_CHECKING:
    from flask.sansio.blueprints import BlueprintSetupState


@dataclass(frozen=True, slots=True)
class Mount:
    """A blueprint, and the URL prefix and subdomain that it was registered with."""

    blueprint: str
    subdomain: str
    prefix: str

    @classmethod
    def of(cls, setup: BlueprintSetupState) -> Mount | None:
        """Return where `setup` puts its blueprint; None if nothing tells its paths from the app's."""
        prefix, subdomain = (setup.url_prefix or "").rstrip("/"), setup.subdomain or ""
        name = f"{setup.name_prefix}.{setup.name}".lstrip(".")
        return cls(name, subdomain, prefix) if prefix or subdomain else None


class MountedPaths:
    """Tells which of several mounts lies most closely above a path."""

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
    """Order mounts by how closely they say where they are: by depth, then by how little of it is variable."""
    return (mount.prefix.count("/"), -len(VARIABLE.findall(mount.subdomain + mount.prefix)))
