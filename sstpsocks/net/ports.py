"""Ephemeral ports (RFC 6056): hard to guess for a third party, and for TCP not used again soon for one destination."""

from __future__ import annotations

import hashlib
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
    return _first_free(random_below(entropy, count), in_use)


def port_offset(secret: bytes, local: bytes, remote: bytes, remote_port: int) -> int:
    """Return F of RFC 6056 section 3.3.3: where the ports for one destination begin, known to nobody else."""
    destination = local + remote + remote_port.to_bytes(2, "big")
    return int.from_bytes(hashlib.blake2s(destination, digest_size=4, key=secret[:32], person=b"port").digest(), "big")


def choose_port_for(offset: int, next_ephemeral: int, in_use: Callable[[int], bool]) -> int:
    """Return the port for a new connection, after RFC 6056 section 3.3.3 (simple hash-based port selection).

    ``next_ephemeral`` counts the ports that were chosen for all destinations together: ports of one destination follow
    each other, so that one that was just closed, and is in TIME-WAIT at the peer, is the last to come again. Raises
    TooManyConnections when all are in use.
    """
    return _first_free(offset + next_ephemeral, in_use)


def _first_free(start: int, in_use: Callable[[int], bool]) -> int:
    count = LAST_PORT - FIRST_PORT + 1
    for step in range(count):
        port = FIRST_PORT + (start + step) % count
        if not in_use(port):
            return port
    raise TooManyConnections("no free local port in the tunnel")
