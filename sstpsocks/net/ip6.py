"""The IPv6 header and its extension headers (RFC 8200 sections 3 and 4): strict on receipt, only Fragment is sent.

Theory of operation. read_chain() walks the extension headers in the order they stand, as section 4 demands, and stops
at the upper-layer header or at a Fragment header. What it finds wrong it raises: a ParameterProblem where the RFC has
the sender told, a plain RemoteProtocolError where the packet is dropped silently. The length of the walk is bounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import RemoteProtocolError
from .ip import CONGESTION_EXPERIENCED, MAX_PACKET, PROTOCOL_TCP, PROTOCOL_UDP, TruncatedPacket

HEADER_SIZE = 40
FRAGMENT_HEADER_SIZE = 8
MIN_MTU = 1280
"""RFC 8200 section 5: what every link carries."""
DEFAULT_HOP_LIMIT = 64

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
PROTOCOL_ICMP6 = 58
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60

_SKIPPED = frozenset({HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS})
"""Extension headers whose second octet is their length in units of 8, the first not counted."""
_PAD_1 = 0
_PAD_N = 1
_MAX_EXTENSION_HEADERS = 16
"""RFC 8504 section 5.3 lets hosts limit the chain; section 4.1 of RFC 8200 knows six at most."""
_UPPER_LAYER_SIZES = {PROTOCOL_TCP: 20, PROTOCOL_UDP: 8, PROTOCOL_ICMP6: 4, NO_NEXT_HEADER: 0}
"""What a first fragment must hold of the upper-layer header (RFC 7112); of others at least an octet."""
_HEADER = struct.Struct("!IHBB16s16s")
_FRAGMENT_HEADER = struct.Struct("!BBHI")


class ParameterProblem(RemoteProtocolError):
    """Something in a packet of which RFC 8200 has its sender told with an ICMPv6 Parameter Problem."""

    ERRONEOUS_FIELD = 0
    UNRECOGNIZED_NEXT_HEADER = 1
    UNRECOGNIZED_OPTION = 2
    INCOMPLETE_FIRST_FRAGMENT = 3

    def __init__(self, code: int, pointer: int, *, even_if_multicast: bool = False) -> None:
        super().__init__(f"IPv6 parameter problem {code} at octet {pointer}", layer="ip")
        self.code = code
        self.pointer = pointer
        """Octets from the beginning of the packet."""
        self.even_if_multicast = even_if_multicast
        """Whether the sender is told also when the packet went to a multicast address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Header:
    """One fixed header, without the version, which is 6."""

    source: bytes
    """Packed address, 16 octets; so is ``destination``."""
    destination: bytes
    next_header: int
    """What follows: an extension header or the upper-layer protocol."""
    payload_length: int
    """Extension headers and payload in octets."""
    hop_limit: int = DEFAULT_HOP_LIMIT
    traffic_class: int = 0
    """DSCP and ECN (RFC 2474, RFC 3168)."""
    flow_label: int = 0
    """RFC 6437; 20 bits."""

    @property
    def marked(self) -> bool:
        """Whether a router marked the packet as having met congestion."""
        return self.traffic_class & CONGESTION_EXPERIENCED == CONGESTION_EXPERIENCED

    @property
    def is_multicast(self) -> bool:
        """Whether the packet went to a group."""
        return self.destination[0] == 0xFF

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> Ipv6Header:
        """Read the header of the packet in ``data[start:end]``; octets behind the packet's own length are allowed.

        Raises RemoteProtocolError when the version is wrong, TruncatedPacket when the packet is longer than the data.
        """
        available = end - start
        if available < HEADER_SIZE:
            raise TruncatedPacket(f"IPv6 packet of {available} octets", layer="ip")
        first_word, payload_length, next_header, hop_limit, source, destination = _HEADER.unpack_from(data, start)
        if first_word >> 28 != 6:
            raise RemoteProtocolError(f"IP version {first_word >> 28}", layer="ip")
        if HEADER_SIZE + payload_length > available:
            raise TruncatedPacket(f"IPv6 payload of {payload_length} octets, only {available - 40} came", layer="ip")
        return cls(
            source=source,
            destination=destination,
            next_header=next_header,
            payload_length=payload_length,
            hop_limit=hop_limit,
            traffic_class=first_word >> 20 & 0xFF,
            flow_label=first_word & 0xFFFFF,
        )

    def to_bytes(self) -> bytes:
        """Return the header."""
        return _HEADER.pack(
            6 << 28 | self.traffic_class << 20 | self.flow_label,
            self.payload_length,
            self.next_header,
            self.hop_limit,
            self.source,
            self.destination,
        )


@dataclass(frozen=True, slots=True)
class FragmentHeader:
    """RFC 8200 section 4.5, without the reserved fields, which are ignored on receipt."""

    next_header: int
    """What the fragmentable part of the original packet begins with."""
    offset: int
    """Where the payload lies in the fragmentable part, in octets; a multiple of 8."""
    more: bool
    """Whether this is not the last fragment."""
    identification: int
    """32 bits."""

    @classmethod
    def parse(cls, data: bytes, start: int) -> FragmentHeader:
        """Read the 8 octets at ``start``."""
        next_header, _, offset_and_more, identification = _FRAGMENT_HEADER.unpack_from(data, start)
        return cls(next_header, offset_and_more & 0xFFF8, bool(offset_and_more & 1), identification)

    def to_bytes(self) -> bytes:
        """Return the 8 octets."""
        return _FRAGMENT_HEADER.pack(self.next_header, 0, self.offset | self.more, self.identification)


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the walk over the extension headers of one packet has ended."""

    protocol: int
    """The upper-layer protocol, or FRAGMENT when ``fragment`` is not None."""
    named_at: int
    """Octets from the beginning of the packet to the Next Header field that holds ``protocol``."""
    position: int
    """Index into the data of the upper-layer header, or of a fragment's payload."""
    fragment: FragmentHeader | None = None


def read_chain(data: bytes, start: int, end: int, header: Ipv6Header, *, reassembled: bool = False) -> Chain:
    """Process the extension headers of the packet ``data[start:end]``, whose fixed header is ``header``.

    Raises ParameterProblem or RemoteProtocolError. A packet that was put together from fragments must not be a
    fragment again: that is nobody's doing but an attacker's.
    """
    protocol = header.next_header
    named_at = 6
    position = start + HEADER_SIZE
    for _ in range(_MAX_EXTENSION_HEADERS):
        if protocol == FRAGMENT and not reassembled:
            fragment = _read_fragment(data, start, position, end, header)
            if fragment.offset or fragment.more:
                return Chain(FRAGMENT, named_at, position + FRAGMENT_HEADER_SIZE, fragment)
            # RFC 8200 section 4.5: "If the fragment is a whole datagram (that is, both the Fragment Offset field and
            # the M flag are zero), then it does not need any further reassembly and should be processed as a fully
            # reassembled packet".
            size = FRAGMENT_HEADER_SIZE
        elif protocol == HOP_BY_HOP and named_at != 6:
            # Section 4: "The same action should be taken if a node encounters a Next Header value of zero in any
            # header other than an IPv6 header."
            raise ParameterProblem(ParameterProblem.UNRECOGNIZED_NEXT_HEADER, named_at)
        elif protocol in _SKIPPED:
            size = _extension_size(data, position, end)
            if protocol == ROUTING:
                _check_routing(data, start, position)
            else:
                _check_options(data, start, position + 2, position + size)
        else:
            return Chain(protocol, named_at, position)
        protocol = data[position]
        named_at = position - start
        position += size
    raise RemoteProtocolError("IPv6 packet with too many extension headers", layer="ip")


def _extension_size(data: bytes, position: int, end: int) -> int:
    size = (data[position + 1] + 1) * 8 if position + 2 <= end else 8
    if position + size > end:
        raise RemoteProtocolError("IPv6 extension header beyond its packet", layer="ip")
    return size


def _check_routing(data: bytes, start: int, position: int) -> None:
    """Section 4.4: "If Segments Left is zero, the node must ignore the Routing header [...] If Segments Left is
    non-zero, the node must discard the packet and send an ICMP Parameter Problem, Code 0, message to the packet's
    Source Address, pointing to the unrecognized Routing Type." No type is recognized; RFC 5095 has taken away type 0.
    """
    if data[position + 3]:
        raise ParameterProblem(ParameterProblem.ERRONEOUS_FIELD, position + 2 - start)


def _check_options(data: bytes, start: int, position: int, end: int) -> None:
    """Section 4.2: options that we do not know say themselves what is to be done; we know none but the padding."""
    while position < end:
        kind = data[position]
        if kind == _PAD_1:
            position += 1
            continue
        if position + 1 >= end or position + 2 + data[position + 1] > end:
            raise ParameterProblem(ParameterProblem.ERRONEOUS_FIELD, position - start)
        action = kind >> 6
        if kind != _PAD_N and action == 1:
            # "01 - discard the packet."
            raise RemoteProtocolError(f"IPv6 option {kind} that asks to be discarded", layer="ip")
        if kind != _PAD_N and action > 1:
            # "10 - discard the packet and, regardless of whether or not the packet's Destination Address was a
            # multicast address, send an ICMP Parameter Problem, Code 2, message to the packet's Source Address,
            # pointing to the unrecognized Option Type. 11 - [...] only if the packet's Destination Address was not a
            # multicast address".
            raise ParameterProblem(
                ParameterProblem.UNRECOGNIZED_OPTION, position - start, even_if_multicast=action == 2
            )
        position += 2 + data[position + 1]


def _read_fragment(data: bytes, start: int, position: int, end: int, header: Ipv6Header) -> FragmentHeader:
    if position + FRAGMENT_HEADER_SIZE > end:
        raise RemoteProtocolError("IPv6 Fragment header beyond its packet", layer="ip")
    fragment = FragmentHeader.parse(data, position)
    payload = position + FRAGMENT_HEADER_SIZE
    size = end - payload
    if not (fragment.offset or fragment.more):
        return fragment
    if fragment.more and size % 8:
        # Section 4.5: "If the length of a fragment, as derived from the fragment packet's Payload Length field, is not
        # a multiple of 8 octets and the M flag of that fragment is 1, then that fragment must be discarded and an ICMP
        # Parameter Problem, Code 0, message should be sent to the source of the fragment, pointing to the Payload
        # Length field of the fragment packet."
        raise ParameterProblem(ParameterProblem.ERRONEOUS_FIELD, 4)
    if position - start - HEADER_SIZE + fragment.offset + size > MAX_PACKET:
        # "... would exceed 65,535 octets, then that fragment must be discarded and an ICMP Parameter Problem, Code 0,
        # message should be sent to the source of the fragment, pointing to the Fragment Offset field".
        raise ParameterProblem(ParameterProblem.ERRONEOUS_FIELD, position + 2 - start)
    if size == 0:
        raise RemoteProtocolError("IPv6 fragment of nothing", layer="ip")
    if fragment.offset == 0 and not _holds_all_headers(data, payload, end, fragment.next_header):
        # "If the first fragment does not include all headers through an Upper-Layer header, then that fragment should
        # be discarded and an ICMP Parameter Problem, Code 3, message should be sent to the source of the fragment,
        # with the Pointer field set to zero."
        raise ParameterProblem(ParameterProblem.INCOMPLETE_FIRST_FRAGMENT, 0)
    return fragment


def _holds_all_headers(data: bytes, position: int, end: int, protocol: int) -> bool:
    while protocol in _SKIPPED or protocol == FRAGMENT:
        if position + 2 > end:
            return False
        size = FRAGMENT_HEADER_SIZE if protocol == FRAGMENT else (data[position + 1] + 1) * 8
        protocol = data[position]
        position += size
    return position + _UPPER_LAYER_SIZES.get(protocol, 1) <= end


def skip_extensions(packet: bytes, header: Ipv6Header) -> tuple[int, int]:
    """Return protocol and position of what lies behind the extension headers of a packet, judging none of them.

    The position may lie beyond the end of a packet that is cut off. For a fragment other than the first, it is that of
    octets in the middle of something; the protocol is FRAGMENT then.
    """
    protocol, position = header.next_header, HEADER_SIZE
    while (protocol in _SKIPPED or protocol == FRAGMENT) and position + FRAGMENT_HEADER_SIZE <= len(packet):
        size = (packet[position + 1] + 1) * 8
        if protocol == FRAGMENT:
            size = FRAGMENT_HEADER_SIZE
            if FragmentHeader.parse(packet, position).offset:
                return FRAGMENT, position + size
        protocol, position = packet[position], position + size
    return protocol, position


def join_fragments(head: bytes, payload: bytes, *, marked: bool = False) -> bytes:
    """Return the packet whose first fragment began with ``head``: fixed header, extension headers, Fragment header;
    with the ECN codepoint CE if it is ``marked``.

    RFC 8200 section 4.5: the Per-Fragment headers are those of the first fragment, and "the Next Header field of the
    last header of the Per-Fragment headers is obtained from the Next Header field of the first fragment's Fragment
    header".
    """
    fragment_at = len(head) - FRAGMENT_HEADER_SIZE
    named_at, position = 6, HEADER_SIZE
    while position < fragment_at:
        # read_chain() has seen to it that every one of them is of the usual form.
        named_at, position = position, position + (head[position + 1] + 1) * 8
    length = fragment_at - HEADER_SIZE + len(payload)
    return b"".join(
        (
            head[:1],
            bytes((head[1] | CONGESTION_EXPERIENCED << 4 if marked else head[1],)),
            head[2:4],
            length.to_bytes(2, "big"),
            head[6:named_at],
            head[fragment_at : fragment_at + 1],
            head[named_at + 1 : fragment_at],
            payload,
        )
    )


def build_packet(
    source: bytes, destination: bytes, protocol: int, payload: bytes, *, hop_limit: int = DEFAULT_HOP_LIMIT
) -> bytes:
    """Return a whole packet; addresses are packed, the payload is at most 65535 octets."""
    header = Ipv6Header(
        source=source,
        destination=destination,
        next_header=protocol,
        payload_length=len(payload),
        hop_limit=hop_limit,
    )
    return header.to_bytes() + payload


def fragment_packet(packet: bytes, mtu: int, identification: int) -> list[bytes]:
    """Cut a packet of ours (no extension headers) into pieces of at most ``mtu`` octets, at least 56.

    A packet that fits comes back as it is.
    """
    if len(packet) <= mtu:
        return [packet]
    room = (mtu - HEADER_SIZE - FRAGMENT_HEADER_SIZE) & ~7
    fragments: list[bytes] = []
    for offset in range(0, len(packet) - HEADER_SIZE, room):
        payload = packet[HEADER_SIZE + offset : HEADER_SIZE + offset + room]
        more = HEADER_SIZE + offset + len(payload) < len(packet)
        fragments.append(
            b"".join(
                (
                    packet[:4],
                    (FRAGMENT_HEADER_SIZE + len(payload)).to_bytes(2, "big"),
                    bytes((FRAGMENT,)),
                    packet[7:HEADER_SIZE],
                    FragmentHeader(packet[6], offset, more, identification).to_bytes(),
                    payload,
                )
            )
        )
    return fragments
