"""What TCP needs of the stack it lives in, and what the stack sees of a connection or listener."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from ..address import IPAddress
from ..counters import NetCounters
from ..memory import Memory
from ..outer import OuterPath
from .config import TcpConfig


class Flow(Protocol):
    """Anything that can have news for its owner: what mark_dirty() takes."""

    notify: Callable[[], None] | None
    """For the owner's use; TCP never calls it."""


class TcpFlow(Flow, Protocol):
    """What the stack sees of a TCP connection."""

    @property
    def key(self) -> bytes:
        """Both packed addresses, then both ports, remote first, as they lie in a received packet: 12 or 36 octets."""
        ...

    @property
    def has_urgent_output(self) -> bool:
        """Whether next_packets() begins with something small that others wait for: SYN, pure ACK, RST."""
        ...

    def has_output(self) -> bool:
        """Whether next_packets() would return anything now. Ask again after each next_packets()."""
        ...

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        """Build whole IP packets, as many as the windows allow and until ``max_bytes`` is reached or just passed."""
        ...

    def handle_timer(self, now: float) -> None:
        """Do what is due; called at or after the deadline set last. Sets the next deadline itself."""
        ...

    def receive_segment(self, data: bytes, start: int, end: int, now: float, *, marked: bool = False) -> None:
        """Take one whole TCP segment ``data[start:end]`` whose checksum was verified; ``marked``: it came with CE."""
        ...


class TcpHost(Protocol):
    """The stack, as TCP sees it. All methods are cheap and may be called repeatedly."""

    @property
    def counters(self) -> NetCounters:
        """Where TCP counts (the tcp_ fields)."""
        ...

    @property
    def config(self) -> TcpConfig:
        """Settings for new connections."""
        ...

    @property
    def memory(self) -> Memory:
        """The bound on what all flows hold."""
        ...

    @property
    def address(self) -> IPv4Address:
        """Our IPv4 address."""
        ...

    @property
    def mss(self) -> int:
        """The largest segment over IPv4 without options that fits the link: MTU - 40 (RFC 6691)."""
        ...

    @property
    def outer(self) -> OuterPath | None:
        """The reliable connection below, for which retransmission timers wait; None where there is none."""
        ...

    @property
    def isn_secret(self) -> bytes:
        """16 random octets or more, fixed for the life of the stack (RFC 6528)."""
        ...

    def register(self, flow: TcpFlow) -> None:
        """Deliver segments with ``flow.key`` to the connection from now on."""
        ...

    def forget(self, flow: TcpFlow) -> None:
        """Deliver nothing more and drop the deadline. Output that was marked is still asked for once: it may hold
        the last RST.
        """
        ...

    def path_mtu_found(self, destination: IPAddress, mtu: int, now: float) -> None:
        """Packets of this size reach the destination and larger ones do not, although no router said so."""
        ...

    def mark_dirty(self, flow: Flow) -> None:
        """The owner must look: data, room to send, established, EOF, error, a connection to accept."""
        ...

    def mark_output(self, flow: TcpFlow) -> None:
        """next_packets() has something to give."""
        ...

    def set_deadline(self, flow: TcpFlow, deadline: float | None) -> None:
        """Call handle_timer() at ``deadline``; replaces the one before, None removes it."""
        ...
