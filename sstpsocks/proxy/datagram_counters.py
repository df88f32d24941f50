"""What has happened to the datagrams that somebody had us relay: a SOCKS client's, or those of a forward."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DatagramCounters:
    """Datagrams, but for ``sessions``, by what became of them. Its text names those that are not zero."""

    sessions: int = 0
    """Senders that a forward has had."""
    sent: int = 0
    """Into the tunnel."""
    received: int = 0
    """Out of it."""
    strangers: int = 0
    """From somebody on this machine who may not send here."""
    unexpected: int = 0
    """From somebody in the tunnel whom nothing was sent to."""
    fragments: int = 0
    malformed: int = 0
    """Whose SOCKS header is none."""
    refused: int = 0
    """To where no datagram goes: the tunnel is down, rules, a name that does not exist."""
    crowded: int = 0
    """There was no room for them."""
    icmp_errors: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name} {getattr(self, name)}" for name in self.__slots__ if getattr(self, name)) or "nothing"
