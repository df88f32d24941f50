"""The IPv4 header (RFC 791 section 3.1): strict on receipt, options skipped, none sent."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..base.checksum import checksum
from ..errors import RemoteProtocolError

HEADER_SIZE = 20
"""Octets of a header without options, the only kind we send."""
DEFAULT_TTL = 64
"""RFC 1122 section 3.2.1.7 wants it configurable and large enough; 64 is IANA's value for it."""
MAX_PACKET = 65535
CONGESTION_EXPERIENCED = 3
"""The ECN codepoint CE, in the low bits of the traffic class (RFC 3168 section 5)."""
PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000
_OFFSET_MASK = 0x1FFF
_HEADER = struct.Struct("!BBHHHBBH4s4s")


class TruncatedPacket(RemoteProtocolError):
    """The packet is shorter than its header says. A subclass only because RFC 4293 counts these apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Header:
    """One header, without the version, which is 4, and the checksum, which parse verifies and to_bytes computes."""

    source: bytes
    """Packed address, 4 octets; so is ``destination``. Packed, because the demultiplexer's keys are."""
    destination: bytes
    protocol: int
    total_length: int
    """Header, options and payload in octets."""
    identification: int = 0
    ttl: int = DEFAULT_TTL
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    """Where the payload lies in the whole datagram's, in octets; a multiple of 8."""
    traffic_class: int = 0
    """DSCP and ECN (RFC 2474, RFC 3168)."""
    options: bytes = b""
    """Up to 40 octets, a multiple of 4. Received ones are skipped: no option obliges a host that is neither routed
    through nor traced (RFC 1122 section 3.2.1.8)."""

    @property
    def header_length(self) -> int:
        """Octets before the payload."""
        return HEADER_SIZE + len(self.options)

    @property
    def marked(self) -> bool:
        """Whether a router marked the packet as having met congestion."""
        return self.traffic_class & CONGESTION_EXPERIENCED == CONGESTION_EXPERIENCED

    @property
    def is_fragment(self) -> bool:
        """Whether this is a piece of a datagram."""
        return self.more_fragments or self.fragment_offset > 0

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> Ipv4Header:
        """Read the header of the packet in ``data[start:end]``; octets behind the packet's own length are allowed.

        Raises RemoteProtocolError when version, lengths or checksum are wrong, its subclass TruncatedPacket when the
        packet is longer than the data.
        """
        available = end - start
        if available < HEADER_SIZE:
            raise TruncatedPacket(f"IPv4 packet of {available} octets", layer="ip")
        (
            version_ihl,
            traffic_class,
            total_length,
            identification,
            flags_offset,
            ttl,
            protocol,
            _,
            source,
            destination,
        ) = _HEADER.unpack_from(data, start)
        if version_ihl >> 4 != 4:
            raise RemoteProtocolError(f"IP version {version_ihl >> 4}", layer="ip")
        header_length = (version_ihl & 0x0F) * 4
        if header_length < HEADER_SIZE or total_length < header_length:
            raise RemoteProtocolError(
                f"IPv4 header of {header_length} octets in a packet of {total_length}", layer="ip"
            )
        if total_length > available:
            raise TruncatedPacket(f"IPv4 packet of {total_length} octets, only {available} came", layer="ip")
        # RFC 1122 section 3.2.1.2: "A host MUST verify the IP header checksum on every received datagram and silently
        # discard every datagram that has a bad checksum."
        if checksum(data, start, start + header_length):
            raise RemoteProtocolError("IPv4 header with a wrong checksum", layer="ip")
        return cls(
            source=source,
            destination=destination,
            protocol=protocol,
            total_length=total_length,
            identification=identification,
            ttl=ttl,
            dont_fragment=bool(flags_offset & _DONT_FRAGMENT),
            more_fragments=bool(flags_offset & _MORE_FRAGMENTS),
            fragment_offset=(flags_offset & _OFFSET_MASK) * 8,
            traffic_class=traffic_class,
            options=data[start + HEADER_SIZE : start + header_length],
        )

    def to_bytes(self) -> bytes:
        """Return the header with its checksum."""
        flags_offset = self.fragment_offset // 8
        if self.dont_fragment:
            flags_offset |= _DONT_FRAGMENT
        if self.more_fragments:
            flags_offset |= _MORE_FRAGMENTS
        fixed = _HEADER.pack(
            0x40 | self.header_length // 4,
            self.traffic_class,
            self.total_length,
            self.identification,
            flags_offset,
            self.ttl,
            self.protocol,
            0,
            self.source,
            self.destination,
        )
        header = fixed + self.options
        value = checksum(header, 0, len(header))
        return b"".join((header[:10], value.to_bytes(2, "big"), header[12:]))


def build_packet(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    dont_fragment: bool = False,
) -> bytes:
    """Return a whole packet; addresses are packed, the payload is at most 65515 octets."""
    header = Ipv4Header(
        source=source,
        destination=destination,
        protocol=protocol,
        total_length=HEADER_SIZE + len(payload),
        identification=identification,
        dont_fragment=dont_fragment,
    )
    return header.to_bytes() + payload
