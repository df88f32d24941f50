"""The Internet checksum (RFC 1071), summed as one big integer.

Theory of operation. The ones' complement sum of 16-bit words is the remainder modulo 2**16 - 1, and
``int.from_bytes`` reads a whole segment as one number whose remainder is that sum, because 2**16 leaves 1. Halving
the number a few times first (any multiple of 16 bits leaves 1 as well) makes the division cheap. The remainder knows
one zero where ones' complement knows two: a sum of words that are not all zero is never +0, so a remainder of 0
stands for 0xffff then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .build import COMPILED

if TYPE_CHECKING:
    from mypy_extensions import i64
if COMPILED:
    from librt.strings import read_i64_le

_SHORT: Final = 128
"""Up to this many bytes a plain division is as fast as folding."""
_PACKET: Final = 2048
"""Up to this many bytes the four folds below are enough: 1024, 512, 256 and 128 bytes."""
_LARGE_FOLDS: Final = tuple((bits, (1 << bits) - 1) for bits in (262144, 131072, 65536, 32768, 16384))
_MASK_8192: Final = (1 << 8192) - 1
_MASK_4096: Final = (1 << 4096) - 1
_MASK_2048: Final = (1 << 2048) - 1
_MASK_1024: Final = (1 << 1024) - 1


def ones_complement_sum(data: bytes | bytearray | memoryview, start: int, end: int, initial: int = 0) -> int:
    """Return the ones' complement sum of ``data[start:end]`` and ``initial``, in ``[0, 0xffff]``.

    ``initial`` is any non-negative sum of 16-bit words. An odd length is padded with a zero octet (RFC 1071). The
    result is 0 only when everything is 0.
    """
    if COMPILED and isinstance(data, bytes):
        return _sum_of_words(data, start, end, initial)
    number = int.from_bytes(data[start:end], "big")
    size = end - start
    if size & 1:
        number <<= 8
    if size > _SHORT:
        if size > _PACKET:
            for bits, mask in _LARGE_FOLDS:
                number = (number >> bits) + (number & mask)
        number = (number >> 8192) + (number & _MASK_8192)
        number = (number >> 4096) + (number & _MASK_4096)
        number = (number >> 2048) + (number & _MASK_2048)
        number = (number >> 1024) + (number & _MASK_1024)
    number += initial
    return number % 0xFFFF or (0xFFFF if number else 0)


def checksum(data: bytes | bytearray | memoryview, start: int, end: int, initial: int = 0) -> int:
    """Return the Internet checksum of ``data[start:end]``, in ``[0, 0xffff]``.

    ``initial`` is a sum that came before, for instance :func:`pseudo_header_sum`. Over data that holds its own
    correct checksum the result is 0.
    """
    return 0xFFFF - ones_complement_sum(data, start, end, initial)


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """Return the sum of the pseudo-header of TCP and UDP, to be used as ``initial``.

    ``source`` and ``destination`` are packed addresses of 4 (RFC 9293 section 3.1) or 16 octets (RFC 8200 section
    8.1); ``length`` is that of the segment or datagram in octets.
    """
    return int.from_bytes(source + destination, "big") % 0xFFFF + protocol + length


def _sum_of_words(data: bytes, start: i64, end: i64, initial: i64) -> i64:
    """As ones_complement_sum(), word by word: what a compiler makes the best of.

    RFC 1071 section 2 (B): the sum may be computed in either byte order, and its octets be swapped at the end.
    """
    size: i64 = len(data)
    if end > size:
        end = size
    low: i64 = 0
    high: i64 = 0
    position = start
    while position + 8 <= end:
        word = read_i64_le(data, position)
        low += word & 0xFFFFFFFF
        high += (word >> 32) & 0xFFFFFFFF
        position += 8
    low += high
    while position + 2 <= end:
        low += data[position] | data[position + 1] << 8
        position += 2
    if position < end:
        low += data[position]
    low = (low & 0xFFFFFFFF) + (low >> 32)
    low = (low & 0xFFFF) + (low >> 16)
    low = (low & 0xFFFF) + (low >> 16)
    low = (low & 0xFFFF) + (low >> 16)
    number = ((low & 0xFF) << 8 | low >> 8) + initial
    return number % 0xFFFF or (0xFFFF if number else 0)
