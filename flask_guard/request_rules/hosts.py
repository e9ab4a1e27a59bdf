"""Host names in options and in requests (RFC 9110, section 7.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..support.options import listed

DEFAULT_PORTS = (("http", "80"), ("https", "443"))
_HOST = re.compile(r"(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?")
_EXAMPLE = "write a name such as api.example.com, *.example.com or localhost:5000"


def host_names(value: Any, what: str) -> tuple[str, ...]:
    """Check for the names of hosts: exact, or ``*.`` and a domain; with a port or without."""
    return tuple(_host_name(each, what) for each in listed(value))


def _host_name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what}: {value!r} is not a host; {_EXAMPLE}")
    if "/" in value:
        raise ConfigError(f"{what}: {value!r} is a URL or a path. Leave the scheme and the slashes out; {_EXAMPLE}")
    if value == "*":
        raise ConfigError(f"{what}: '*' accepts every host. Leave the option out")
    if not value.isascii():
        raise ConfigError(f"{what}: {value!r} must be in its ASCII form, xn--…")
    match = _HOST.fullmatch(value.removeprefix("*."))
    if match is None or match["port"] == "" or match["name"].endswith("."):
        raise ConfigError(f"{what}: {value!r} is not a host; {_EXAMPLE}")
    return value.lower()


def split_host(host: str) -> tuple[str, str] | None:
    """Return the name and the port of a ``Host`` field, in lower case, or None if it is malformed.

    The port is empty if the field has none. A dot at the end of the name is dropped.
    """
    match = _HOST.fullmatch(host)
    return (match["name"].lower().removesuffix("."), match["port"] or "") if match else None


def allowing(hosts: tuple[str, ...]) -> Callable[[str, str], bool]:
    """Return a function that checks a ``Host`` field, for a scheme, for one of `hosts`.

    A host that is listed without a port is allowed with every port.
    """
    exact = frozenset(each for each in hosts if not each.startswith("*."))
    below = tuple(_HOST.fullmatch(each[2:]) for each in hosts if each.startswith("*."))
    domains = tuple((f".{match['name']}", match["port"]) for match in below if match)
    ports = dict(DEFAULT_PORTS)

    def allows(host: str, scheme: str) -> bool:
        if host in exact:
            return True
        found = split_host(host)
        if found is None:
            return False
        name, port = found[0], found[1] or ports.get(scheme, "")
        if name in exact or f"{name}:{port}" in exact:
            return True
        return any(name.endswith(domain) and wanted in (None, port) for domain, wanted in domains)

    return allows
