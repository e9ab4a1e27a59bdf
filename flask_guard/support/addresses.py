"""The identity of a client by its address, and lists of addresses in options."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from ..errors import ConfigError
from ..wsgi.addresses import LONGEST, Network, lies_in, parse_address, parse_networks, shown_address, without_port
from ..wsgi.text import printable
from .options import listed

UNKNOWN = "unknown"


def client_network(address: str | None) -> str:
    """Return the identity of a client in limits by address: an IPv4 address, or the /64 network of an IPv6 one.

    A client commonly owns a whole /64. All clients without an address, as behind a Unix socket, share one identity.
    """
    if not address:
        return UNKNOWN
    if ":" not in address:
        return address if address.isprintable() and len(address) <= LONGEST else printable(address, LONGEST)
    return _known_network(address) if len(address) <= LONGEST else _network(address)


def _network(address: str) -> str:
    ip = parse_address(address)
    if ip is None:
        return printable(without_port(address))
    return str(ip) if isinstance(ip, IPv4Address) else f"{type(ip)(int(ip) >> 64 << 64)}/64"


_known_network = lru_cache(maxsize=1024)(_network)
"""The same for short addresses, kept: to parse one takes longer than to count a request."""


def networks(value: Any, what: str) -> tuple[Network, ...]:
    """Check for addresses and networks; return networks.

    :raises ConfigError: for a value that is neither an address nor a network.
    """
    try:
        return parse_networks(listed(value))
    except ValueError as error:
        raise ConfigError(f"{what}: {error}; write a network such as 192.0.2.0/24 or 2001:db8::/32") from None


__all__ = ["LONGEST", "UNKNOWN", "Network", "client_network", "lies_in", "networks", "parse_address", "shown_address"]
