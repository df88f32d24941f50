"""ICMP (RFC 792, RFC 1122 section 3.2.2): messages, and what an error means for whoever sent the quoted packet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from ..base.checksum import checksum
from ..errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    RemoteProtocolError,
)

HEADER_SIZE = 8
QUOTE_LIMIT = 576 - 20 - HEADER_SIZE
"""RFC 1812 section 4.3.2.3: as much of the original "as possible without the length of the ICMP datagram exceeding 576
bytes"."""

# RFC 1191 table 7-1: sizes that links are known to carry, for routers that do not tell theirs.
PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)


class IcmpType(IntEnum):
    """The types of RFC 792 that we know. Others are dropped silently (RFC 1122 section 3.2.2)."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    ECHO_REQUEST = 8
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12


ERROR_TYPES = frozenset({3, 4, 5, 11, 12})
"""Also source quench and redirect, which we neither send nor heed (RFC 6633; there is nobody to be redirected to)."""


class IcmpErrorKind(Enum):
    """What an ICMP error says, whatever its type and code."""

    NETWORK_UNREACHABLE = "network unreachable"
    HOST_UNREACHABLE = "host unreachable"
    PROTOCOL_UNREACHABLE = "protocol unreachable"
    PORT_UNREACHABLE = "port unreachable"
    FRAGMENTATION_NEEDED = "fragmentation needed"
    SOURCE_ROUTE_FAILED = "source route failed"
    ADMINISTRATIVELY_PROHIBITED = "administratively prohibited"
    TTL_EXCEEDED = "time to live exceeded in transit"
    REASSEMBLY_TIME_EXCEEDED = "fragment reassembly time exceeded"
    PARAMETER_PROBLEM = "parameter problem"

    def to_error(self, target: str) -> DialError:
        """Return what a program that dials ``target`` is told."""
        return _ERRORS[self](f"{target}: ICMP says {self.value}")


# RFC 792 codes 0-5, RFC 1122 section 3.2.2.1 codes 6-12, RFC 1812 section 5.2.7.1 codes 13-15.
_UNREACHABLE_CODES = {
    0: IcmpErrorKind.NETWORK_UNREACHABLE,
    1: IcmpErrorKind.HOST_UNREACHABLE,
    2: IcmpErrorKind.PROTOCOL_UNREACHABLE,
    3: IcmpErrorKind.PORT_UNREACHABLE,
    4: IcmpErrorKind.FRAGMENTATION_NEEDED,
    5: IcmpErrorKind.SOURCE_ROUTE_FAILED,
    6: IcmpErrorKind.NETWORK_UNREACHABLE,
    7: IcmpErrorKind.HOST_UNREACHABLE,
    8: IcmpErrorKind.HOST_UNREACHABLE,
    9: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    10: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    11: IcmpErrorKind.NETWORK_UNREACHABLE,
    12: IcmpErrorKind.HOST_UNREACHABLE,
    13: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    14: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
    15: IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED,
}
_ERRORS: dict[IcmpErrorKind, type[DialError]] = {
    IcmpErrorKind.NETWORK_UNREACHABLE: NetworkUnreachable,
    IcmpErrorKind.HOST_UNREACHABLE: HostUnreachable,
    IcmpErrorKind.PROTOCOL_UNREACHABLE: ConnectionRefused,
    IcmpErrorKind.PORT_UNREACHABLE: ConnectionRefused,
    IcmpErrorKind.FRAGMENTATION_NEEDED: HostUnreachable,
    IcmpErrorKind.SOURCE_ROUTE_FAILED: HostUnreachable,
    IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED: HostUnreachable,
    IcmpErrorKind.TTL_EXCEEDED: HostUnreachable,
    IcmpErrorKind.REASSEMBLY_TIME_EXCEEDED: ConnectTimedOut,
    IcmpErrorKind.PARAMETER_PROBLEM: HostUnreachable,
}


@dataclass(frozen=True, slots=True)
class IcmpMessage:
    """One ICMP message without its checksum, which parse verifies and to_bytes computes."""

    type: int
    code: int
    rest: int
    """Octets 4 to 8 as one number; what they mean depends on the type."""
    body: bytes = b""

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> IcmpMessage:
        """Read ``data[start:end]``. Raises RemoteProtocolError when it is short or its checksum is wrong."""
        if end - start < HEADER_SIZE:
            raise RemoteProtocolError(f"ICMP message of {end - start} octets", layer="icmp")
        if checksum(data, start, end):
            raise RemoteProtocolError("ICMP message with a wrong checksum", layer="icmp")
        rest = int.from_bytes(data[start + 4 : start + 8], "big")
        return cls(data[start], data[start + 1], rest, data[start + 8 : end])

    def to_bytes(self) -> bytes:
        """Return the message with its checksum."""
        head = bytes((self.type, self.code))
        tail = self.rest.to_bytes(4, "big") + self.body
        value = checksum(tail, 0, len(tail), int.from_bytes(head, "big"))
        return head + value.to_bytes(2, "big") + tail


def echo(kind: IcmpType, identifier: int, sequence: int, payload: bytes) -> IcmpMessage:
    """Return an echo request or reply; ``identifier`` and ``sequence`` are 16-bit numbers."""
    return IcmpMessage(kind, 0, identifier << 16 | sequence, payload)


def error_kind(message: IcmpMessage) -> IcmpErrorKind | None:
    """Return what an error message says, None for messages that are no errors and for those we do not heed."""
    match message.type:
        case IcmpType.DESTINATION_UNREACHABLE:
            return _UNREACHABLE_CODES.get(message.code)
        case IcmpType.TIME_EXCEEDED:
            return IcmpErrorKind.REASSEMBLY_TIME_EXCEEDED if message.code else IcmpErrorKind.TTL_EXCEEDED
        case IcmpType.PARAMETER_PROBLEM:
            return IcmpErrorKind.PARAMETER_PROBLEM
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Quote:
    """The start of a packet of ours as an ICMP error gives it back."""

    source: bytes
    """Packed address, ours."""
    destination: bytes
    """Packed address."""
    protocol: int
    total_length: int
    """Of the packet that was sent, in octets; routers along the way may have changed it."""
    transport: bytes
    """At least the first 8 octets behind the IP header."""


def parse_quote(body: bytes) -> Quote:
    """Read the packet that an ICMP error quotes.

    Raises RemoteProtocolError unless it is the first fragment of an IPv4 packet with at least 8 octets behind the
    header. The checksum and the time to live of the quote may be stale, so they do not matter.
    """
    if len(body) < 28 or body[0] >> 4 != 4:
        raise RemoteProtocolError("ICMP error without a quoted packet", layer="icmp")
    header_length = (body[0] & 0x0F) * 4
    if header_length < 20 or len(body) < header_length + 8:
        raise RemoteProtocolError("ICMP error with a truncated quote", layer="icmp")
    if int.from_bytes(body[6:8], "big") & 0x1FFF:
        raise RemoteProtocolError("ICMP error about a fragment other than the first", layer="icmp")
    total_length = int.from_bytes(body[2:4], "big")
    return Quote(body[12:16], body[16:20], body[9], total_length, body[header_length:])


def next_hop_mtu(message: IcmpMessage, quote: Quote) -> int:
    """Return the MTU that a "fragmentation needed" reports, in octets, at least 68.

    RFC 1191 section 4 puts it into the low 16 bits; a router that predates it leaves 0 there, and section 5 has the
    host take the next lower plateau below the size of the packet.
    """
    mtu = message.rest & 0xFFFF
    if mtu == 0:
        mtu = next((plateau for plateau in PLATEAUS if plateau < quote.total_length), PLATEAUS[-1])
    return max(mtu, PLATEAUS[-1])
