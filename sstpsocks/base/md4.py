"""MD4 (RFC 1320), which MS-CHAPv2 needs and OpenSSL 3 no longer offers without its legacy provider.

MD4 is broken as a hash; nothing but the password hash of RFC 2759 may use it.
"""

from __future__ import annotations

import struct

MD4_SIZE = 16

_INITIAL_STATE = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)  # RFC 1320 section 3.3
_MASK = 0xFFFFFFFF

# RFC 1320 section 3.4: for each round its additive constant, the order in which the words of the block are
# taken, and the four shifts that repeat.
_ROUND_1 = (0x00000000, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (3, 7, 11, 19))
_ROUND_2 = (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13))
_ROUND_3 = (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15))


def _rotate_left(value: int, count: int) -> int:
    value &= _MASK
    return (value << count | value >> (32 - count)) & _MASK


def _process_block(state: tuple[int, int, int, int], words: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the state after one block of 16 words (RFC 1320 section 3.4)."""
    a, b, c, d = state
    constant, order, shifts = _ROUND_1
    for step, index in enumerate(order):
        mixed = b & c | ~b & d  # F, "if X then Y else Z"
        a, b, c, d = d, _rotate_left(a + mixed + words[index] + constant, shifts[step % 4]), b, c
    constant, order, shifts = _ROUND_2
    for step, index in enumerate(order):
        mixed = b & c | b & d | c & d  # G, the majority
        a, b, c, d = d, _rotate_left(a + mixed + words[index] + constant, shifts[step % 4]), b, c
    constant, order, shifts = _ROUND_3
    for step, index in enumerate(order):
        mixed = b ^ c ^ d  # H, the parity
        a, b, c, d = d, _rotate_left(a + mixed + words[index] + constant, shifts[step % 4]), b, c
    return (a + state[0]) & _MASK, (b + state[1]) & _MASK, (c + state[2]) & _MASK, (d + state[3]) & _MASK


def md4(data: bytes) -> bytes:
    """Return the 16-byte MD4 digest of ``data`` (RFC 1320)."""
    # Section 3.1 and 3.2: a 1 bit, zeroes up to 8 bytes short of a block, then the length in bits.
    padding = b"\x80" + bytes((55 - len(data)) % 64)
    message = data + padding + struct.pack("<Q", len(data) * 8 & 0xFFFFFFFFFFFFFFFF)
    state = _INITIAL_STATE
    for offset in range(0, len(message), 64):
        state = _process_block(state, struct.unpack_from("<16I", message, offset))
    return struct.pack("<4I", *state)
