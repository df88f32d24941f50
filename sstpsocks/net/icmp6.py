"""ICMPv6 (RFC 4443): messages, what an error means for whoever sent the quoted packet, and the neighbors' questions.

Of Neighbor Discovery a host on a point-to-point link needs little (RFC 4861 section 3.2, RFC 5072 section 5): it has
no link-layer addresses to find out, but answers when it is asked whether it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..base.checksum import checksum, pseudo_header_sum
from ..errors import RemoteProtocolError
from .icmp import IcmpErrorKind, Quote
from .ip6 import FRAGMENT, FRAGMENT_HEADER_SIZE, HEADER_SIZE, MIN_MTU, PROTOCOL_ICMP6, Ipv6Header, skip_extensions

QUOTE_LIMIT = MIN_MTU - HEADER_SIZE - 8
"""RFC 4443 section 2.4 (c): as much of the invoking packet "as possible without making the error message packet exceed
the minimum IPv6 MTU"."""
_SOLICITATION_SIZE = 20
_OPTION_SOURCE_LINK_LAYER_ADDRESS = 1
_SOLICITED = 0x40000000
_OVERRIDE = 0x20000000


class Icmp6Type(IntEnum):
    """The types of RFC 4443 and RFC 4861 that we know. Others are dropped silently."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOR_SOLICITATION = 135
    NEIGHBOR_ADVERTISEMENT = 136
    REDIRECT = 137


FIRST_INFORMATIONAL = 128
"""Section 2.1: types below are errors."""

# RFC 4443 section 3.1.
_UNREACHABLE_CODES = {
    0: IcmpErrorKind.NETWORK_UNREACHABLE,
    1: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    2: IcmpErrorKind.HOST_UNREACHABLE,
    3: IcmpErrorKind.HOST_UNREACHABLE,
    4: IcmpErrorKind.PORT_UNREACHABLE,
    5: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    6: IcmpErrorKind.NETWORK_UNREACHABLE,
    7: IcmpErrorKind.SOURCE_ROUTE_FAILED,
}


@dataclass(frozen=True, slots=True)
class Icmp6Message:
    """One message without its checksum, which parse verifies and to_bytes computes."""

    type: int
    code: int
    body: bytes = b""
    """Everything behind the checksum, octet 4 on."""

    @classmethod
    def parse(cls, data: bytes, start: int, end: int, source: bytes, destination: bytes) -> Icmp6Message:
        """Read ``data[start:end]``, sent between two packed addresses.

        Raises RemoteProtocolError when it is short or its checksum is wrong.
        """
        if end - start < 4:
            raise RemoteProtocolError(f"ICMPv6 message of {end - start} octets", layer="icmp")
        if checksum(data, start, end, pseudo_header_sum(source, destination, PROTOCOL_ICMP6, end - start)):
            raise RemoteProtocolError("ICMPv6 message with a wrong checksum", layer="icmp")
        return cls(data[start], data[start + 1], data[start + 4 : end])

    def to_bytes(self, source: bytes, destination: bytes) -> bytes:
        """Return the message for a packet between two packed addresses."""
        initial = pseudo_header_sum(source, destination, PROTOCOL_ICMP6, 4 + len(self.body))
        value = checksum(self.body, 0, len(self.body), initial + (self.type << 8 | self.code))
        return bytes((self.type, self.code)) + value.to_bytes(2, "big") + self.body

    @property
    def number(self) -> int:
        """Octets 4 to 8 as one number: MTU, pointer, or identifier and sequence number. 0 when they are missing."""
        return int.from_bytes(self.body[:4], "big")


def echo(kind: Icmp6Type, identifier: int, sequence: int, payload: bytes) -> Icmp6Message:
    """Return an echo request or reply; ``identifier`` and ``sequence`` are 16-bit numbers."""
    return Icmp6Message(kind, 0, (identifier << 16 | sequence).to_bytes(4, "big") + payload)


def error_kind(message: Icmp6Message) -> IcmpErrorKind | None:
    """Return what an error message says, None for messages that are no errors and for those we do not heed."""
    match message.type:
        case Icmp6Type.DESTINATION_UNREACHABLE:
            return _UNREACHABLE_CODES.get(message.code)
        case Icmp6Type.PACKET_TOO_BIG:
            # RFC 4443 section 3.2: the code is "Set to 0 (zero) by the originator and ignored by the receiver."
            return IcmpErrorKind.FRAGMENTATION_NEEDED
        case Icmp6Type.TIME_EXCEEDED:
            return IcmpErrorKind.REASSEMBLY_TIME_EXCEEDED if message.code else IcmpErrorKind.TTL_EXCEEDED
        case Icmp6Type.PARAMETER_PROBLEM:
            # An unrecognized Next Header is IPv6's "protocol unreachable".
            return IcmpErrorKind.PROTOCOL_UNREACHABLE if message.code == 1 else IcmpErrorKind.PARAMETER_PROBLEM
        case _:
            return None


def parse_quote(body: bytes) -> Quote:
    """Read the packet that an ICMPv6 error quotes; ``body`` begins with the quote.

    Raises RemoteProtocolError unless it is a whole packet or a first fragment with at least 8 octets behind its
    headers.
    """
    if len(body) < HEADER_SIZE or body[0] >> 4 != 6:
        raise RemoteProtocolError("ICMPv6 error without a quoted packet", layer="icmp")
    payload_length = int.from_bytes(body[4:6], "big")
    protocol, position = body[6], HEADER_SIZE
    if protocol == FRAGMENT and len(body) >= HEADER_SIZE + FRAGMENT_HEADER_SIZE:
        # The only extension header that we send.
        if int.from_bytes(body[42:44], "big") & 0xFFF8:
            raise RemoteProtocolError("ICMPv6 error about a fragment other than the first", layer="icmp")
        protocol, position = body[HEADER_SIZE], HEADER_SIZE + FRAGMENT_HEADER_SIZE
    if len(body) < position + 8:
        raise RemoteProtocolError("ICMPv6 error with a truncated quote", layer="icmp")
    return Quote(body[8:24], body[24:40], protocol, HEADER_SIZE + payload_length, body[position:])


def is_error(data: bytes, header: Ipv6Header) -> bool:
    """Whether the packet ``data`` is one that must never be answered with an error because of what it carries.

    RFC 4443 section 2.4 (e): "An ICMPv6 error message MUST NOT be originated as a result of receiving [...] An ICMPv6
    error message. An ICMPv6 redirect message". Where the headers cannot be walked, what it carries is not known.
    """
    protocol, position = skip_extensions(data, header)
    if protocol != PROTOCOL_ICMP6:
        return False
    return position >= len(data) or data[position] < FIRST_INFORMATIONAL or data[position] == Icmp6Type.REDIRECT


def parse_solicitation(message: Icmp6Message, header: Ipv6Header) -> bytes:
    """Return the packed target of a Neighbor Solicitation.

    Raises RemoteProtocolError unless it is valid by RFC 4861 section 7.1.1; the checksum was verified before.
    """
    body = message.body
    target = body[4:_SOLICITATION_SIZE]
    # "The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded by a router."
    if header.hop_limit != 255 or message.code != 0 or len(body) < _SOLICITATION_SIZE or target[0] == 0xFF:
        raise RemoteProtocolError("invalid Neighbor Solicitation", layer="icmp")
    has_link_layer_address = False
    position = _SOLICITATION_SIZE
    while position < len(body):
        # "All included options have a length that is greater than zero."
        size = body[position + 1] * 8 if position + 2 <= len(body) else 0
        if size == 0 or position + size > len(body):
            raise RemoteProtocolError("Neighbor Solicitation with an invalid option", layer="icmp")
        has_link_layer_address |= body[position] == _OPTION_SOURCE_LINK_LAYER_ADDRESS
        position += size
    # "If the IP source address is the unspecified address, the IP destination address is a solicited-node multicast
    # address", and "there is no source link-layer address option in the message".
    well_addressed = header.destination.startswith(SOLICITED_NODE_PREFIX) and not has_link_layer_address
    if not any(header.source) and not well_addressed:
        raise RemoteProtocolError("invalid Neighbor Solicitation without a source", layer="icmp")
    return target


def neighbor_advertisement(target: bytes, *, solicited: bool) -> Icmp6Message:
    """Return the answer that a packed address of ours is here.

    Without a Target Link-Layer Address option: on a link without such addresses there is nothing to put into it.
    """
    flags = _OVERRIDE | (_SOLICITED if solicited else 0)
    return Icmp6Message(Icmp6Type.NEIGHBOR_ADVERTISEMENT, 0, flags.to_bytes(4, "big") + target)


SOLICITED_NODE_PREFIX = bytes.fromhex("ff0200000000000000000001ff")
"""RFC 4291 section 2.7.1: with the last 24 bits of an address behind, its solicited-node multicast address."""


def solicited_node(address: bytes) -> bytes:
    """Return the packed group in which a packed address is asked for."""
    return SOLICITED_NODE_PREFIX + address[-3:]
