"""Which of our IPv6 addresses a packet leaves from: RFC 6724 section 5, for a host with one interface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

LINK_LOCAL = 0x2
GLOBAL = 0xE
_POLICY = tuple(
    (IPv6Network(prefix), label)
    for prefix, label in (
        ("::1/128", 0),
        ("::ffff:0:0/96", 4),
        ("::/96", 3),
        ("2001::/32", 5),
        ("2002::/16", 2),
        ("3ffe::/16", 12),
        ("fec0::/10", 11),
        ("fc00::/7", 13),
        ("::/0", 1),
    )
)
"""Section 2.1, the default policy table: prefixes and labels, the longest prefixes first."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """One address of ours and what decides about its use."""

    address: IPv6Address
    prefix_length: int
    """0 to 128."""
    deprecated: bool = False
    """Its preferred lifetime is over (RFC 4862 section 5.5.4): not for new flows if there is another."""
    temporary: bool = False
    """It is a privacy address (RFC 8981)."""


def scope_of(address: IPv6Address) -> int:
    """Return the scope as section 3.1 numbers it: 2 link-local, 5 site-local, 14 global; multicast has its own."""
    if address.is_multicast:
        return address.packed[1] & 0x0F
    if address.is_link_local or address.is_loopback:
        return LINK_LOCAL
    if address.is_site_local:
        return 0x5
    return GLOBAL


def label_of(address: IPv6Address) -> int:
    """Return the label of the default policy table."""
    return next(label for network, label in _POLICY if address in network)


def common_prefix_length(source: OwnAddress, destination: IPv6Address) -> int:
    """Return how many leading bits both have in common, at most the length of the source's prefix (section 2.2)."""
    difference = int(source.address) ^ int(destination)
    return min(128 - difference.bit_length(), source.prefix_length)


def choose_source(candidates: Iterable[OwnAddress], destination: IPv6Address) -> IPv6Address | None:
    """Return the best source address for a destination, None when none will do.

    Rules 4 (home addresses), 5 and 5.5 (several interfaces, next hops) have nothing to decide here. A destination
    beyond the link is not reached from a link-local address (RFC 4007 section 9: no router may forward it), so such a
    candidate does not count; the program learns at once what it would otherwise learn from a time-out.
    """
    scope = scope_of(destination)
    label = label_of(destination)
    best: OwnAddress | None = None
    best_rank: tuple[int, ...] = ()
    for candidate in candidates:
        own_scope = scope_of(candidate.address)
        if own_scope == LINK_LOCAL and scope > LINK_LOCAL:
            continue
        rank = (
            # Rule 1: prefer same address.
            candidate.address == destination,
            # Rule 2: prefer appropriate scope: the smallest that is not smaller than the destination's.
            -own_scope if own_scope >= scope else own_scope - 32,
            # Rule 3: avoid deprecated addresses.
            not candidate.deprecated,
            # Rule 6: prefer matching label.
            label_of(candidate.address) == label,
            # Rule 7: prefer temporary addresses.
            candidate.temporary,
            # Rule 8: use longest matching prefix.
            common_prefix_length(candidate, destination),
        )
        if best is None or rank > best_rank:
            best, best_rank = candidate, rank
    return None if best is None else best.address
