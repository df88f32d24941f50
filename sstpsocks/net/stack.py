"""The TCP/IP stack of one tunnel: an IPv4 address, any number of IPv6 addresses, everything above demultiplexed.

Theory of operation. Packets come in as batches. receive_run() takes the TCP segments that header prediction covers;
the rest goes through _receive_slow(), which is the whole of RFC 1122 for a host with one interface, or for IPv6 through
ip6_layer.py. What lies above knows no difference but the length of packed addresses. Nothing is sent from there: flows
note that they have output, and packets_to_send() has them build it when the link can take it. What answers a packet
without belonging to a flow (echo replies, ICMP errors, resets) waits in one short queue that drops when it is full, so
that nobody can make us hold memory by asking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from ..base.checksum import checksum, pseudo_header_sum
from ..base.entropy import Entropy
from ..base.timers import TimerQueue
from ..errors import ConnectionLost, LocalProtocolError, RemoteProtocolError, SstpsocksError, TooManyConnections
from .address import LIMITED_BROADCAST, IPAddress, is_unicast, require_reachable, require_source
from .config import StackConfig
from .counters import NetCounters
from .echo import EchoRequests, IcmpEcho
from .flow import Flow, Notifying
from .fragment import Reassembler, fragment_packet, reassemble_ipv4
from .half_open import HalfOpen
from .icmp import IcmpErrorKind, IcmpType, Quote
from .icmp6 import Icmp6Message
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
from .ip6 import MIN_MTU as MIN_IPV6_MTU
from .ip6_layer import Ipv6Layer
from .memory import Memory
from .outer import OuterPath
from .path_mtu import PathMtus
from .ports import choose_port, choose_port_for, port_offset
from .receive_run import receive_run
from .scheduler import OutputScheduler
from .source_address import OwnAddress
from .tcp.builder import build_reset
from .tcp.connection import TcpConnection
from .tcp.host import TcpFlow
from .tcp.listener import TcpListener
from .tcp.tcb import TcpState
from .tcp.time_wait import may_begin_anew
from .udp import UdpEndpoint
from .udp_layer import UdpLayer

MIN_MTU = 68
"""RFC 791: "Every internet module must be able to forward a datagram of 68 octets without further fragmentation"."""
_MAX_REPLY_BYTES = 256 * 1024
"""Octets of answers that wait to be sent."""
_LOOK_FOR_WAITING = 0.1
"""Seconds between looks for connections in TIME-WAIT to end."""
_TCP_HEADER_SIZE = 20
_BROADCAST = LIMITED_BROADCAST.packed


class Stack:
    """A host on a link that carries whole packets: with one IPv4 address, and IPv6 addresses that come and go.

    All methods are cheap; none blocks.
    """

    __slots__ = (
        "_dirty", "_echoes", "_half_open", "_icmp", "_identification", "_ip6", "_listeners", "_look_for_waiting_at",
        "_next_ephemeral", "_own", "_path_mtus", "_reassembler", "_replies", "_reply_bytes", "_scheduler", "_timers",
        "_udp", "address",
        "config", "connections", "counters", "entropy", "ipv6_mtu", "isn_secret", "local_addresses", "memory", "mss",
        "mtu", "on_router_advertisement", "outer",
    )  # fmt: skip

    def __init__(self, address: IPv4Address, *, mtu: int, entropy: Entropy, config: StackConfig | None = None) -> None:
        if mtu < MIN_MTU:
            raise LocalProtocolError(f"an MTU of {mtu} octets, IPv4 needs {MIN_MTU}", layer="ip")
        self.address = address
        """Our IPv4 address in the tunnel."""
        self.local_addresses: tuple[IPAddress, ...] = (address,)
        """All our addresses, the IPv4 address first."""
        self.mtu = mtu
        """The largest packet we send, in octets; larger ones are taken."""
        self.mss = mtu - HEADER_SIZE - _TCP_HEADER_SIZE
        """The largest TCP segment without options that fits a packet of IPv4 (RFC 6691); of IPv6 it is 20 less."""
        self.ipv6_mtu = mtu
        """As mtu, for IPv6: a Router Advertisement may tell a smaller one, not below 1280 (RFC 4861 section 4.6.4)."""
        self.on_router_advertisement: Callable[[bytes, IPv6Address, int, float], None] | None = None
        """Called with each Router Advertisement whose checksum is right: the ICMPv6 message from its type on, the
        source address, the hop limit and the time. It judges the rest and may raise RemoteProtocolError."""
        self.entropy = entropy
        self.config = config if config is not None else StackConfig()
        self.counters = NetCounters()
        self._next_ephemeral = 0
        self._look_for_waiting_at = 0.0
        self.memory = Memory(self.config.memory_maximum - self.config.reassembly_bytes - _MAX_REPLY_BYTES)
        """What the flows hold. Fragments and answers have bounds of their own, which are taken off."""
        self.isn_secret = entropy.random_bytes(16)
        """RFC 6528 section 3: the secret key of the initial sequence numbers."""
        self.outer: OuterPath | None = None
        """The reliable connection below, for which retransmission timers wait; None: there is none."""
        self.connections: dict[bytes, TcpConnection] = {}
        """By addresses and ports as they lie in the packets they receive: 12 octets of IPv4, 36 of IPv6."""
        self._half_open = HalfOpen(self.config.max_half_open)
        self._own = address.packed
        self._listeners: dict[int, TcpListener] = {}
        self._udp = UdpLayer(self)
        self._echoes = EchoRequests(self)
        self._icmp = IcmpLayer(self, address, self._echoes)
        self._reassembler = Reassembler(self.config, self.counters)
        self._ip6 = Ipv6Layer(self, self._reassembler, self._echoes)
        self._path_mtus = PathMtus()
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._scheduler = OutputScheduler(mtu)
        self._dirty: dict[Notifying, None] = {}
        self._replies: deque[bytes] = deque()
        self._reply_bytes = 0
        self._identification = int.from_bytes(entropy.random_bytes(2), "big")

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.local_addresses))
        return f"<Stack {addresses}, {len(self.connections)} connections, {self._udp!r}, {self._scheduler!r}>"

    # Addresses

    def add_address(
        self, address: IPv6Address, prefix_length: int, *, deprecated: bool = False, temporary: bool = False
    ) -> None:
        """Take an IPv6 address, or change what is known about it (source_address.py says what it means).

        Raises LocalProtocolError when no host can have it, or when the link is too small for IPv6.
        """
        if self.mtu < MIN_IPV6_MTU:
            raise LocalProtocolError(f"an MTU of {self.mtu} octets, IPv6 needs {MIN_IPV6_MTU}", layer="ip")
        self._ip6.add_address(OwnAddress(address, prefix_length, deprecated, temporary))
        self.local_addresses = (self.address, *self._ip6.addresses)

    def remove_address(self, address: IPv6Address, now: float = 0.0) -> None:
        """Give an IPv6 address up; its flows end with ConnectionLost and send nothing more from it."""
        if not self._ip6.remove_address(address):
            return
        self.local_addresses = (self.address, *self._ip6.addresses)
        error = ConnectionLost(f"our address {address} in the tunnel has expired")
        for connection in [one for one in self.connections.values() if one.local[0] == address]:
            connection.abort(now, error)
            connection.replies.clear()
        self._udp.address_lost(address, error)

    def source_for(self, destination: IPAddress) -> IPAddress | None:
        """Return which of our addresses a packet to ``destination`` leaves from, None when none will do."""
        return self.address if isinstance(destination, IPv4Address) else self._ip6.source_for(destination)

    # Packets in

    def receive_batch(self, data: bytes, spans: Sequence[tuple[int, int]], now: float) -> None:
        """Take the packets ``data[start:end]`` in order. Whatever is wrong with one is counted, never raised."""
        taken, octets = receive_run(self.connections, data, spans, now, self._receive_slow)
        counters = self.counters
        counters.ip_in_receives += len(spans)
        counters.ip_in_octets += octets
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
        deadlines = (self._timers.next_deadline(), self._reassembler.poll_at(), self._path_mtus.poll_at())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due; harmless when nothing is."""
        for flow in self._timers.pop_due(now):
            flow.handle_timer(now)
        self._path_mtus.handle_timer(now)
        for packet in self._reassembler.handle_timer(now):
            if packet[0] >> 4 == 6:
                self._ip6.reassembly_timed_out(packet, now)
                continue
            header = Ipv4Header.parse(packet, 0, len(packet))
            self._icmp.send_error(
                IcmpType.TIME_EXCEEDED,
                CODE_REASSEMBLY_TIME_EXCEEDED,
                header,
                packet,
                header.header_length,
                len(packet),
                now,
            )

    # What programs open

    def connect_tcp(self, address: IPAddress, port: int, now: float) -> TcpConnection:
        """Open a connection from a port hard to guess; it is SYN-SENT on return, and dirty when that changes.

        Raises DeniedByRule for an address of no host, NetworkUnreachable without an address of ours to reach it from,
        LocalProtocolError for a port that is none, TooManyConnections at the bound.
        """
        require_reachable(address, self.local_addresses)
        local = require_source(address, self.source_for(address))
        if not 0 < port < 65536:
            raise LocalProtocolError(f"{port} is no TCP port", layer="tcp")
        self._check_room(now)
        head = address.packed + local.packed + port.to_bytes(2, "big")
        self._next_ephemeral += 1
        local_port = choose_port_for(
            port_offset(self.isn_secret, local.packed, address.packed, port),
            self._next_ephemeral,
            lambda candidate: candidate in self._listeners or head + candidate.to_bytes(2, "big") in self.connections,
        )
        connection = TcpConnection(self, (local, local_port), (address, port))
        connection.open_active(now)
        self._half_open.add(connection)
        return connection

    def _check_room(self, now: float) -> None:
        """Raise TooManyConnections when there is no room for a connection of ours."""
        if self._full:
            self._end_waiting(now)
        if len(self.connections) >= self.config.max_connections:
            self.counters.refused_for_flows += 1
            raise TooManyConnections(f"{len(self.connections)} connections in the tunnel already")
        self._check_memory()
        if self._half_open.full(now):
            self.counters.refused_for_half_open += 1
            raise TooManyConnections(f"{self._half_open.maximum} connections wait for their targets already")

    def _check_memory(self) -> None:
        if self.memory.short:
            self.counters.refused_for_memory += 1
            raise TooManyConnections("the tunnel's connections hold all the memory they may")

    @property
    def half_open(self) -> int:
        """Connections that we began and that are not established yet."""
        return self._half_open.count

    def listen_tcp(self, port: int, *, backlog: int = 1024) -> TcpListener:
        """Accept connections on a port of all our addresses, 0 for a random one.

        Raises LocalProtocolError when it is in use.
        """
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
        address: IPAddress | None = None,
        port: int | None = None,
        *,
        local_port: int | None = None,
        local_address: IPAddress | None = None,
        allow_broadcast: bool = False,
        allow_multicast: bool = False,
    ) -> UdpEndpoint:
        """Open a UDP port, connected to one peer when address and port are given; a random port unless one is given.

        ``local_address`` is one of ours, a link-local one for instance; without it a connected endpoint has the one
        that suits its peer, any other has all. With ``allow_broadcast`` one that is not connected sends to
        255.255.255.255 and hears what is sent there. With ``allow_multicast`` it may send to groups of IPv6; connected
        to one it hears whoever answers. Raises DeniedByRule, NetworkUnreachable, LocalProtocolError or
        TooManyConnections as connect_tcp() does.
        """
        if (address is None) != (port is None):
            raise LocalProtocolError("a UDP peer is an address and a port", layer="udp")
        remote = None if address is None or port is None else (address, port)
        self._check_memory()
        return self._udp.open(
            remote,
            local_port,
            local_address=local_address,
            allow_broadcast=allow_broadcast and remote is None,
            allow_multicast=allow_multicast,
        )

    def send_echo(self, address: IPAddress, payload: bytes, now: float, *, dont_fragment: bool = False) -> IcmpEcho:
        """Ping: send one echo request, which nobody may fragment with ``dont_fragment``.

        Raises DeniedByRule, NetworkUnreachable, TooManyConnections, or LocalProtocolError for one that must not be
        fragmented and is larger than the MTU.
        """
        headers = 28 if address.version == 4 else 48
        if dont_fragment and headers + len(payload) > self.mtu:
            raise LocalProtocolError(f"an echo request larger than the MTU of {self.mtu}", layer="icmp")
        return self._echoes.send(address, payload, now, dont_fragment=dont_fragment)

    def send_icmp6(
        self, source: IPv6Address, destination: IPv6Address, kind: int, code: int, body: bytes, hop_limit: int = 255
    ) -> None:
        """Send an ICMPv6 message; ``body`` is what follows its checksum. Router Solicitations go this way."""
        self._ip6.icmp.send(source, destination, Icmp6Message(kind, code, body), hop_limit)

    def abort_all(self, error: SstpsocksError, now: float, *, established: bool = True) -> None:
        """End every flow with this error, without sending anything; ``established``: such TCP connections, too."""
        for connection in list(self.connections.values()):
            if established or connection.state in (TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
                connection.abort(now, error)
        for listener in list(self._listeners.values()):
            listener.close(now)
            self.mark_dirty(listener)
        self._udp.abort_all(error)
        self._echoes.abort_all(error)
        self._listeners.clear()
        self._reassembler.clear()
        self._replies.clear()
        self._reply_bytes = 0
        if established:
            self.connections.clear()
            self._half_open.clear()
            self._path_mtus.clear()
            self._scheduler.clear()
            self._timers.clear()

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
        """Deliver segments with ``flow.key`` to the connection, which is opening, and tell it what its path takes."""
        if isinstance(flow, TcpConnection):
            self.connections[flow.key] = flow
            flow.path_mss = self._path_mtu(flow.remote[0].packed) - flow.builder.HEADERS

    def forget(self, flow: Flow) -> None:
        """Deliver nothing more to a flow. What it marked for output is still sent: it may be the last RST."""
        self._timers.set(flow, None)
        if isinstance(flow, TcpConnection):
            if self.connections.get(flow.key) is flow:
                del self.connections[flow.key]
            self._half_open.discard(flow)
        elif isinstance(flow, UdpEndpoint):
            self._udp.remove(flow)
        elif isinstance(flow, IcmpEcho):
            self._echoes.remove(flow)

    def path_mtu_found(self, destination: IPAddress, mtu: int, now: float) -> None:
        """A flow found by itself what passes; later ones to the same destination begin with that."""
        self._path_mtus.lower(destination.packed, mtu, now)

    def build_datagrams(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes, *, dont_fragment: bool = False
    ) -> list[bytes]:
        """Return a packet between two packed addresses, or its fragments when it is larger than the MTU.

        That is the path's with IPv6, whose routers do not fragment, and the link's with IPv4, whose routers do.
        ``dont_fragment``: it fits the link, and nobody fragments it, whatever is known about the path.
        """
        if len(source) == 16:
            mtu = self.mtu if dont_fragment else self._path_mtu(destination)
            fragments = self._ip6.build(source, destination, protocol, payload, mtu)
        else:
            self._identification = (self._identification + 1) & 0xFFFF
            packet = build_packet(
                source,
                destination,
                protocol,
                payload,
                identification=self._identification,
                dont_fragment=dont_fragment,
            )
            fragments = [packet] if dont_fragment else fragment_packet(packet, self.mtu)
        if len(fragments) == 1:
            return fragments
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
        """Hand on an ICMP error about a TCP segment; False when no connection has it in flight."""
        ports = quote.transport[2:4] + quote.transport[:2]
        connection = self.connections.get(quote.destination + quote.source + ports)
        if connection is None:
            return False
        if not connection.on_icmp_error(kind, int.from_bytes(quote.transport[4:8], "big"), now, mtu):
            return False
        if mtu:
            self._path_mtus.lower(quote.destination, max(mtu, connection.default_mss + connection.builder.HEADERS), now)
        return True

    def receive_udp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float) -> bool:
        """Hand on an ICMP error about a UDP datagram; False when there is no such endpoint."""
        if not self._udp.receive_icmp_error(kind, quote):
            return False
        if mtu:
            self._path_mtus.lower(quote.destination, mtu, now)
        return True

    def receive_router_advertisement(self, message: bytes, source: IPv6Address, hop_limit: int, now: float) -> None:
        """Hand a Router Advertisement to whoever configures addresses."""
        if self.on_router_advertisement is not None:
            self.on_router_advertisement(message, source, hop_limit, now)

    def _path_mtu(self, destination: bytes) -> int:
        return self._path_mtus.get(destination, self.mtu if len(destination) == 4 else self.ipv6_mtu)

    # The slow path

    def _receive_slow(self, data: bytes, start: int, end: int, now: float) -> None:
        """Take one packet that header prediction did not cover."""
        if end > start and data[start] >> 4 == 6:
            self._ip6.receive(data, start, end, now)
            return
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
        for_us = self._is_for_us(header, data, payload_start, payload_end)
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

    def _is_for_us(self, header: Ipv4Header, data: bytes, start: int, end: int) -> bool:
        """Whether the packet with the payload ``data[start:end]`` is for us: a broadcast only if a program wants it."""
        return header.destination == self._own or (
            header.destination == _BROADCAST
            and header.protocol == PROTOCOL_UDP
            and not header.is_fragment
            and self._udp.wants_broadcast(data, start, end)
        )

    def _deliver(self, header: Ipv4Header, data: bytes, start: int, end: int, now: float) -> None:
        counters = self.counters
        counters.ip_in_delivers += 1
        if header.protocol == PROTOCOL_TCP:
            self.receive_tcp(header.source, header.destination, data, start, end, now, marked=header.marked)
        elif header.protocol == PROTOCOL_UDP:
            if not self.receive_udp(header.source, header.destination, data, start, end):
                self._icmp.send_error(
                    IcmpType.DESTINATION_UNREACHABLE, CODE_PORT_UNREACHABLE, header, data, start, end, now
                )
        elif header.protocol == PROTOCOL_ICMP:
            self._icmp.receive(header, data, start, end, now)
        else:
            counters.ip_in_delivers -= 1
            counters.ip_in_unknown_protos += 1
            self._icmp.send_error(
                IcmpType.DESTINATION_UNREACHABLE, CODE_PROTOCOL_UNREACHABLE, header, data, start, end, now
            )

    # What both IP versions carry

    def receive_udp(self, source: bytes, destination: bytes, data: bytes, start: int, end: int) -> bool:
        """Take a UDP datagram between two packed addresses; False when there is no endpoint for it."""
        return self._udp.receive(source, destination, data, start, end)

    def receive_tcp(
        self, source: bytes, destination: bytes, data: bytes, start: int, end: int, now: float, *, marked: bool = False
    ) -> None:
        """Take a TCP segment between two packed addresses; ``marked``: it came with the ECN codepoint CE."""
        counters = self.counters
        counters.tcp_in_segs += 1
        initial = pseudo_header_sum(source, destination, PROTOCOL_TCP, end - start)
        if end - start < _TCP_HEADER_SIZE or checksum(data, start, end, initial):
            counters.tcp_in_errs += 1
            return
        connection = self.connections.get(source + destination + data[start : start + 4])
        listener = None
        if connection is None or connection.state is TcpState.TIME_WAIT:
            listener = self._listener(int.from_bytes(data[start + 2 : start + 4], "big"))
        if connection is not None:
            if listener is None or not may_begin_anew(connection, data, start, end):
                connection.receive_segment(data, start, end, now, marked=marked)
                return
            connection.forget(now)
        if listener is not None:
            if self._full:
                self._end_waiting(now)
            if self._full:
                # A SYN is sent again, and there may be room by then.
                counters.ip_in_discards += 1
                return
            reply = listener.receive_segment(data, start, end, source, destination, now)
            if reply is not None:
                self.send_reply([reply])
            return
        reset = build_reset(data, start, end, source, destination)
        if reset is not None and self.send_reply([reset]):
            counters.tcp_out_rsts += 1

    @property
    def _full(self) -> bool:
        """Whether there is no room for another connection."""
        return len(self.connections) >= self.config.max_connections or self.memory.short

    def _end_waiting(self, now: float) -> None:
        """End the older half of the connections in TIME-WAIT, to make room: more than a thousand connections a second
        would fill any bound with them. Kernels do the same beyond a bound. What it costs is protection from old
        duplicates, which our random ports and the peer's sequence numbers give as well. All connections are looked
        through for it, so it is not done for each that is refused.
        """
        if now < self._look_for_waiting_at:
            return
        self._look_for_waiting_at = now + _LOOK_FOR_WAITING
        waiting = [
            (connection.wait_deadline or now, connection)
            for connection in self.connections.values()
            if connection.state is TcpState.TIME_WAIT
        ]
        waiting.sort(key=lambda entry: entry[0])
        for _, connection in waiting[: (len(waiting) + 1) // 2]:
            connection.wait_deadline = now
            connection.handle_timer(now)

    def _listener(self, port: int) -> TcpListener | None:
        """Return who listens on the port; a listener that was closed is dropped here."""
        listener = self._listeners.get(port)
        if listener is not None and listener.closed:
            del self._listeners[port]
            return None
        return listener
