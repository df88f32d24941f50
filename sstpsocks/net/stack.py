"""The TCP/IP stack of one tunnel: one IPv4 address, everything above it demultiplexed.

Theory of operation. Packets come in as batches. receive_run() takes the TCP segments that header prediction covers;
the rest goes through _receive_slow(), which is the whole of RFC 1122 for a host with one interface. Nothing is sent
from there: flows note that they have output, and packets_to_send() has them build it when the link can take it. What
answers a packet without belonging to a flow (echo replies, ICMP errors, resets) waits in one short queue that drops
when it is full, so that nobody can make us hold memory by asking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from ipaddress import IPv4Address

from ..base.checksum import checksum, pseudo_header_sum
from ..base.entropy import Entropy
from ..base.timers import TimerQueue
from ..errors import LocalProtocolError, RemoteProtocolError, SstpsocksError, TooManyConnections
from .address import LIMITED_BROADCAST, is_unicast, require_reachable
from .config import StackConfig
from .counters import NetCounters
from .echo import IcmpEcho
from .flow import Flow, Notifying
from .fragment import Reassembler, fragment_packet, reassemble_ipv4
from .icmp import IcmpErrorKind, IcmpType, Quote
from .icmp_layer import (
    CODE_PORT_UNREACHABLE,
    CODE_PROTOCOL_UNREACHABLE,
    CODE_REASSEMBLY_TIME_EXCEEDED,
    IcmpLayer,
)
from .ip import (
    HEADER_SIZE,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Ipv4Header,
    TruncatedPacket,
    build_packet,
)
from .outer import OuterPath
from .ports import choose_port
from .receive_run import receive_run
from .scheduler import OutputScheduler
from .tcp.connection import TcpConnection
from .tcp.host import TcpFlow
from .tcp.listener import TcpListener
from .tcp.segment import build_reset
from .udp import UdpEndpoint
from .udp_layer import UdpLayer

MIN_MTU = 68
"""RFC 791: "Every internet module must be able to forward a datagram of 68 octets without further fragmentation"."""
_MAX_REPLY_BYTES = 256 * 1024
"""Octets of answers that wait to be sent."""
_TCP_HEADER_SIZE = 20
_BROADCAST = LIMITED_BROADCAST.packed


class Stack:
    """A host with one IPv4 address on a link that carries whole packets. All methods are cheap; none blocks."""

    __slots__ = (
        "_dirty", "_echo", "_identification", "_listeners", "_own", "_reassembler", "_replies", "_reply_bytes",
        "_scheduler", "_timers", "_udp", "address", "config", "connections", "counters", "entropy",
        "isn_secret", "mss", "mtu", "outer",
    )  # fmt: skip

    def __init__(self, address: IPv4Address, *, mtu: int, entropy: Entropy, config: StackConfig | None = None) -> None:
        if mtu < MIN_MTU:
            raise LocalProtocolError(f"an MTU of {mtu} octets, IPv4 needs {MIN_MTU}", layer="ip")
        self.address = address
        """Our address in the tunnel."""
        self.mtu = mtu
        """The largest packet we send, in octets; larger ones are taken."""
        self.mss = mtu - HEADER_SIZE - _TCP_HEADER_SIZE
        """The largest TCP segment without options that fits (RFC 6691)."""
        self.entropy = entropy
        self.config = config if config is not None else StackConfig()
        self.counters = NetCounters()
        self.isn_secret = entropy.random_bytes(16)
        """RFC 6528 section 3: the secret key of the initial sequence numbers."""
        self.outer: OuterPath | None = None
        """The reliable connection below, for which retransmission timers wait; None: there is none."""
        self.connections: dict[bytes, TcpConnection] = {}
        """By octets 12 to 24 of the packets they receive."""
        self._own = address.packed
        self._listeners: dict[int, TcpListener] = {}
        self._udp = UdpLayer(self, address)
        self._echo = IcmpLayer(self, address)
        self._reassembler = Reassembler(self.config, self.counters)
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._scheduler = OutputScheduler(mtu)
        self._dirty: dict[Notifying, None] = {}
        self._replies: deque[bytes] = deque()
        self._reply_bytes = 0
        self._identification = int.from_bytes(entropy.random_bytes(2), "big")

    def __repr__(self) -> str:
        return f"<Stack {self.address}, {len(self.connections)} connections, {self._udp!r}, {self._scheduler!r}>"

    # Packets in

    def receive_batch(self, data: bytes, spans: Sequence[tuple[int, int]], now: float) -> None:
        """Take the packets ``data[start:end]`` in order. Whatever is wrong with one is counted, never raised."""
        taken, _ = receive_run(self.connections, data, spans, now, self._receive_slow)
        counters = self.counters
        counters.ip_in_receives += len(spans)
        counters.ip_in_octets += sum([end - start for start, end in spans])
        counters.ip_in_delivers += taken
        counters.tcp_in_segs += taken

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet."""
        self.receive_batch(packet, ((0, len(packet)),), now)

    # Packets out

    def has_output(self) -> bool:
        """Whether packets_to_send() is worth calling."""
        return bool(self._replies or self._scheduler)

    def packets_to_send(self, now: float, max_bytes: int) -> list[bytes]:
        """Return packets of about ``max_bytes`` octets, at most one packet more; fair across flows (scheduler.py)."""
        packets: list[bytes] = []
        left = max_bytes
        while self._replies and left > 0:
            packet = self._replies.popleft()
            self._reply_bytes -= len(packet)
            left -= len(packet)
            packets.append(packet)
        if left > 0:
            packets += self._scheduler.take(now, left)
        self.counters.ip_out_transmits += len(packets)
        self.counters.ip_out_octets += sum(map(len, packets))
        return packets

    # Flows with news, and time

    def take_dirty(self) -> list[Notifying]:
        """Return the flows with something new since the last call, each once, in the order it came."""
        dirty = list(self._dirty)
        self._dirty.clear()
        return dirty

    def poll_at(self) -> float | None:
        """Return when handle_timer() is wanted next."""
        flows = self._timers.next_deadline()
        fragments = self._reassembler.poll_at()
        if flows is None or fragments is None:
            return fragments if flows is None else flows
        return min(flows, fragments)

    def handle_timer(self, now: float) -> None:
        """Do what is due; harmless when nothing is."""
        for flow in self._timers.pop_due(now):
            flow.handle_timer(now)
        for packet in self._reassembler.handle_timer(now):
            header = Ipv4Header.parse(packet, 0, len(packet))
            self._echo.send_error(
                IcmpType.TIME_EXCEEDED,
                CODE_REASSEMBLY_TIME_EXCEEDED,
                header,
                packet,
                header.header_length,
                len(packet),
                now,
            )

    # What programs open

    def connect_tcp(self, address: IPv4Address, port: int, now: float) -> TcpConnection:
        """Open a connection from a random port; it is SYN-SENT on return, and dirty when that changes.

        Raises DeniedByRule for an address of no host, LocalProtocolError for a port that is none, TooManyConnections
        at the bound.
        """
        require_reachable(address, self.address)
        if not 0 < port < 65536:
            raise LocalProtocolError(f"{port} is no TCP port", layer="tcp")
        if len(self.connections) >= self.config.max_connections:
            raise TooManyConnections(f"{len(self.connections)} connections in the tunnel already")
        head = address.packed + self._own + port.to_bytes(2, "big")
        local_port = choose_port(
            self.entropy,
            lambda candidate: candidate in self._listeners or head + candidate.to_bytes(2, "big") in self.connections,
        )
        connection = TcpConnection(self, (self.address, local_port), (address, port))
        connection.open_active(now)
        return connection

    def listen_tcp(self, port: int, *, backlog: int = 128) -> TcpListener:
        """Accept connections on a port, 0 for a random one. Raises LocalProtocolError when it is in use."""
        if not 0 <= port < 65536:
            raise LocalProtocolError(f"{port} is no TCP port", layer="tcp")
        if port == 0:
            port = choose_port(self.entropy, self._listeners.__contains__)
        elif self._listener(port) is not None:
            raise LocalProtocolError(f"TCP port {port} is in use", layer="tcp")
        listener = TcpListener(self, port, backlog)
        self._listeners[port] = listener
        return listener

    def open_udp(
        self,
        address: IPv4Address | None = None,
        port: int | None = None,
        *,
        local_port: int | None = None,
        allow_broadcast: bool = False,
    ) -> UdpEndpoint:
        """Open a UDP port, connected to one peer when address and port are given; a random port unless one is given.

        With ``allow_broadcast`` one that is not connected sends to 255.255.255.255 and hears what is sent there.
        Raises DeniedByRule, LocalProtocolError or TooManyConnections as connect_tcp() does.
        """
        if (address is None) != (port is None):
            raise LocalProtocolError("a UDP peer is an address and a port", layer="udp")
        remote = None if address is None or port is None else (address, port)
        return self._udp.open(remote, local_port, allow_broadcast=allow_broadcast and remote is None)

    def send_echo(self, address: IPv4Address, payload: bytes, now: float) -> IcmpEcho:
        """Ping: send one echo request. Raises DeniedByRule or TooManyConnections."""
        return self._echo.send_echo(address, payload, now)

    def abort_all(self, error: SstpsocksError, now: float) -> None:
        """End every flow with this error, without sending anything: the tunnel is gone."""
        for connection in list(self.connections.values()):
            connection.abort(now, error)
        for listener in list(self._listeners.values()):
            listener.close(now)
        self._udp.abort_all(error)
        self._echo.abort_all(error)
        self.connections.clear()
        self._listeners.clear()
        self._reassembler.clear()
        self._scheduler.clear()
        self._timers.clear()
        self._replies.clear()
        self._reply_bytes = 0

    # For flows (TcpHost, FlowHost, IcmpHost)

    def mark_dirty(self, flow: Notifying) -> None:
        """Have take_dirty() return the flow."""
        self._dirty[flow] = None

    def mark_output(self, flow: Flow) -> None:
        """Have packets_to_send() ask the flow for packets."""
        self._scheduler.add(flow)

    def set_deadline(self, flow: Flow, deadline: float | None) -> None:
        """Call the flow's handle_timer() at that time; None: not at all."""
        self._timers.set(flow, deadline)

    def register(self, flow: TcpFlow) -> None:
        """Deliver segments with ``flow.key`` to the connection, which is opening."""
        if isinstance(flow, TcpConnection):
            self.connections[flow.key] = flow

    def forget(self, flow: Flow) -> None:
        """Deliver nothing more to a flow. What it marked for output is still sent: it may be the last RST."""
        self._timers.set(flow, None)
        if isinstance(flow, TcpConnection):
            if self.connections.get(flow.key) is flow:
                del self.connections[flow.key]
        elif isinstance(flow, UdpEndpoint):
            self._udp.remove(flow)
        elif isinstance(flow, IcmpEcho):
            self._echo.remove(flow)

    def build_datagrams(self, destination: bytes, protocol: int, payload: bytes) -> list[bytes]:
        """Return a packet to a packed address, or its fragments when it is larger than the MTU."""
        self._identification = (self._identification + 1) & 0xFFFF
        packet = build_packet(self._own, destination, protocol, payload, identification=self._identification)
        if len(packet) <= self.mtu:
            return [packet]
        fragments = fragment_packet(packet, self.mtu)
        self.counters.ip_out_frag_oks += 1
        self.counters.ip_out_frag_creates += len(fragments)
        return fragments

    def send_reply(self, packets: list[bytes]) -> bool:
        """Queue packets that answer one received; False when the queue is full and they were dropped."""
        size = sum(map(len, packets))
        if self._reply_bytes + size > _MAX_REPLY_BYTES:
            self.counters.ip_out_discards += 1
            return False
        self._replies.extend(packets)
        self._reply_bytes += size
        return True

    def receive_tcp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float) -> bool:
        """Hand on an ICMP error about a TCP segment; False when there is no such connection."""
        ports = quote.transport[2:4] + quote.transport[:2]
        connection = self.connections.get(quote.destination + quote.source + ports)
        if connection is None:
            return False
        connection.on_icmp_error(kind, int.from_bytes(quote.transport[4:8], "big"), now, mtu)
        return True

    def receive_udp_error(self, kind: IcmpErrorKind, quote: Quote) -> bool:
        """Hand on an ICMP error about a UDP datagram; False when there is no such endpoint."""
        return self._udp.receive_icmp_error(kind, quote)

    # The slow path

    def _receive_slow(self, data: bytes, start: int, end: int, now: float) -> None:
        """Take one packet that header prediction did not cover."""
        counters = self.counters
        try:
            header = Ipv4Header.parse(data, start, end)
        except TruncatedPacket:
            counters.ip_in_truncated_pkts += 1
            return
        except RemoteProtocolError:
            counters.ip_in_hdr_errors += 1
            return
        # RFC 1122 section 3.2.1.3: "a host MUST silently discard an incoming datagram that is not destined for the
        # host", "a host MUST silently discard an incoming datagram containing an IP source address that is invalid".
        payload_start, payload_end = start + header.header_length, start + header.total_length
        for_us = header.destination == self._own or self._takes_broadcast(header, data, payload_start, payload_end)
        if not for_us or header.source == self._own or not is_unicast(header.source):
            counters.ip_in_addr_errors += 1
            return
        if not header.is_fragment:
            self._deliver(header, data, payload_start, payload_end, now)
            return
        try:
            whole = reassemble_ipv4(self._reassembler, header, data[payload_start:payload_end], now)
        except RemoteProtocolError:
            counters.ip_in_hdr_errors += 1
            return
        if whole is not None:
            self._deliver(whole[0], whole[1], 0, len(whole[1]), now)

    def _takes_broadcast(self, header: Ipv4Header, data: bytes, start: int, end: int) -> bool:
        """Whether the packet is a broadcast that a program asked for; all others are as if they had not come."""
        return (
            header.destination == _BROADCAST
            and header.protocol == PROTOCOL_UDP
            and not header.is_fragment
            and self._udp.wants_broadcast(data, start, end)
        )

    def _deliver(self, header: Ipv4Header, data: bytes, start: int, end: int, now: float) -> None:
        counters = self.counters
        counters.ip_in_delivers += 1
        if header.protocol == PROTOCOL_TCP:
            self._receive_tcp(header, data, start, end, now)
        elif header.protocol == PROTOCOL_UDP:
            if not self._udp.receive(header, data, start, end):
                self._echo.send_error(
                    IcmpType.DESTINATION_UNREACHABLE, CODE_PORT_UNREACHABLE, header, data, start, end, now
                )
        elif header.protocol == PROTOCOL_ICMP:
            self._echo.receive(header, data, start, end, now)
        else:
            counters.ip_in_delivers -= 1
            counters.ip_in_unknown_protos += 1
            self._echo.send_error(
                IcmpType.DESTINATION_UNREACHABLE, CODE_PROTOCOL_UNREACHABLE, header, data, start, end, now
            )

    def _receive_tcp(self, header: Ipv4Header, data: bytes, start: int, end: int, now: float) -> None:
        counters = self.counters
        counters.tcp_in_segs += 1
        initial = pseudo_header_sum(header.source, header.destination, PROTOCOL_TCP, end - start)
        if end - start < _TCP_HEADER_SIZE or checksum(data, start, end, initial):
            counters.tcp_in_errs += 1
            return
        connection = self.connections.get(header.source + header.destination + data[start : start + 4])
        if connection is not None:
            connection.receive_segment(data, start, end, now)
            return
        listener = self._listener(int.from_bytes(data[start + 2 : start + 4], "big"))
        if listener is not None:
            if len(self.connections) >= self.config.max_connections:
                counters.ip_in_discards += 1
                return
            reply = listener.receive_segment(data, start, end, header.source, header.destination, now)
            if reply is not None:
                self.send_reply([reply])
            return
        reset = build_reset(data, start, end, header.source, header.destination)
        if reset is not None and self.send_reply([reset]):
            counters.tcp_out_rsts += 1

    def _listener(self, port: int) -> TcpListener | None:
        """Return who listens on the port; a listener that was closed is dropped here."""
        listener = self._listeners.get(port)
        if listener is not None and listener.closed:
            del self._listeners[port]
            return None
        return listener
