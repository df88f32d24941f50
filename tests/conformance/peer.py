"""A TCP endpoint that a script plays, and the addresses of both sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from sstpsocks.net.tcp.connection import TcpConnection

from .ip_wire import IPAddress

OURS = IPv4Address("10.0.0.1")
PEER = IPv4Address("10.0.0.2")
OURS_6 = IPv6Address("2001:db8::1")
PEER_6 = IPv6Address("2001:db8::2")
OURS_LINK_LOCAL = IPv6Address("fe80::1")
PEER_ISS = 0xFFFFFF00
"""Close to the wrap, so that every script crosses it."""


@dataclass
class Peer:
    """A TCP endpoint that the script plays, and the connection of ours with it."""

    name: str
    address: IPAddress
    port: int
    iss: int = PEER_ISS
    local_port: int = 50_000
    """Our port; where segments to no connection go."""
    our_iss: int = 0
    """The sequence number of our last SYN to this peer, 0 before any."""
    iss_step: int = 0
    """How far that is from the one before, modulo 2**32."""
    timestamps: list[tuple[float, int]] = field(default_factory=list)
    """When our segments with a timestamp left, in script time, and their TSval."""
    connection: TcpConnection | None = None
    written: int = 0
    """Octets that our user gave to send()."""
    read: int = 0
    """Octets that our user took."""

    @property
    def endpoint(self) -> tuple[IPAddress, int]:
        """Address and port."""
        return (self.address, self.port)

    @property
    def ours(self) -> IPAddress:
        """The address of ours that it speaks to."""
        return OURS if isinstance(self.address, IPv4Address) else OURS_6
