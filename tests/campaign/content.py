"""Octets that both sides of the tunnel can compute: block ``index`` of stream ``seed`` is the same everywhere.

No two blocks are alike, so what is lost, doubled, swapped or taken from another stream shows.
"""

from __future__ import annotations

import hashlib

BLOCK = 8192


def block(seed: int, index: int) -> bytes:
    """Return the octets of one block."""
    return hashlib.shake_128(b"%d:%d" % (seed, index)).digest(BLOCK)


class Stream:
    """The octets of a stream in order, in pieces of any size."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._index = 0
        self._rest = b""
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` octets."""
        pieces = [self._rest]
        have = len(self._rest)
        while have < count:
            pieces.append(block(self._seed, self._index))
            self._index += 1
            have += BLOCK
        data = b"".join(pieces)
        self._rest = data[count:]
        self.position += count
        return data[:count]
