"""The address of a client, as servers and proxies write it, and its networks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from .text import printable

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

NAT64 = IPv6Network("64:ff9b::/96")
"""The addresses under which a translator shows IPv4 clients (RFC 6052, section 2.1)."""

LONGEST = 64
"""The characters that are kept of a server's text other than an address."""


def without_port(address: str) -> str:
    """Return `address` without the port that some servers and proxies add."""
    if ":" not in address:
        return address
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isdecimal() else address  # an IPv6 address has more colons


def shown_address(address: str | None) -> str:
    """Return a client's address for a log, without a port."""
    return printable(without_port(address), LONGEST) if address else ""


def parse_address(address: str | None) -> Address | None:
    """Return a client's address, or None without one. An IPv4 address inside an IPv6 address is extracted."""
    try:
        ip = ip_address(without_port(address or ""))
    except ValueError:
        return None
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip


def parse_networks(values: Iterable[object]) -> tuple[Network, ...]:
    """Return addresses and networks, such as ``192.0.2.0/24``, as networks.

    :raises ValueError: for any other value, and for a network with host bits set.
    """
    networks = []
    for value in values:
        if not isinstance(value, (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address)):
            raise ValueError(f"{value!r} is not an address or a network")  # as ip_network raises it for text
        networks.append(ip_network(value))
    return tuple(networks)


def lies_in(address: str | None, networks: Iterable[Network]) -> bool:
    """Return whether a client's address lies in one of `networks`. A malformed address lies in none of them."""
    ip = parse_address(address)
    return ip is not None and any(ip in network for network in networks)
