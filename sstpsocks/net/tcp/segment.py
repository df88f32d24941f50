"""TCP segments on the wire (RFC 9293 section 3.1): read them, write them with their IP header around."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...base.checksum import checksum
from ...base.seqnum import MASK

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20
ECE = 0x40
CWR = 0x80

HEADER_SIZE = 20
"""Octets of a TCP header without options, and of an IPv4 header without options."""

_OPTION_END = 0
_OPTION_NO_OPERATION = 1
_OPTION_MSS = 2
_OPTION_WINDOW_SCALE = 3
_OPTION_SACK_PERMITTED = 4
_OPTION_SACK = 5
_OPTION_TIMESTAMPS = 8

MAXIMUM_OPTIONS = 40
"""Octets of options that a header has room for: its length is counted in 4 bits, in words."""
MAXIMUM_WIND_SHIFT = 14
"""RFC 7323 section 2.3: a larger shift count MUST be used as 14."""

TIMESTAMPS_SIZE = 12
"""Octets that timestamps take of every segment (RFC 7323 appendix A)."""
TIMESTAMPS_WORD = 0x0101080A
"""What they begin with in the form of RFC 7323 appendix A: NOP, NOP, kind 8, length 10."""

_HEADER = struct.Struct(">HHIIHHHH")
_TAIL = struct.Struct(">IIHHHH")
_TAIL_WITH_TIMESTAMPS = struct.Struct(">IIHHHHIII")
_FLAG_LETTERS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."), (URG, "U"), (ECE, "E"), (CWR, "W"))


@dataclass(slots=True)
class Segment:
    """One received segment. Not frozen: the steps of RFC 9293 section 3.10.7.4 trim it to the window."""

    seq: int
    """SEG.SEQ."""
    ack: int
    """SEG.ACK; meaningful when the ACK flag is set."""
    flags: int
    """The eight control bits."""
    window: int
    """SEG.WND as it stands in the header, not scaled."""
    payload: memoryview
    """The data, a slice of the packet."""
    mss: int | None = None
    """The MSS option (RFC 9293 section 3.7.1)."""
    wind_shift: int | None = None
    """The Window Scale option (RFC 7323 section 2), at most 14."""
    sack_permitted: bool = False
    """The SACK-Permitted option (RFC 2018)."""
    sack: tuple[tuple[int, int], ...] = ()
    """The blocks of the SACK option (RFC 2018 section 3): left edge, and right edge that is not part of it."""
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr (RFC 7323 section 3)."""
    marked: bool = False
    """The packet came with the CE codepoint: congestion experienced (RFC 3168 section 5)."""

    @property
    def length(self) -> int:
        """SEG.LEN: the data, and one for each of SYN and FIN."""
        return len(self.payload) + (self.flags & FIN) + ((self.flags & SYN) >> 1)

    def __repr__(self) -> str:
        letters = "".join(letter for bit, letter in _FLAG_LETTERS if self.flags & bit)
        return f"<Segment [{letters}] seq {self.seq} ack {self.ack} win {self.window} len {len(self.payload)}>"


def parse_segment(data: bytes, start: int, end: int) -> Segment | None:
    """Read the segment ``data[start:end]``, None when its lengths are impossible. The checksum is not looked at."""
    if end - start < HEADER_SIZE:
        return None
    _, _, seq, ack, offset_and_flags, window, _, _ = _HEADER.unpack_from(data, start)
    header_size = offset_and_flags >> 12 << 2
    if header_size < HEADER_SIZE or header_size > end - start:
        return None
    segment = Segment(seq, ack, offset_and_flags & 0xFF, window, memoryview(data)[start + header_size : end])
    if header_size > HEADER_SIZE:
        _parse_options(segment, data[start + HEADER_SIZE : start + header_size])
    return segment


def _parse_options(segment: Segment, options: bytes) -> None:
    """Fill in what the options say; the rest of a list that makes no sense is ignored.

    RFC 9293 section 3.1 (MUST-7): "TCP implementations MUST be prepared to handle an illegal option length (e.g.,
    zero)".
    """
    index = 0
    while index < len(options):
        kind = options[index]
        if kind == _OPTION_END:
            return
        if kind == _OPTION_NO_OPERATION:
            index += 1
            continue
        if index + 1 >= len(options):
            return
        length = options[index + 1]
        if length < 2 or index + length > len(options):
            return
        body = options[index + 2 : index + length]
        if kind == _OPTION_MSS and length == 4:
            segment.mss = int.from_bytes(body, "big")
        elif kind == _OPTION_WINDOW_SCALE and length == 3:
            segment.wind_shift = min(body[0], MAXIMUM_WIND_SHIFT)
        elif kind == _OPTION_SACK_PERMITTED and length == 2:
            segment.sack_permitted = True
        elif kind == _OPTION_SACK and length % 8 == 2:
            edges = struct.unpack(f">{len(body) // 4}I", body)
            segment.sack = tuple(zip(edges[::2], edges[1::2], strict=True))
        elif kind == _OPTION_TIMESTAMPS and length == 10:
            segment.timestamps = (int.from_bytes(body[:4], "big"), int.from_bytes(body[4:], "big"))
        index += length


def syn_options(
    mss: int,
    wind_shift: int | None,
    *,
    sack_permitted: bool = False,
    timestamps: tuple[int, int] | None = None,
) -> bytes:
    """Return the options of a SYN: MSS, SACK-Permitted if so, TSval and TSecr if given, and Window Scale unless
    ``wind_shift`` is None.
    """
    options = struct.pack(">BBH", _OPTION_MSS, 4, mss)
    if timestamps is not None:
        # SACK-Permitted takes the place of the padding.
        padding = (_OPTION_SACK_PERMITTED, 2) if sack_permitted else (_OPTION_NO_OPERATION, _OPTION_NO_OPERATION)
        options += struct.pack(">BBBBII", *padding, _OPTION_TIMESTAMPS, 10, *timestamps)
    elif sack_permitted:
        options += bytes((_OPTION_NO_OPERATION, _OPTION_NO_OPERATION, _OPTION_SACK_PERMITTED, 2))
    if wind_shift is not None:
        options += bytes((_OPTION_NO_OPERATION, _OPTION_WINDOW_SCALE, 3, wind_shift))
    return options


def sack_option(blocks: Sequence[tuple[int, int]]) -> bytes:
    """Return a SACK option with these blocks, one to four, padded in front to a multiple of 4 octets."""
    edges = [edge for block in blocks for edge in block]
    padding = bytes((_OPTION_NO_OPERATION, _OPTION_NO_OPERATION))
    return padding + struct.pack(f">BB{len(edges)}I", _OPTION_SACK, 2 + 4 * len(edges), *edges)


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
