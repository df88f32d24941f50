"""In which order the addresses of a name are tried: RFC 6724 section 6, then the families in turn (RFC 8305 section 4).

Of the ten rules those that one interface can decide are kept. Rule 9, the longest common prefix, is left out: it would
send everybody to the same one of a name's servers.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from ..net.source_address import OwnAddress, choose_source, label_of, scope_of
from ..tunnel.network import IPAddress

# RFC 6724 section 2.1, the default policy table: prefixes and precedences, the longest prefixes first.
_PRECEDENCES = tuple(
    (IPv6Network(prefix), precedence)
    for prefix, precedence in (
        ("::1/128", 50),
        ("::ffff:0:0/96", 35),
        ("::/96", 1),
        ("2001::/32", 5),
        ("2002::/16", 30),
        ("3ffe::/16", 1),
        ("fec0::/10", 1),
        ("fc00::/7", 3),
        ("::/0", 40),
    )
)


def dialling_order(addresses: Iterable[IPAddress], own: Iterable[IPAddress]) -> list[IPAddress]:
    """Return the addresses in the order they should be tried by a host with ``own`` addresses."""
    candidates = [OwnAddress(_mapped(address), 128) for address in own]
    ranked = sorted(dict.fromkeys(addresses), key=lambda address: _rank(_mapped(address), candidates))
    return _interleave(ranked)


def _rank(destination: IPv6Address, own: list[OwnAddress]) -> tuple[int | bool, ...]:
    """Return what sorts a destination before those that are worse."""
    same_family = [candidate for candidate in own if _is_mapped(candidate.address) == _is_mapped(destination)]
    source = choose_source(same_family, destination)
    precedence = next(value for network, value in _PRECEDENCES if destination in network)
    return (
        source is None,  # rule 1: avoid unusable destinations
        source is None or scope_of(source) != scope_of(destination),  # rule 2: prefer matching scope
        source is None or label_of(source) != label_of(destination),  # rule 5: prefer matching label
        -precedence,  # rule 6: prefer higher precedence
        scope_of(destination),  # rule 8: prefer smaller scope
    )


def _interleave(addresses: list[IPAddress]) -> list[IPAddress]:
    """Alternate between the families, beginning with that of the best address.

    RFC 8305 section 4: with a "First Address Family Count" of 1, so that one family that does not work costs one delay.
    """
    if not addresses:
        return []
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    shorter = min(len(first), len(second))
    turns = [address for pair in zip(first, second, strict=False) for address in pair]
    return turns + first[shorter:] + second[shorter:]


def _mapped(address: IPAddress) -> IPv6Address:
    """Return the address as RFC 6724 section 3.2 wants it: IPv4 as IPv4-mapped, of global scope."""
    return IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address


def _is_mapped(address: IPv6Address) -> bool:
    return address.ipv4_mapped is not None
