"""Who a client is, by its address."""

from __future__ import annotations

from ipaddress import IPv6Address

from .text import printable

UNKNOWN = "unknown"
LONGEST = 64
"""Characters of what a server calls an address that are kept."""


def client_network(address: str | None) -> str:
    """Return what stands for a client in limits by address: an IPv4 address, or the /64 network of an IPv6 one.

    One client commonly has a whole /64 to itself. Clients without an address, as behind a Unix socket, are one.
    """
    if not address:
        return UNKNOWN
    if ":" not in address:
        return address if address.isprintable() and len(address) <= LONGEST else printable(address, LONGEST)
    try:
        ip = IPv6Address(address)
    except ValueError:
        return printable(address)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
