"""Randomness from the operating system."""

from __future__ import annotations

import os


class SystemEntropy:
    """The :class:`~sstpsocks.base.entropy.Entropy` of a running program: the operating system's generator.

    Fit for secrets: nonces, challenges and initial sequence numbers.
    """

    __slots__ = ()

    def random_bytes(self, count: int, /) -> bytes:
        """Return ``count`` random bytes."""
        return os.urandom(count)
