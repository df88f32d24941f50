"""The largest packet that really passes through the tunnel and comes back, by binary search with echo requests.

An echo request may not be fragmented on its way (RFC 1191), so each either comes back whole or is too large for some
link; routers that say so make it quicker, but their word is not needed. What passes is what a program's data may fill:
a path that loses large packets without a word is found by the sizes that never come back (RFC 4821 section 7).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Ping = Callable[[int], Awaitable[bool]]
"""Sends an echo request of so many octets, IP header included; whether it came back."""

SMALLEST = 576
"""RFC 791: "Every internet destination must be able to receive a datagram of 576 octets"."""
TRIES = 2
"""How often a size is tried before its loss is taken for a limit: beyond the server packets are lost by chance, too."""


async def find_passing_size(ping: Ping, largest: int, smallest: int = SMALLEST) -> int | None:
    """Return the largest size that passes, at most ``largest``; None when not even ``smallest`` comes back."""
    if await _passes(ping, largest):
        return largest
    if smallest >= largest or not await _passes(ping, smallest):
        return None
    passes, fails = smallest, largest
    while fails - passes > 1:
        middle = (passes + fails) // 2
        if await _passes(ping, middle):
            passes = middle
        else:
            fails = middle
    return passes


async def _passes(ping: Ping, size: int) -> bool:
    for _ in range(TRIES):
        if await ping(size):
            return True
    return False
