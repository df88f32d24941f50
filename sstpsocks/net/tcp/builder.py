"""TCP segments on the wire (RFC 9293 section 3.1): how they are written, with their IP header around."""

from __future__ import annotations

import hashlib
import struct
from typing import ClassVar, Final

from ...base.checksum import checksum
from ...base.seqnum import MASK
from .segment import ACK, HEADER_SIZE, RST, TIMESTAMPS_SIZE, TIMESTAMPS_WORD, parse_segment

_TAIL: Final = struct.Struct(">IIHHHH")
_TAIL_WITH_TIMESTAMPS: Final = struct.Struct(">IIHHHHIII")


class PacketBuilder:
    """Writes the IPv4 packets of one connection.

    Identification 0 with DF (RFC 6864 section 4.1: an atomic datagram's identification has no meaning), so all packets
    of one size and ECN codepoint begin with the same 24 octets, kept as a template.
    """

    __slots__ = ("_base_sum", "_ip_sum", "_ports", "_prefix", "_prefix_ecn", "_prefix_size")

    HEADERS: ClassVar[int] = 40
    """Octets of the fixed headers of IP and TCP."""

    def __init__(self, source: bytes, source_port: int, destination: bytes, destination_port: int) -> None:
        addresses = source + destination
        self._ports = addresses + struct.pack(">HH", source_port, destination_port)
        address_sum = int.from_bytes(addresses, "big") % 0xFFFF
        self._base_sum = address_sum + 6 + source_port + destination_port
        """What all TCP checksums of the connection begin with: pseudo-header without length, and the ports."""
        self._ip_sum = 0x4500 + 0x4000 + 0x4006 + address_sum
        self._prefix_size = self._prefix_ecn = 0
        self._prefix = b""

    def build_with_timestamps(
        self,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        tsval: int,
        tsecr: int,
        payload: bytes | bytearray = b"",
        options: bytes = b"",
        ecn: int = 0,
    ) -> bytes:
        """As build(), with the Timestamps option before the others."""
        segment_size = HEADER_SIZE + TIMESTAMPS_SIZE + len(options) + len(payload)
        if segment_size != self._prefix_size or ecn != self._prefix_ecn:
            self._make_prefix(segment_size, ecn)
        offset_and_flags = (32 + len(options)) << 10 | flags
        initial = (
            self._base_sum + segment_size + seq + ack + offset_and_flags + window + TIMESTAMPS_WORD + tsval + tsecr
        )
        if options:
            payload = options + payload
        value = checksum(payload, 0, len(payload), initial)
        tail = _TAIL_WITH_TIMESTAMPS.pack(seq, ack, offset_and_flags, window, value, 0, TIMESTAMPS_WORD, tsval, tsecr)
        return b"".join((self._prefix, tail, payload))

    def build(
        self,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        payload: bytes | bytearray = b"",
        options: bytes = b"",
        ecn: int = 0,
    ) -> bytes:
        """Return a whole IP packet with its checksums; ``options`` must be a multiple of 4 octets, ``ecn`` is the ECN
        codepoint (RFC 3168 section 5).
        """
        segment_size = HEADER_SIZE + len(options) + len(payload)
        if segment_size != self._prefix_size or ecn != self._prefix_ecn:
            self._make_prefix(segment_size, ecn)
        offset_and_flags = (20 + len(options)) << 10 | flags
        # 2**16 leaves 1 modulo 2**16 - 1, so whole 32-bit fields may be added as they are.
        initial = self._base_sum + segment_size + seq + ack + offset_and_flags + window
        if options:
            payload = options + payload
        value = checksum(payload, 0, len(payload), initial)
        return b"".join((self._prefix, _TAIL.pack(seq, ack, offset_and_flags, window, value, 0), payload))

    def _make_prefix(self, segment_size: int, ecn: int) -> None:
        total = HEADER_SIZE + segment_size
        value = 0xFFFF - ((self._ip_sum + ecn + total) % 0xFFFF or 0xFFFF)
        # Version 4, header of 5 words; identification 0 and DF; TTL 64 (RFC 9293 section 3.9.2), protocol 6.
        self._prefix = struct.pack(">HHIHH", 0x4500 | ecn, total, 0x4000, 0x4006, value) + self._ports
        self._prefix_size = segment_size
        self._prefix_ecn = ecn


class Ipv6PacketBuilder(PacketBuilder):
    """Writes the IPv6 packets of one connection; those of one size and ECN codepoint begin with the same 44
    octets.
    """

    __slots__ = ("_flow_label",)

    HEADERS: ClassVar[int] = 60

    def __init__(
        self, source: bytes, source_port: int, destination: bytes, destination_port: int, flow_label: int
    ) -> None:
        super().__init__(source, source_port, destination, destination_port)
        self._flow_label = flow_label

    def _make_prefix(self, segment_size: int, ecn: int) -> None:
        # Version 6, in the traffic class only ECN; next header 6, hop limit 64.
        self._prefix = struct.pack(">IHH", 6 << 28 | ecn << 20 | self._flow_label, segment_size, 0x0640) + self._ports
        self._prefix_size = segment_size
        self._prefix_ecn = ecn


def packet_builder(
    source: bytes, source_port: int, destination: bytes, destination_port: int, secret: bytes = b""
) -> PacketBuilder:
    """Return the builder for the family of two packed addresses; ``secret`` makes IPv6 flow labels.

    RFC 6437 section 3: "source nodes SHOULD assign each unrelated transport connection and application data stream to a
    new flow"; the label must not be easily guessed by third parties. Without a secret it is 0, no label.
    """
    if len(source) == 4:
        return PacketBuilder(source, source_port, destination, destination_port)
    flow_label = 0
    if secret:
        ports = struct.pack(">HH", source_port, destination_port)
        digest = hashlib.blake2s(source + destination + ports, digest_size=4, key=secret[:32], person=b"label").digest()
        flow_label = int.from_bytes(digest, "big") & 0xFFFFF
    return Ipv6PacketBuilder(source, source_port, destination, destination_port, flow_label)


def build_reset(data: bytes, start: int, end: int, source: bytes, destination: bytes) -> bytes | None:
    """Return the packet that answers the segment ``data[start:end]``, for which there is no connection.

    ``source`` and ``destination`` are the packed addresses the segment came with. None when nothing may be sent.
    RFC 9293 section 3.10.7.1: "An incoming segment containing a RST is discarded. An incoming segment not containing a
    RST causes a RST to be sent in response."
    """
    segment = parse_segment(data, start, end)
    if segment is None or segment.flags & RST:
        return None
    source_port, destination_port = struct.unpack_from(">HH", data, start)
    builder = packet_builder(destination, destination_port, source, source_port)
    if segment.flags & ACK:
        # "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"
        return builder.build(segment.ack, 0, RST, 0)
    # "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>"
    return builder.build(0, (segment.seq + segment.length) & MASK, RST | ACK, 0)
