"""Router Solicitation and Router Advertisement on the wire: RFC 4861 sections 4.1, 4.2 and 4.6, RFC 8106 section 5.

These are ICMPv6 messages without their checksum (two zero octets), which belongs to whoever knows the addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network
from struct import Struct

from ...errors import RemoteProtocolError
from .names import domain_names_to_bytes, parse_domain_names

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134


_SOLICITATION_SIZE = 8
_ADVERTISEMENT = Struct(">BBHBBHII")  # type, code, checksum, Cur Hop Limit, flags, lifetime, reachable, retransmission
_PREFIX = Struct(">BBBBIII16s")  # type, length, prefix length, flags, valid, preferred, reserved, prefix
_MTU = Struct(">BBHI")
_LIFETIME = Struct(">BBHI")  # what RDNSS and DNSSL begin with
_UNIT = 8  # octets that the Length of an option counts in

_MANAGED = 0x80
_OTHER = 0x40
_ON_LINK = 0x80
_AUTONOMOUS = 0x40


class NdOption(IntEnum):
    """The options that mean something on a link without link-layer addresses."""

    PREFIX_INFORMATION = 3
    MTU = 5
    RECURSIVE_DNS_SERVER = 25
    DNS_SEARCH_LIST = 31


@dataclass(frozen=True, slots=True)
class PrefixInformation:
    """A prefix of the link (RFC 4861 section 4.6.2)."""

    prefix: IPv6Network
    valid_lifetime: int
    """Seconds; 0xffffffff for ever."""
    preferred_lifetime: int
    """Seconds; 0xffffffff for ever."""
    on_link: bool = True
    """L: who has an address in it is reached directly."""
    autonomous: bool = True
    """A: hosts may make addresses from it."""

    def to_bytes(self) -> bytes:
        """Return the option."""
        flags = (_ON_LINK if self.on_link else 0) | (_AUTONOMOUS if self.autonomous else 0)
        return _PREFIX.pack(
            NdOption.PREFIX_INFORMATION,
            _PREFIX.size // _UNIT,
            self.prefix.prefixlen,
            flags,
            self.valid_lifetime,
            self.preferred_lifetime,
            0,
            self.prefix.network_address.packed,
        )


@dataclass(frozen=True, slots=True)
class RecursiveServers:
    """Name servers (RFC 8106 section 5.1)."""

    addresses: tuple[IPv6Address, ...]
    lifetime: int
    """Seconds; 0xffffffff for ever, 0 for not any more."""

    def to_bytes(self) -> bytes:
        """Return the option."""
        length = 1 + 2 * len(self.addresses)
        return _LIFETIME.pack(NdOption.RECURSIVE_DNS_SERVER, length, 0, self.lifetime) + b"".join(
            address.packed for address in self.addresses
        )


@dataclass(frozen=True, slots=True)
class SearchList:
    """Domains to look up short names in (RFC 8106 section 5.2)."""

    domains: tuple[str, ...]
    lifetime: int
    """Seconds; 0xffffffff for ever, 0 for not any more."""

    def to_bytes(self) -> bytes:
        """Return the option."""
        names = domain_names_to_bytes(self.domains)
        names += bytes(-len(names) % _UNIT)
        return _LIFETIME.pack(NdOption.DNS_SEARCH_LIST, 1 + len(names) // _UNIT, 0, self.lifetime) + names


@dataclass(frozen=True, slots=True)
class RouterSolicitation:
    """The question for an advertisement (RFC 4861 section 4.1); PPP has no link-layer address to put into it."""

    def to_bytes(self) -> bytes:
        """Return the message with a zero checksum."""
        return bytes((ROUTER_SOLICITATION,)) + bytes(_SOLICITATION_SIZE - 1)


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """What a router says about itself and the link (RFC 4861 section 4.2)."""

    router_lifetime: int = 0
    """Seconds that it is a default router, 0 to 65535; 0: it is none."""
    managed: bool = False
    """M: addresses can be had by DHCPv6, and everything else with them."""
    other: bool = False
    """O: other things, such as name servers, can be had by DHCPv6."""
    hop_limit: int = 0
    """What packets should start with, 0 to 255; 0: not said."""
    reachable_time: int = 0
    """Milliseconds; for neighbours, of which a PPP link has one."""
    retransmission_timer: int = 0
    """Milliseconds, as above."""
    mtu: int | None = None
    """The largest packet of the link in octets."""
    prefixes: tuple[PrefixInformation, ...] = ()
    servers: tuple[RecursiveServers, ...] = ()
    search_lists: tuple[SearchList, ...] = ()

    @classmethod
    def parse(cls, message: bytes) -> RouterAdvertisement:
        """Read a message whose checksum is right. Raises RemoteProtocolError.

        RFC 4861 section 6.1.2: "ICMP Code is 0", "ICMP length (derived from the IP length) is 16 or more octets", "All
        included options have a length that is greater than zero". Options that we do not know are ignored.
        """
        if len(message) < _ADVERTISEMENT.size:
            raise RemoteProtocolError(f"Router Advertisement of {len(message)} octets", layer="ipv6")
        kind, code, _, hop_limit, flags, lifetime, reachable, retransmission = _ADVERTISEMENT.unpack_from(message)
        if kind != ROUTER_ADVERTISEMENT or code != 0:
            raise RemoteProtocolError(f"no Router Advertisement: type {kind}, code {code}", layer="ipv6")
        mtu: int | None = None
        prefixes: list[PrefixInformation] = []
        servers: list[RecursiveServers] = []
        search_lists: list[SearchList] = []
        for option in _split_options(message):
            match option[0]:
                case NdOption.PREFIX_INFORMATION if len(option) == _PREFIX.size:
                    prefixes += _parse_prefix(option)
                case NdOption.MTU if len(option) == _MTU.size:
                    mtu = _MTU.unpack(option)[3]
                case NdOption.RECURSIVE_DNS_SERVER:
                    servers += _parse_servers(option)
                case NdOption.DNS_SEARCH_LIST:
                    search_lists += _parse_search_list(option)
        return cls(
            router_lifetime=lifetime,
            managed=bool(flags & _MANAGED),
            other=bool(flags & _OTHER),
            hop_limit=hop_limit,
            reachable_time=reachable,
            retransmission_timer=retransmission,
            mtu=mtu,
            prefixes=tuple(prefixes),
            servers=tuple(servers),
            search_lists=tuple(search_lists),
        )

    def to_bytes(self) -> bytes:
        """Return the message with a zero checksum."""
        flags = (_MANAGED if self.managed else 0) | (_OTHER if self.other else 0)
        pieces = [
            _ADVERTISEMENT.pack(
                ROUTER_ADVERTISEMENT,
                0,
                0,
                self.hop_limit,
                flags,
                self.router_lifetime,
                self.reachable_time,
                self.retransmission_timer,
            )
        ]
        if self.mtu is not None:
            pieces.append(_MTU.pack(NdOption.MTU, 1, 0, self.mtu))
        pieces += [prefix.to_bytes() for prefix in self.prefixes]
        pieces += [servers.to_bytes() for servers in self.servers]
        pieces += [search_list.to_bytes() for search_list in self.search_lists]
        return b"".join(pieces)


def _split_options(message: bytes) -> list[bytes]:
    options: list[bytes] = []
    offset = _ADVERTISEMENT.size
    while offset < len(message):
        length = message[offset + 1] * _UNIT if offset + 1 < len(message) else 0
        if length == 0 or offset + length > len(message):
            raise RemoteProtocolError(f"neighbor discovery option with invalid length {length}", layer="ipv6")
        options.append(message[offset : offset + length])
        offset += length
    return options


def _parse_prefix(option: bytes) -> list[PrefixInformation]:
    _, _, length, flags, valid, preferred, _, prefix = _PREFIX.unpack(option)
    if length > 128:
        return []
    # RFC 4861 section 4.6.2: "The bits in the prefix after the prefix length are reserved and MUST be [...] ignored".
    network = IPv6Network((prefix, length), strict=False)
    return [PrefixInformation(network, valid, preferred, bool(flags & _ON_LINK), bool(flags & _AUTONOMOUS))]


def _parse_servers(option: bytes) -> list[RecursiveServers]:
    # RFC 8106 section 5.3.1: the Length is valid when it "is greater than or equal to the minimum value (3)" and makes
    # whole addresses.
    if len(option) < 3 * _UNIT or len(option) % 16 != _UNIT:
        return []
    addresses = tuple(IPv6Address(option[offset : offset + 16]) for offset in range(_UNIT, len(option), 16))
    return [RecursiveServers(addresses, _LIFETIME.unpack_from(option)[3])]


def _parse_search_list(option: bytes) -> list[SearchList]:
    try:
        domains = parse_domain_names(option[_UNIT:])
    except RemoteProtocolError:
        return []  # RFC 8106 section 5.3.1: an invalid option is discarded, not the message
    return [SearchList(domains, _LIFETIME.unpack_from(option)[3])] if domains else []
