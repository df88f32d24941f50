"""Out-of-order data of one connection, held until the hole before it is filled."""

from __future__ import annotations

from ...base.ranges import RangeSet
from ...base.seqnum import MASK, distance


class Reassembly:
    """Pieces by their position, and the ranges they cover (which are the SACK blocks of RFC 2018).

    Positions are sequence numbers that do not wrap, so that ranges can be compared; one reference point ties them to
    sequence numbers and moves along while anything is held. Data is copied in: a slice would keep the whole decrypted
    chunk it came with in memory. Of octets that arrive twice the first copy is kept.
    """

    __slots__ = ("_chunks", "_limit", "_reference", "_reference_seq", "ranges")

    def __init__(self, limit: int) -> None:
        self.ranges = RangeSet()
        """What is held, as positions."""
        self._chunks: dict[int, bytes] = {}
        """Position -> octets. The chunks cover the ranges without overlap."""
        self._limit = limit
        """How many chunks may be held; the receive window bounds their octets."""
        self._reference = 0
        """The position of ``_reference_seq``."""
        self._reference_seq = 0

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
        start = self._reference + distance(self._reference_seq, seq)
        for gap_start, gap_end in self.ranges.missing(start, start + len(data)):
            if len(self._chunks) >= self._limit:
                return False
            self._chunks[gap_start] = bytes(data[gap_start - start : gap_end - start])
            self.ranges.add(gap_start, gap_end)
        return True

    def extract(self, rcv_nxt: int) -> list[bytes]:
        """Return and forget the data that is in order now, given that everything before ``rcv_nxt`` arrived."""
        self._move_reference(rcv_nxt)
        next_position = self._reference
        pieces: list[bytes] = []
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
        return pieces

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self.ranges.clear()

    def _move_reference(self, rcv_nxt: int) -> None:
        if self._chunks:
            self._reference += distance(self._reference_seq, rcv_nxt)
        self._reference_seq = rcv_nxt & MASK
