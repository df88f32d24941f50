"""What a session is doing, for whoever shows it: its state, and a record of what it has been through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network

from ..errors import SstpsocksError
from .network import IPAddress


class TunnelStatus(Enum):
    """What a session is doing; lifecycle.py says how it gets from one to another."""

    CONNECTING = "connecting"
    """For the first time, or from idle."""
    UP = "up"
    DEGRADED = "degraded"
    """Up, but the server has been silent for longer than it should, and is being asked whether it lives."""
    RECONNECTING = "reconnecting"
    WAITING = "waiting"
    """For credentials: a person or a program is being asked."""
    IDLE = "idle"
    """On demand, and nobody wants it."""
    STOPPED = "stopped"
    """For good."""


_WORDS = {
    TunnelStatus.DEGRADED: "in doubt",
    TunnelStatus.CONNECTING: "wanted",
    TunnelStatus.WAITING: "waits",
    TunnelStatus.IDLE: "idle",
}


@dataclass(frozen=True, slots=True)
class TunnelState:
    """A change that is worth a line in the log."""

    status: TunnelStatus
    text: str
    """One line for a person, without secrets."""

    @property
    def up(self) -> bool:
        """Whether traffic passes, as far as anybody knows."""
        return self.status in (TunnelStatus.UP, TunnelStatus.DEGRADED)

    @property
    def word(self) -> str:
        """The state where "up again" or "down" would be wrong; else empty."""
        return _WORDS.get(self.status, "")


StateObserver = Callable[[TunnelState], None]


def ignore_states(_state: TunnelState) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True)
class TunnelInfo:
    """What the server assigned."""

    server: str
    """The server as "host:port"."""
    addresses: tuple[IPAddress, ...]
    dns: tuple[IPAddress, ...]
    mtu: int
    """The largest IP packet we send, in octets."""
    tls_version: str
    correlation_id: str
    """The SSTPCORRELATIONID, by which the server's administrator finds this connection."""
    routes: tuple[IPv4Network, ...] = ()
    """What the network pushed routes to; empty while, or when, it did not."""
    search: tuple[str, ...] = ()
    """The domains in which single-label names are looked for: the settings' own, then what the network told."""
    peer: IPAddress | None = None
    """The server's own address in the tunnel, if it told."""


@dataclass(slots=True)
class SessionRecord:
    """Counters of a session over all its connections, plain to read at any time."""

    connects: int = 0
    """Times the tunnel came up."""
    reconnects: int = 0
    """Times it came up again after a loss."""
    connect_failures: Counter[str] = field(default_factory=Counter)
    """Tries that failed, by the step that did."""
    losses: Counter[str] = field(default_factory=Counter)
    """Tunnels that were lost, by the name of the error: "PeerUnresponsive", "TunnelClosed"..."""
    last_error: str = ""
    """What the last loss or failed try was about; one line without secrets."""
    octets_received: int = 0
    """Ciphertext from the server, of connections that are over."""
    octets_sent: int = 0
    round_trip: float | None = None
    """Seconds that the last answer to an echo request took, None before there was one."""
    connect_seconds: float | None = None
    """How long the last successful connect took."""
    on_dial: Callable[[float], None] | None = None
    """Told the seconds that each successful connect took."""

    def connected(self, seconds: float, *, again: bool) -> None:
        """Count that the tunnel came up after so many seconds; ``again``: after a loss."""
        self.connects += 1
        self.reconnects += again
        self.connect_seconds = seconds
        if self.on_dial is not None:
            self.on_dial(seconds)

    def failed(self, step: str, error: SstpsocksError) -> None:
        """Count a try that failed."""
        self.connect_failures[step] += 1
        self.last_error = str(error)

    def lost(self, error: SstpsocksError) -> None:
        """Count a loss."""
        self.losses[type(error).__name__] += 1
        self.last_error = str(error)
