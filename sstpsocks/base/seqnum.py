"""Arithmetic modulo 2**32 for sequence numbers (RFC 9293 section 3.4).

Plain integers in ``[0, 2**32)``; a NewType would cost a call on the data path and buy little.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


def add(number: int, count: int) -> int:
    """Return ``number + count``; ``count`` may be negative."""
    return (number + count) & MASK


def distance(start: int, end: int) -> int:
    """Return the signed distance from ``start`` to ``end``, in ``[-2**31, 2**31)``."""
    return ((end - start + _HALF) & MASK) - _HALF


def lt(left: int, right: int) -> bool:
    """Whether ``left`` comes before ``right``."""
    return ((left - right) & MASK) >= _HALF


def le(left: int, right: int) -> bool:
    """Whether ``left`` comes before ``right`` or is equal."""
    return ((right - left) & MASK) < _HALF


def in_window(number: int, start: int, size: int) -> bool:
    """Whether ``start <= number < start + size``, for ``size`` up to 2**31."""
    return ((number - start) & MASK) < size
