"""DHCPINFORM over the tunnel: what IPCP cannot say, asked of the network's own DHCP server (RFC 2131 section 3.4).

IPCP gives an address and name servers; routes, search domains and the like come from DHCP. Nobody may be there to
answer, so nothing waits for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address

from ..base.entropy import Entropy, random_uint32
from ..errors import RemoteProtocolError
from .dhcp_message import CLIENT_PORT, SERVER_PORT, DhcpInform, DhcpInformation

__all__ = [
    "CLIENT_PORT",
    "HOST_NAME",
    "INTERVAL",
    "SERVER_PORT",
    "TRIES",
    "DhcpAnswered",
    "DhcpEvent",
    "DhcpInformation",
    "DhcpInformer",
    "DhcpUnanswered",
]

TRIES = 3
INTERVAL = 3.0
"""Seconds for each try; Windows repeats its question after three."""
HOST_NAME = "client"
"""Says nothing about this machine, but keeps servers content that want a name."""


@dataclass(frozen=True, slots=True)
class DhcpAnswered:
    """A server answered; the machine is done."""

    information: DhcpInformation


@dataclass(frozen=True, slots=True)
class DhcpUnanswered:
    """Nobody answered any try; the machine is done."""


DhcpEvent = DhcpAnswered | DhcpUnanswered


class DhcpInformer:
    """Asks once, for one address. Its data are the payloads of UDP datagrams between ports 68 and 67.

    Bad answers are dropped and counted, never raised: everybody in the network can send some.
    """

    __slots__ = ("_deadline", "_events", "_inform", "_outgoing", "_tries_left", "done", "dropped")

    def __init__(
        self, address: IPv4Address, entropy: Entropy, *, host_name: str | None = HOST_NAME, tries: int = TRIES
    ) -> None:
        self._inform = DhcpInform(
            transaction=random_uint32(entropy),
            address=address,
            identifier=entropy.random_bytes(16),
            host_name=host_name,
        )
        self._tries_left = tries
        self._deadline: float | None = None
        self._outgoing: list[bytes] = []
        self._events: deque[DhcpEvent] = deque()
        self.done = False
        """Whether there was an answer, or every try is over."""
        self.dropped = 0
        """Datagrams that were no answer to us."""

    def __repr__(self) -> str:
        state = "done" if self.done else "idle" if self._deadline is None else f"{self._tries_left} tries left"
        return f"<DhcpInformer for {self._inform.address}, {state}>"

    def start(self, now: float) -> None:
        """Ask for the first time."""
        if self._deadline is None and not self.done:
            self._ask(now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take the payload of a datagram to port 68, whoever sent it."""
        if self.done or self._deadline is None:
            return
        try:
            information = DhcpInformation.parse(data, self._inform)
        except RemoteProtocolError:
            self.dropped += 1
            return
        self._finish(DhcpAnswered(information))

    def next_event(self) -> DhcpEvent | None:
        """Return the one event when it has come, else None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self, now: float) -> list[bytes]:
        """Return the payloads to broadcast now, from port 68 to port 67."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def poll_at(self) -> float | None:
        """Return when handle_timer() is wanted next."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Ask again, or give up, when the time of the last try is over."""
        if self._deadline is None or now < self._deadline:
            return
        if self._tries_left:
            self._ask(now)
        else:
            self._finish(DhcpUnanswered())

    def _ask(self, now: float) -> None:
        self._tries_left -= 1
        self._deadline = now + INTERVAL
        self._outgoing.append(self._inform.to_bytes())

    def _finish(self, event: DhcpEvent) -> None:
        self.done = True
        self._deadline = None
        self._outgoing.clear()
        self._events.append(event)
