"""Ephemeral ports (RFC 6056): random, so that a third party cannot guess them."""

from __future__ import annotations

from collections.abc import Callable

from ..base.entropy import Entropy, random_below
from ..errors import TooManyConnections

# RFC 6056 section 3.2: "ephemeral port selection algorithms should use the whole range 1024-65535".
FIRST_PORT = 1024
LAST_PORT = 65535


def choose_port(entropy: Entropy, in_use: Callable[[int], bool]) -> int:
    """Return a random port that is not in use, after RFC 6056 section 3.3.1 (simple port randomization).

    Raises TooManyConnections when all are.
    """
    count = LAST_PORT - FIRST_PORT + 1
    start = random_below(entropy, count)
    for step in range(count):
        port = FIRST_PORT + (start + step) % count
        if not in_use(port):
            return port
    raise TooManyConnections("no free local port in the tunnel")
