"""Which addresses may be talked to, and which may talk to us (RFC 1122 section 3.2.1.3, RFC 4291, RFC 6890)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

from ..errors import DeniedByRule, NetworkUnreachable

IPAddress = IPv4Address | IPv6Address

LIMITED_BROADCAST = IPv4Address("255.255.255.255")
"""All hosts of this network, and none beyond it (RFC 1122 section 3.2.1.3)."""


def is_unicast(address: bytes) -> bool:
    """Whether the packed address names one host on a network.

    False for "this network" (0/8), loopback (127/8), multicast (224/4), class E and the limited broadcast (240/4). Of
    IPv6 for multicast (ff00::/8) and for ::/80, where the unspecified address, loopback and IPv4 in disguise lie.
    """
    first = address[0]
    if len(address) == 16:
        return first != 0xFF and any(address[:10])
    return 0 < first < 224 and first != 127


def is_ipv6_group(address: IPAddress) -> bool:
    """Whether it is a multicast address of IPv6."""
    return address.version == 6 and address.is_multicast


def require_reachable(address: IPAddress, own: Collection[IPAddress]) -> None:
    """Raise DeniedByRule when a host with the addresses ``own`` must not, or cannot, open anything to ``address``.

    RFC 9293 section 3.9.2.3: "A TCP implementation MUST reject as an error a local OPEN call for an invalid remote IP
    address (e.g., a broadcast or multicast address)".
    """
    if not is_unicast(address.packed):
        raise DeniedByRule(f"{address} is not the address of a host in the tunnel")
    if address in own:
        raise DeniedByRule(f"{address} is our own address in the tunnel")


def require_source(address: IPAddress, source: IPAddress | None) -> IPAddress:
    """Return ``source``, which was chosen for packets to ``address``; raise NetworkUnreachable when there is none."""
    if source is None:
        raise NetworkUnreachable(f"{address}: the tunnel has no IPv{address.version} address for it")
    return source
