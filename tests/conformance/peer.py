"""A TCP endpoint that a script plays, and the addresses of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from sstpsocks.net.tcp.connection import TcpConnection

OURS = IPv4Address("10.0.0.1")
PEER = IPv4Address("10.0.0.2")
PEER_ISS = 0xFFFFFF00
"""Close to the wrap, so that every script crosses it."""


@dataclass
class Peer:
    """A TCP endpoint that the script plays, and the connection of ours with it."""

    name: str
    address: IPv4Address
    port: int
    iss: int = PEER_ISS
    local_port: int = 50_000
    """Our port; where segments to no connection go."""
    our_iss: int = 0
    """The sequence number of our last SYN to this peer, 0 before any."""
    iss_step: int = 0
    """How far that is from the one before, modulo 2**32."""
    connection: TcpConnection | None = None
    written: int = 0
    """Octets that our user gave to send()."""
    read: int = 0
    """Octets that our user took."""

    @property
    def endpoint(self) -> tuple[IPv4Address, int]:
        return (self.address, self.port)
