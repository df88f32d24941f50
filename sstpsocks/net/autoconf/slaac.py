"""Stateless address autoconfiguration: RFC 4862, with interface identifiers of RFC 7217.

There is one identifier for a tunnel. We ask for it in IPV6CP, the server may replace it there, and every address is
made with what was agreed, because servers route by it: SoftEther, for one, answers for nothing else. It is no hardware
address but a keyed hash of the network, so that a user has the same address in the same network each time, if the
secret is kept, and cannot be recognised by it in another one.

Duplicate address detection is not needed: RFC 5072 section 5 calls it "redundant" for identifiers that IPV6CP
negotiated, and recommends DupAddrDetectTransmits to be zero.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from .advertisement import PrefixInformation
from .lifetimes import deadline, earliest

IDENTIFIER_SIZE = 8
LINK_LOCAL_PREFIX = IPv6Network("fe80::/64")
TWO_HOURS = 7200.0  # RFC 4862 section 5.5.3
MAX_PREFIXES = 8
"""Addresses that we make; real networks have one or two prefixes."""
MIN_SECRET = 16  # RFC 7217 section 5: "a pseudorandom number of at least 128 bits"

_UNIVERSAL_BIT = 0x02
# RFC 5453 and the IANA registry of reserved interface identifiers.
_RESERVED = (
    (0, 0),
    (0x0200_5EFF_FE00_0000, 0x0200_5EFF_FEFF_FFFF),
    (0xFDFF_FFFF_FFFF_FF80, 0xFDFF_FFFF_FFFF_FFFF),
)


def stable_identifier(
    secret: bytes, network: bytes, *, prefix: IPv6Network = LINK_LOCAL_PREFIX, taken: Collection[bytes] = ()
) -> bytes:
    """Return the eight octets of RFC 7217: always the same for the same secret, network and prefix.

    ``secret``: at least 16 octets that nobody else knows. ``network``: what tells this network from others, the
    Network_ID; the server's name. ``taken``: identifiers that are in use. Raises ValueError for a short secret.
    """
    if len(secret) < MIN_SECRET:
        raise ValueError(f"a secret of {len(secret)} octets, RFC 7217 wants {MIN_SECRET}")
    counter = 0
    while True:
        # RFC 7217 section 5: RID = F(Prefix, Net_Iface, Network_ID, DAD_Counter, secret_key). Lengths keep the parts
        # apart; our interface is always the same one.
        parts = (prefix.network_address.packed[:IDENTIFIER_SIZE], b"tunnel", network, counter.to_bytes(4, "big"))
        text = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        octets = bytearray(hmac.digest(secret, text, hashlib.sha256)[-IDENTIFIER_SIZE:])
        # RFC 5072 section 4.1: it is not from a hardware address, so that the universal/local bit is zero.
        octets[0] &= ~_UNIVERSAL_BIT & 0xFF
        number = int.from_bytes(octets, "big")
        if bytes(octets) not in taken and not any(first <= number <= last for first, last in _RESERVED):
            return bytes(octets)
        counter += 1


def make_address(prefix: IPv6Network, identifier: bytes) -> IPv6Address:
    """Return the address of a /64 prefix and an interface identifier of eight octets."""
    return IPv6Address(prefix.network_address.packed[:IDENTIFIER_SIZE] + identifier)


def link_local_address(identifier: bytes) -> IPv6Address:
    """Return the address that every IPv6 interface has (RFC 5072 section 5)."""
    return make_address(LINK_LOCAL_PREFIX, identifier)


@dataclass(slots=True)
class _Lifetimes:
    """When an address stops being preferred, and being ours."""

    preferred_until: float
    valid_until: float
    preferred: bool


class AddressAutoconfiguration:
    """The addresses made from advertised prefixes, and their lifetimes."""

    def __init__(self, identifier: bytes) -> None:
        self._identifier = identifier
        self._lifetimes: dict[IPv6Address, _Lifetimes] = {}

    def __repr__(self) -> str:
        return f"<AddressAutoconfiguration {', '.join(map(str, self._lifetimes)) or 'no addresses'}>"

    @property
    def addresses(self) -> tuple[tuple[IPv6Address, bool], ...]:
        """The valid addresses, each with whether it is preferred: deprecated ones are for what runs already."""
        return tuple((address, lifetimes.preferred) for address, lifetimes in self._lifetimes.items())

    def receive_prefix(self, information: PrefixInformation, now: float) -> None:
        """Take one Prefix Information option of a valid advertisement, by the steps of RFC 4862 section 5.5.3."""
        # a) "If the Autonomous flag is not set, silently ignore", b) "If the prefix is the link-local prefix", c) "If
        # the preferred lifetime is greater than the valid lifetime".
        prefix = information.prefix
        if not information.autonomous or prefix.is_link_local or prefix.is_multicast:
            return
        if information.preferred_lifetime > information.valid_lifetime:
            return
        # d) "If the sum of the prefix length and interface identifier length does not equal 128 bits, the Prefix
        # Information option MUST be ignored".
        if prefix.prefixlen != 128 - 8 * IDENTIFIER_SIZE or prefix.network_address.is_unspecified:
            return
        address = make_address(prefix, self._identifier)
        preferred_until = deadline(information.preferred_lifetime, now)
        valid_until = deadline(information.valid_lifetime, now)
        held = self._lifetimes.get(address)
        if held is None:
            if information.valid_lifetime and len(self._lifetimes) < MAX_PREFIXES:
                self._lifetimes[address] = _Lifetimes(preferred_until, valid_until, preferred_until > now)
            return
        # e) so that a forged advertisement cannot take an address away: a lifetime of more than two hours, or more than
        # what is left, is taken; otherwise what is left is cut to two hours at most.
        remaining = held.valid_until - now
        if valid_until - now > TWO_HOURS or valid_until > held.valid_until:
            held.valid_until = valid_until
        elif remaining > TWO_HOURS:
            held.valid_until = now + TWO_HOURS
        held.preferred_until = min(preferred_until, held.valid_until)
        held.preferred = held.preferred_until > now

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        return earliest(
            lifetimes.preferred_until if lifetimes.preferred else lifetimes.valid_until
            for lifetimes in self._lifetimes.values()
        )

    def handle_timer(self, now: float) -> None:
        """Deprecate and remove what has come to its end (RFC 4862 section 5.5.4)."""
        for address, lifetimes in list(self._lifetimes.items()):
            lifetimes.preferred = lifetimes.preferred_until > now
            if lifetimes.valid_until <= now:
                del self._lifetimes[address]
