"""A host for TCP connections alone: no IP beyond the fixed header, for tests of TCP by itself."""

from __future__ import annotations

from ipaddress import IPv4Address

from sstpsocks.base.checksum import checksum, pseudo_header_sum
from sstpsocks.base.timers import TimerQueue
from sstpsocks.net.address import IPAddress
from sstpsocks.net.counters import NetCounters
from sstpsocks.net.memory import Memory
from sstpsocks.net.outer import OuterPath
from sstpsocks.net.tcp.builder import build_reset
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.host import Flow, TcpFlow
from sstpsocks.net.tcp.listener import TcpListener


class TcpTestHost:
    """Implements the TcpHost contract with plain containers, and delivers packets to its connections."""

    def __init__(self, address: str, *, mtu: int = 1400, config: TcpConfig | None = None) -> None:
        self.counters = NetCounters()
        self.memory = Memory(256 * 1024 * 1024)
        self.config = config or TcpConfig()
        self.address = IPv4Address(address)
        self.mss = mtu - 40
        self.outer: OuterPath | None = None
        self.isn_secret = self.address.packed * 4
        self.flows: dict[bytes, TcpFlow] = {}
        self.listeners: dict[int, TcpListener] = {}
        self.dirty: list[Flow] = []
        self.output: list[TcpFlow] = []
        self.timers: TimerQueue[TcpFlow] = TimerQueue()
        self.path_mtus: list[int] = []
        """What path_mtu_found() was told."""
        self.raw: list[bytes] = []
        """Packets that belong to no connection: resets."""
        self._next_port = 50_000

    # The TcpHost contract

    def register(self, flow: TcpFlow) -> None:
        self.flows[flow.key] = flow

    def forget(self, flow: TcpFlow) -> None:
        self.flows.pop(flow.key, None)
        self.timers.set(flow, None)

    def path_mtu_found(self, destination: IPAddress, mtu: int, now: float) -> None:
        self.path_mtus.append(mtu)

    def mark_dirty(self, flow: Flow) -> None:
        if flow not in self.dirty:
            self.dirty.append(flow)

    def mark_output(self, flow: TcpFlow) -> None:
        if flow not in self.output:
            self.output.append(flow)

    def set_deadline(self, flow: TcpFlow, deadline: float | None) -> None:
        self.timers.set(flow, deadline)

    # For tests

    def connect(self, address: IPv4Address, port: int, now: float) -> TcpConnection:
        self._next_port += 1
        connection = TcpConnection(self, (self.address, self._next_port), (address, port))
        connection.open_active(now)
        return connection

    def listen(self, port: int, backlog: int = 128) -> TcpListener:
        self.listeners[port] = TcpListener(self, port, backlog)
        return self.listeners[port]

    def receive_packet(self, packet: bytes, now: float) -> None:
        size = len(packet) - 20
        source, destination = packet[12:16], packet[16:20]
        if checksum(packet, 0, 20) or checksum(
            packet, 20, len(packet), pseudo_header_sum(source, destination, 6, size)
        ):
            self.counters.tcp_in_errs += 1
            return
        flow = self.flows.get(packet[12:24])
        listener = self.listeners.get(int.from_bytes(packet[22:24], "big"))
        reply: bytes | None = None
        if flow is not None:
            flow.receive_segment(packet, 20, len(packet), now, marked=packet[1] & 3 == 3)
        elif listener is not None:
            reply = listener.receive_segment(packet, 20, len(packet), source, destination, now)
        else:
            reply = build_reset(packet, 20, len(packet), source, destination)
        if reply is not None:
            self.raw.append(reply)

    def packets_to_send(self, now: float, max_bytes: int = 1 << 30) -> list[bytes]:
        packets = self.raw
        self.raw = []
        for flow in self.output:
            packets += flow.next_packets(now, max_bytes)
        self.output = [flow for flow in self.output if flow.has_output()]
        return packets

    def poll_at(self) -> float | None:
        return self.timers.next_deadline()

    def handle_timer(self, now: float) -> None:
        for flow in self.timers.pop_due(now):
            flow.handle_timer(now)
