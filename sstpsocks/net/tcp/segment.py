"""TCP segments on the wire (RFC 9293 section 3.1): how they are read, and their options. builder.py writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80

HEADER_SIZE: Final = 20
"""Octets of a TCP header without options, and of an IPv4 header without options."""

_OPTION_END: Final = 0
_OPTION_NO_OPERATION: Final = 1
_OPTION_MSS: Final = 2
_OPTION_WINDOW_SCALE: Final = 3
_OPTION_SACK_PERMITTED: Final = 4
_OPTION_SACK: Final = 5
_OPTION_TIMESTAMPS: Final = 8

MAXIMUM_OPTIONS: Final = 40
"""Octets of options that a header has room for: its length is counted in 4 bits, in words."""
MAXIMUM_WIND_SHIFT: Final = 14
"""RFC 7323 section 2.3: a larger shift count MUST be used as 14."""

TIMESTAMPS_SIZE: Final = 12
"""Octets that timestamps take of every segment (RFC 7323 appendix A)."""
TIMESTAMPS_WORD: Final = 0x0101080A
"""What they begin with in the form of RFC 7323 appendix A: NOP, NOP, kind 8, length 10."""

_HEADER: Final = struct.Struct(">HHIIHHHH")
_FLAG_LETTERS: Final = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."), (URG, "U"), (ECE, "E"), (CWR, "W"))


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
