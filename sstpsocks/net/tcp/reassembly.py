"""Out-of-order data of one connection, held until the hole before it is filled."""

from __future__ import annotations

from typing import Final

from ...base.ranges import RangeSet
from ...base.seqnum import MASK, distance

_RECENT: Final = 4
"""Ranges whose order of arrival is remembered: an option has room for four blocks (RFC 2018 section 3)."""
_GATHERED_LIMIT: Final = 65536
"""A chunk grows to about this: behind one hole in a window of 16 MiB wait more segments than chunks may be held."""


class Reassembly:
    """Pieces by their position, and the ranges they cover (which are the SACK blocks of RFC 2018).

    Positions are sequence numbers that do not wrap, so that ranges can be compared; one reference point ties them to
    sequence numbers and moves along while anything is held. Data is copied in: a slice would keep the whole decrypted
    chunk it came with in memory. Of octets that arrive twice the first copy is kept.
    """

    __slots__ = ("_chunks", "_last", "_limit", "_recent", "_reference", "_reference_seq", "octets", "ranges")

    def __init__(self, limit: int) -> None:
        self.ranges = RangeSet()
        """What is held, as positions."""
        self.octets = 0
        """How much that is."""
        self._chunks: dict[int, bytearray] = {}
        """Position -> octets. The chunks cover the ranges without overlap."""
        self._last = 0
        """Where the chunk begins that was written last; what follows it is appended."""
        self._limit = limit
        """How many chunks may be held; the receive window bounds their octets."""
        self._reference = 0
        """The position of ``_reference_seq``."""
        self._reference_seq = 0
        self._recent: list[int] = []
        """A position in each of the ranges that grew last, latest first."""

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def __repr__(self) -> str:
        return f"<Reassembly {len(self._chunks)} chunks in {len(self.ranges)} ranges>"

    def insert(self, seq: int, data: memoryview, rcv_nxt: int) -> bool:
        """Hold what is new of ``data``, which begins at ``seq`` > ``rcv_nxt`` and lies in the window.

        Return False when there was no room for all of it: the sender will send the rest again.
        """
        self._move_reference(rcv_nxt)
        if not self._chunks:
            self._recent.clear()
        start = self._reference + distance(self._reference_seq, seq)
        complete = True
        for gap_start, gap_end in self.ranges.missing(start, start + len(data)):
            piece = data[gap_start - start : gap_end - start]
            last = self._chunks.get(self._last)
            if last is not None and self._last + len(last) == gap_start and len(last) < _GATHERED_LIMIT:
                last += piece
            elif len(self._chunks) < self._limit:
                self._chunks[gap_start] = bytearray(piece)
                self._last = gap_start
            else:
                complete = False
                break
            self.ranges.add(gap_start, gap_end)
            self.octets += gap_end - gap_start
        if (block := self.ranges.containing(start)) is not None:
            recent = [position for position in self._recent if not block[0] <= position < block[1]]
            self._recent = [start, *recent[: _RECENT - 1]]
        return complete

    def duplicate(self, seq: int, size: int) -> tuple[int, int] | None:
        """Return the first part of the ``size`` octets at ``seq`` that is held already, as sequence numbers; None when
        all of it is new.
        """
        if not self._chunks:
            return None
        offset = self._reference + distance(self._reference_seq, seq)
        held = self.ranges.containing(offset)
        first = offset
        if held is None:
            gap = self.ranges.missing(offset, offset + size)[0]
            if gap[1] == offset + size:
                return None
            first = gap[1]
            held = self.ranges.containing(first)
            if held is None:
                return None
        return (seq + first - offset) & MASK, (seq + min(held[1] - offset, size)) & MASK

    def blocks(self, maximum: int, rcv_nxt: int) -> list[tuple[int, int]]:
        """Return up to ``maximum`` of the ranges as sequence numbers, those first that grew last.

        RFC 2018 section 4: "The first SACK block (i.e., the one immediately following the kind and length fields in the
        option) MUST specify the contiguous block of data containing the segment which triggered this ACK". "The SACK
        option SHOULD be filled out by repeating the most recently reported SACK blocks".
        """
        self._move_reference(rcv_nxt)
        found: list[tuple[int, int]] = []
        for position in self._recent:
            block = self.ranges.containing(position)
            if block is not None and block not in found:
                found.append(block)
        index = 0
        while len(found) < maximum and index < len(self.ranges):
            if self.ranges[index] not in found:
                found.append(self.ranges[index])
            index += 1
        shift = self._reference_seq - self._reference
        return [((start + shift) & MASK, (end + shift) & MASK) for start, end in found[:maximum]]

    def extract(self, rcv_nxt: int) -> list[bytearray]:
        """Return and forget the data that is in order now, given that everything before ``rcv_nxt`` arrived."""
        self._move_reference(rcv_nxt)
        next_position = self._reference
        pieces: list[bytearray] = []
        while self.ranges and self.ranges[0][0] <= next_position:
            start, end = self.ranges[0]
            position = start
            while position < end:
                chunk = self._chunks.pop(position)
                position += len(chunk)
                # What the sender sent again in other cuts may have overtaken the beginning of a chunk.
                fresh = position - next_position
                if fresh > 0:
                    pieces.append(chunk if fresh >= len(chunk) else chunk[-fresh:])
                    next_position = position
            self.ranges.subtract(start, end)
            self.octets -= end - start
        return pieces

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self.octets = 0
        self.ranges.clear()
        self._recent.clear()

    def _move_reference(self, rcv_nxt: int) -> None:
        if self._chunks:
            self._reference += distance(self._reference_seq, rcv_nxt)
        self._reference_seq = rcv_nxt & MASK
