"""What a case wants of the rig, and what the rig tells the peers about it."""

from __future__ import annotations

from dataclasses import dataclass

WEB_PORT = 8000
"""Of the source and sink (service.py): GET /N answers N octets, PUT takes Content-Length octets."""
ECHO_PORT = 8007
"""Of the echo, over TCP and over UDP."""
CONGESTION_CONTROL = ("congctl", "cubic")
"""For every route that measured data takes: machines differ in their default, and a sysctl may be out of reach."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Under what a case runs."""

    pack: int = 0
    """IP packets in a TLS record from sstpd; 0: as many as are ready and fit."""
    mtu: int = 1400
    """Largest IP packet in every tunnel."""
    delay: float = 0.0
    """Seconds, one way, between the client and the gateway (outside the tunnels)."""
    loss: float = 0.0
    """Share of the packets that are lost between the gateway and the target (inside the tunnels), in each direction."""
    target_delay: float = 0.0
    """Seconds, one way, between the gateway and the target."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The addresses that a peer uses under the conditions of a case."""

    gateway: str
    """Where the client side reaches sstpd, ocserv and sshd."""
    target: str
    """The target as the gateway sees it: for what comes through a tunnel, and for sshd."""
    direct: str
    """The target as the client namespace reaches it without a tunnel."""
