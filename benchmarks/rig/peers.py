"""The peers: what is compared. Each knows how to start its client and tells how programs get through it.

A :class:`Peer` is a definition; ``start()`` makes a :class:`RunningPeer` of it, which a case measures. Servers are the
gateway's (gateway.py) and run all the time. The programs themselves are in programs.py, our builds in builds.py.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .conditions import WEB_PORT
from .processes import Process, cpu_by_name, cpu_seconds, cpu_times, resident, tree
from .socks import connect_through, plain_connection

if TYPE_CHECKING:
    from .conditions import Conditions, Place
    from .gateway import Packets
    from .rig import Rig

TIMEOUT = 30.0


class Peer(ABC):
    """What is compared: one program, or nothing at all."""

    name = ""
    """For ``--peers`` and the file of results."""
    title = ""
    """In the report."""
    ours = False
    """Whether it is a build of this project."""
    tunnel = False
    """Whether it carries IP packets to a VPN server (ssh carries streams)."""
    proxy = False
    """Whether programs use it through SOCKS."""
    udp = False
    """Whether datagrams get through: SOCKS5 UDP ASSOCIATE, or the kernel's own where there is no proxy."""

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine; nothing if it can."""
        return ""

    def version(self) -> str:
        """Return what the program says about itself."""
        return ""

    @abstractmethod
    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the client; programs may not get through yet."""


@dataclass(kw_only=True)
class RunningPeer:
    """A peer that carries traffic."""

    peer: Peer
    target: str
    """The address of the target for programs that use this peer."""
    proxy: tuple[str, int] | None = None
    """Where its SOCKS5 server listens."""
    device: str | None = None
    """The network device that programs must be bound to, with a tunnel of the kernel."""
    processes: list[Process] = field(default_factory=list)
    """The client's."""
    servers: Callable[[], list[int]] = list
    """Returns the processes of the server that serve this peer."""
    count_packets: Callable[[], Packets] | None = None
    started_in: float = 0.0
    """Seconds from the start of the client until programs get through."""

    def dial(self, port: int = WEB_PORT, timeout: float = TIMEOUT) -> socket.socket:
        """Open a connection to a port of the target as programs do with this peer; the socket blocks."""
        if self.proxy is None:
            return plain_connection(self.target, port, timeout, self.device)
        stream = plain_connection(*self.proxy, timeout)
        try:
            connect_through(stream, self.target, port)
        except OSError:
            stream.close()
            raise
        return stream

    def client_pids(self) -> list[int]:
        """Return the client's processes, with all that they started."""
        return tree(process.pid for process in self.processes)

    def client_cpu(self) -> float:
        """Return the CPU seconds of the client so far."""
        return cpu_seconds(self.client_pids())

    def client_cpu_by_name(self) -> dict[str, float]:
        """Return the CPU seconds of the client so far, by process."""
        found = cpu_by_name(self.client_pids())
        return {"sstpsocks": sum(found.values())} if self.peer.ours else found

    def client_kernel_cpu(self) -> float:
        """Return the CPU seconds of the client so far that it spent in calls of the kernel."""
        return cpu_times(self.client_pids())[1]

    def server_cpu(self) -> float:
        """Return the CPU seconds of the server so far."""
        return cpu_seconds(self.servers())

    def resident(self) -> int:
        """Return the octets of memory that the client has resident."""
        return resident(self.client_pids())

    def stop(self) -> None:
        """End the client."""
        for process in reversed(self.processes):
            process.stop()
