"""Randomness as something handed in, so that every machine can be replayed from a seed."""

from __future__ import annotations

import hashlib
from typing import Protocol


class Entropy(Protocol):
    """A source of random bytes. ``tunnel/`` hands in the operating system's; tests hand in a seeded one."""

    def random_bytes(self, count: int, /) -> bytes:
        """Return ``count`` random bytes."""
        ...


class SeededEntropy:
    """A reproducible source for tests and simulations: SHA-256 over a counter. Not for secrets."""

    __slots__ = ("_buffer", "_counter", "_key")

    def __init__(self, seed: int | str) -> None:
        self._key = hashlib.sha256(str(seed).encode()).digest()
        self._counter = 0
        self._buffer = b""

    def random_bytes(self, count: int, /) -> bytes:
        """Return the next ``count`` bytes of the sequence."""
        while len(self._buffer) < count:
            self._buffer += hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        result, self._buffer = self._buffer[:count], self._buffer[count:]
        return result


def random_below(entropy: Entropy, bound: int) -> int:
    """Return a uniform integer in ``[0, bound)``; ``bound`` must be positive.

    Eight bytes more than the bound needs make the bias of the remainder smaller than 2**-64.
    """
    size = (bound.bit_length() + 7) // 8 + 8
    return int.from_bytes(entropy.random_bytes(size), "big") % bound


def random_uint32(entropy: Entropy) -> int:
    """Return a uniform integer in ``[0, 2**32)``."""
    return int.from_bytes(entropy.random_bytes(4), "big")
