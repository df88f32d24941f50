"""Which IPv4 addresses may be talked to, and which may talk to us (RFC 1122 section 3.2.1.3, RFC 6890)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ..errors import DeniedByRule

IPAddress = IPv4Address | IPv6Address

LIMITED_BROADCAST = IPv4Address("255.255.255.255")
"""All hosts of this network, and none beyond it (RFC 1122 section 3.2.1.3)."""


def is_unicast(address: bytes) -> bool:
    """Whether the packed address names one host on a network.

    False for "this network" (0/8), loopback (127/8), multicast (224/4), class E and the limited broadcast (240/4).
    """
    first = address[0]
    return 0 < first < 224 and first != 127


def require_reachable(address: IPv4Address, own: IPv4Address) -> None:
    """Raise DeniedByRule when a host at ``own`` must not, or cannot, open anything towards ``address``.

    RFC 9293 section 3.9.2.3: "A TCP implementation MUST reject as an error a local OPEN call for an invalid remote IP
    address (e.g., a broadcast or multicast address)".
    """
    if not is_unicast(address.packed):
        raise DeniedByRule(f"{address} is not the address of a host in the tunnel")
    if address == own:
        raise DeniedByRule(f"{address} is our own address in the tunnel")
