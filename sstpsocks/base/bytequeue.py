"""A queue of octets that is read at any offset from its front, as a TCP sender needs it.

Theory of operation. A list of chunks with the absolute position of each. Octets are never moved to make room: what is
discarded leaves chunk by chunk, and a read copies only what it returns, so the cost does not depend on how much is
queued (``buffer = buffer[n:]`` would copy it all, each time). Small appends are gathered into one growing chunk, so
that a program that writes single octets does not make a list of millions.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

_GATHER_BELOW: Final = 4096
"""Data smaller than this is copied behind the last chunk; a copy of 4 KiB costs less than a list entry does."""
_GATHERED_LIMIT: Final = 65536
"""A gathered chunk grows to about this before a new one is begun: it is freed only as a whole."""


class ByteQueue:
    """First in, first out, with random access."""

    __slots__ = ("_begin", "_chunks", "_end", "_starts")

    def __init__(self) -> None:
        self._chunks: list[bytes | bytearray] = []
        self._starts: list[int] = []
        """The position of each chunk's first octet."""
        self._begin = 0
        """The position of the first octet that was not discarded."""
        self._end = 0
        """The position after the last octet."""

    def __len__(self) -> int:
        return self._end - self._begin

    def __repr__(self) -> str:
        return f"<ByteQueue {len(self)} octets in {len(self._chunks)} chunks>"

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add ``data`` at the end. It is copied unless it is ``bytes``, so the caller may reuse its buffer."""
        size = len(data)
        if not size:
            return
        if size < _GATHER_BELOW:
            last = self._chunks[-1] if self._chunks else None
            if isinstance(last, bytearray) and len(last) < _GATHERED_LIMIT:
                last += data
            else:
                self._chunks.append(bytearray(data))
                self._starts.append(self._end)
        else:
            self._chunks.append(bytes(data))
            self._starts.append(self._end)
        self._end += size

    def peek(self, offset: int, size: int) -> bytes | bytearray:
        """Return a copy of ``size`` octets from ``offset`` on; fewer when the queue ends before."""
        begin = self._begin + offset
        end = min(begin + size, self._end)
        if begin >= end:
            return b""
        starts = self._starts
        index = bisect_right(starts, begin) - 1
        begin_in_chunk = begin - starts[index]
        chunk = self._chunks[index]
        piece = chunk[begin_in_chunk : begin_in_chunk + end - begin]
        if len(piece) == end - begin:
            return piece
        pieces = [piece]
        missing = end - begin - len(piece)
        while missing:
            index += 1
            piece = self._chunks[index][:missing]
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def discard(self, count: int) -> None:
        """Drop ``count`` octets from the front; all of them when there are fewer."""
        self._begin = begin = min(self._begin + count, self._end)
        if begin == self._end:
            self._chunks.clear()
            self._starts.clear()
            return
        passed = bisect_right(self._starts, begin) - 1
        if passed:
            del self._chunks[:passed]
            del self._starts[:passed]

    def clear(self) -> None:
        """Drop everything."""
        self.discard(len(self))
