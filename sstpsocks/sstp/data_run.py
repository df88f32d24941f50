"""The data path of SSTP: data packets whose frames are of a known kind, found in a stream.

Theory of operation. In a transfer nearly every packet of the stream begins with the same eight octets but for its
length: version 1.0 and no control packet, the length, and the PPP frame's address, control and protocol field (RFC 1661
without compression). find_frames() takes those in one loop and returns positions instead of copies; at anything else it
stops, and the link takes that one step by step. Which frames may pass is the link's knowledge.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ..base.build import COMPILED
from .packet import MAX_PACKET

if TYPE_CHECKING:
    from mypy_extensions import i64
if COMPILED:
    from librt.strings import read_i64_be

DATA_HEADER_SIZE: Final = 8
"""Octets before the frame's information: SSTP's header and the PPP header."""
_HEADER: Final = Struct(">HHI")  # version and C bit | length | address, control, protocol
_DATA_PACKET: Final = 0x1000


def find_frames(data: bytes, position: int, first_kind: int, second_kind: int, spans: list[tuple[int, int]]) -> int:
    """Append where the information of frames lies in ``data`` from ``position`` on; return where something else begins.

    A kind is what a frame begins with, as a number of four octets, or -1 for none. What is something else may also be
    the beginning of such a packet.
    """
    size: i64 = len(data)
    start: i64 = position
    # A compiler takes these as plain machine integers.
    first: i64 = first_kind
    second: i64 = second_kind
    kind: i64
    length: i64
    frame: i64
    unpack = _HEADER.unpack_from
    append = spans.append
    while start + DATA_HEADER_SIZE <= size:
        if COMPILED:
            header = read_i64_be(data, start)
            kind = header >> 48
            length = header >> 32 & 0xFFFF
            frame = header & 0xFFFFFFFF
        else:
            kind, length, frame = unpack(data, start)
        if kind != _DATA_PACKET or not DATA_HEADER_SIZE < length <= MAX_PACKET or frame not in (first, second):
            break
        end = start + length
        if end > size:
            break
        append((start + DATA_HEADER_SIZE, end))
        start = end
    return start


def data_header(size: int, kind: int) -> bytes:
    """Return what comes before ``size`` octets of information in a frame of a kind, at most MAX_PACKET in all."""
    return _HEADER.pack(_DATA_PACKET, size + DATA_HEADER_SIZE, kind)
