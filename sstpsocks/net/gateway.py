"""The far end of a link behind which programs may talk to any address: a stack that stands in for all others.

Theory of operation. A host that has a whole link to itself sends packets for anybody; here they end, whoever they are
for, and the owner opens what was asked for elsewhere. What the owner has to decide comes as events: a connection that
somebody began (Opening), a datagram, an echo request. A SYN is answered only when the owner has accept()ed it, so that
the program behind the link connects when the target has, and is told the same when it could not: refuse() sends the
reset or the ICMP error that says why. From then on it is a connection like any other of the stack, with our end at the
target's address. The gateway has an address of each family itself, where listeners and UDP endpoints of a stack work as
always; what is sent there is no event.

The link is taken to be perfect and local: packets out may be as large as IP allows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from ..base.checksum import checksum, pseudo_header_sum
from ..base.entropy import Entropy
from ..errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    NetworkUnreachable,
    RemoteProtocolError,
    SstpsocksError,
    TooManyConnections,
    TunnelDown,
)
from . import icmp, icmp6
from .address import is_unicast
from .config import StackConfig
from .gateway_ipv6 import GatewayIpv6Layer
from .icmp import IcmpMessage, IcmpType
from .icmp6 import Icmp6Message, Icmp6Type
from .ip import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Header
from .ip import build_packet as build_ipv4
from .ip6 import PROTOCOL_ICMP6, Ipv6Header
from .ip6 import build_packet as build_ipv6
from .stack import Stack
from .tcp.builder import build_reset
from .tcp.connection import TcpConnection
from .tcp.segment import ACK, RST, SYN, parse_segment
from .tcp.tcb import TcpState
from .tcp.time_wait import may_begin_anew
from .udp import Endpoint, UdpDatagram

MTU = 65535
"""What packets to the programs may have: IP's limit, since nothing lies between."""
MAX_EVENTS = 4096
"""Datagrams and echo requests that wait for the owner; more are dropped."""
_TCP_HEADER_SIZE = 20

# Errors of dialling, and what RFC 792, RFC 1812 section 5.2.7.1 and RFC 4443 section 3.1 call them.
_ICMP_CODES: tuple[tuple[tuple[type[SstpsocksError], ...], int, int], ...] = (
    ((ConnectionRefused,), 3, 4),
    ((NetworkUnreachable, TunnelDown), 0, 0),
    ((DeniedByRule,), 13, 1),
    ((SstpsocksError,), 1, 3),
)
_SILENT = (ConnectTimedOut, TooManyConnections)
"""What a network answers with silence, and what another try may find better."""


@dataclass(eq=False, slots=True)
class Opening:
    """A program behind the link has begun a connection, and waits; to be accepted or refused, once."""

    remote: Endpoint
    """The program's address and port."""
    target: Endpoint
    """Whom it wants."""
    segment: bytes
    """Its SYN."""
    key: bytes


@dataclass(frozen=True, slots=True)
class DatagramArrived:
    """A program sent a UDP datagram."""

    source: Endpoint
    """The program's address and port."""
    target: Endpoint
    payload: bytes


@dataclass(frozen=True, slots=True)
class EchoArrived:
    """A program sent an echo request."""

    source: bytes
    """The program's packed address; ``target`` likewise."""
    target: bytes
    message: bytes
    """ICMP or ICMPv6, from its type on."""

    @property
    def payload(self) -> bytes:
        """What the reply must give back, behind identifier and sequence number."""
        return self.message[8:]


GatewayEvent = Opening | DatagramArrived | EchoArrived


class Gateway(Stack):
    """Takes packets for any unicast address; ``address`` and ``ipv6_address`` are its own."""

    __slots__ = ("_events", "_openings", "_own_addresses")

    def __init__(
        self,
        address: IPv4Address,
        ipv6_address: IPv6Address,
        *,
        entropy: Entropy,
        config: StackConfig | None = None,
        mtu: int = MTU,
    ) -> None:
        super().__init__(address, mtu=mtu, entropy=entropy, config=config)
        self._openings: dict[bytes, Opening] = {}
        """By addresses and ports as they lie in the SYN."""
        self._events: deque[GatewayEvent] = deque()
        self._own_addresses = frozenset((address.packed, ipv6_address.packed))
        self._ip6 = GatewayIpv6Layer(self, self._reassembler, self._echoes)
        self.add_address(ipv6_address, 128)

    def __repr__(self) -> str:
        return f"<Gateway {len(self._openings)} openings, {len(self.connections)} connections>"

    @property
    def openings(self) -> int:
        """Connections that wait for the owner."""
        return len(self._openings)

    def next_event(self) -> GatewayEvent | None:
        """Return what the owner has to decide next, None when there is nothing."""
        return self._events.popleft() if self._events else None

    # What the owner decides

    def accept(self, opening: Opening, now: float) -> TcpConnection | None:
        """Go on with a connection: the SYN is answered. None when it is not waiting any more."""
        segment = parse_segment(opening.segment, 0, len(opening.segment))
        if self._openings.pop(opening.key, None) is not opening or segment is None:
            return None
        connection = TcpConnection(self, opening.target, opening.remote)
        connection.open_passive(segment, now)
        return connection

    def refuse(self, opening: Opening, error: SstpsocksError) -> None:
        """Tell the program what ``error`` says, in TCP's and ICMP's words."""
        if self._openings.pop(opening.key, None) is not opening or isinstance(error, _SILENT):
            return
        source, destination = opening.remote[0].packed, opening.target[0].packed
        if not isinstance(error, ConnectionRefused):
            self._send_unreachable(source, destination, PROTOCOL_TCP, opening.segment, error)
            return
        reset = build_reset(opening.segment, 0, len(opening.segment), source, destination)
        if reset is not None and self.send_reply([reset]):
            self.counters.tcp_out_rsts += 1

    def send_datagram(self, payload: bytes, source: Endpoint, destination: Endpoint) -> bool:
        """Send a datagram from a target to a program; False when too many packets wait and it was dropped."""
        packed = source[0].packed, destination[0].packed
        datagram = UdpDatagram(source[1], destination[1], payload).to_bytes(*packed)
        self.counters.udp_out_datagrams += 1
        return self.send_reply(self.build_datagrams(*packed, PROTOCOL_UDP, datagram))

    def refuse_datagram(self, source: Endpoint, target: Endpoint, error: SstpsocksError) -> None:
        """Tell a program what became of a datagram that it sent to ``target``."""
        if not isinstance(error, _SILENT):
            packed = source[0].packed, target[0].packed
            quote = UdpDatagram(source[1], target[1], b"").to_bytes(*packed)
            self._send_unreachable(*packed, PROTOCOL_UDP, quote, error)

    def answer_echo(self, request: EchoArrived) -> None:
        """Answer in the target's place."""
        if len(request.target) == 4:
            reply = IcmpMessage(
                IcmpType.ECHO_REPLY, 0, int.from_bytes(request.message[4:8], "big"), request.payload
            ).to_bytes()
            protocol = PROTOCOL_ICMP
        else:
            message = Icmp6Message(Icmp6Type.ECHO_REPLY, 0, request.message[4:])
            reply = message.to_bytes(request.target, request.source)
            protocol = PROTOCOL_ICMP6
        if self.send_reply(self.build_datagrams(request.target, request.source, protocol, reply)):
            self.counters.icmp_out_msgs += 1

    def refuse_echo(self, request: EchoArrived, error: SstpsocksError) -> None:
        """Tell a program why there is no reply; that none came in time is told by saying nothing."""
        if not isinstance(error, _SILENT):
            protocol = PROTOCOL_ICMP if len(request.target) == 4 else PROTOCOL_ICMP6
            self._send_unreachable(request.source, request.target, protocol, request.message, error)

    def close(self, error: SstpsocksError, now: float) -> None:
        """End everything without sending anything: the link is gone."""
        self._openings.clear()
        self._events.clear()
        self.abort_all(error, now)

    # Packets for anybody

    def _is_for_us(self, header: Ipv4Header, data: bytes, start: int, end: int) -> bool:
        return is_unicast(header.destination)

    def _deliver(self, header: Ipv4Header, data: bytes, start: int, end: int, now: float) -> None:
        if header.destination != self._own:
            # RFC 1812 section 5.3.1: what has arrived with a time to live of one goes no further. For traceroute.
            if header.ttl <= 1:
                self._icmp.send_error(IcmpType.TIME_EXCEEDED, 0, header, data, start, end, now)
                return
            if header.protocol == PROTOCOL_ICMP:
                self._take_icmp(header.source, header.destination, data[start:end])
                return
        super()._deliver(header, data, start, end, now)

    def _take_icmp(self, source: bytes, destination: bytes, message: bytes) -> None:
        self.counters.icmp_in_msgs += 1
        try:
            kind = IcmpMessage.parse(message, 0, len(message)).type
        except RemoteProtocolError:
            self.counters.icmp_in_errors += 1
            return
        # What the kernel says about datagrams that nobody waits for any more changes nothing.
        if kind == IcmpType.ECHO_REQUEST:
            self._event(EchoArrived(source, destination, message))

    def receive_ipv6_for_others(self, header: Ipv6Header, data: bytes, start: int, position: int, end: int) -> bool:
        """Take what there is of IPv6 alone in a packet for another address; False for what both versions carry.

        Its ICMPv6 message is ``data[position:end]``, or none when ``position`` is ``end``.
        """
        if header.hop_limit <= 1:
            if not icmp6.is_error(data[start:end], header):
                quote = bytes(4) + data[start:end][: icmp6.QUOTE_LIMIT]
                self._send_icmp6(header.source, Icmp6Message(Icmp6Type.TIME_EXCEEDED, 0, quote))
            return True
        if position == end:
            return False
        message = data[position:end]
        self.counters.icmp_in_msgs += 1
        try:
            kind = Icmp6Message.parse(message, 0, len(message), header.source, header.destination).type
        except RemoteProtocolError:
            self.counters.icmp_in_errors += 1
            return True
        if kind == Icmp6Type.ECHO_REQUEST and len(message) >= 8:
            self._event(EchoArrived(header.source, header.destination, message))
        return True

    def receive_udp(self, source: bytes, destination: bytes, data: bytes, start: int, end: int) -> bool:
        """Take a UDP datagram; one for another address is an event."""
        if destination in self._own_addresses:
            return super().receive_udp(source, destination, data, start, end)
        try:
            datagram = UdpDatagram.parse(data, start, end, source, destination)
        except RemoteProtocolError:
            self.counters.udp_in_errors += 1
            return True
        self.counters.udp_in_datagrams += 1
        if datagram.source_port and datagram.destination_port:
            self._event(
                DatagramArrived(
                    (ip_address(source), datagram.source_port),
                    (ip_address(destination), datagram.destination_port),
                    datagram.payload,
                )
            )
        return True

    def receive_tcp(
        self, source: bytes, destination: bytes, data: bytes, start: int, end: int, now: float, *, marked: bool = False
    ) -> None:
        """Take a TCP segment; a SYN for another address is an event."""
        if destination in self._own_addresses:
            super().receive_tcp(source, destination, data, start, end, now, marked=marked)
            return
        self.counters.tcp_in_segs += 1
        initial = pseudo_header_sum(source, destination, PROTOCOL_TCP, end - start)
        if end - start < _TCP_HEADER_SIZE or checksum(data, start, end, initial):
            self.counters.tcp_in_errs += 1
            return
        key = source + destination + data[start : start + 4]
        connection = self.connections.get(key)
        if connection is not None:
            if connection.state is not TcpState.TIME_WAIT or not may_begin_anew(connection, data, start, end):
                connection.receive_segment(data, start, end, now, marked=marked)
                return
            connection.forget(now)
        self._begin(key, source, destination, data[start:end], now)

    def _begin(self, key: bytes, source: bytes, destination: bytes, segment: bytes, now: float) -> None:
        """Take a segment for which there is no connection."""
        parsed = parse_segment(segment, 0, len(segment))
        if parsed is None:
            self.counters.tcp_in_errs += 1
            return
        if parsed.flags & (SYN | ACK | RST) != SYN:
            reset = build_reset(segment, 0, len(segment), source, destination)
            if reset is not None and self.send_reply([reset]):
                self.counters.tcp_out_rsts += 1
            return
        if key in self._openings:
            return  # sent again while the target is dialled
        if self._full:
            self._end_waiting(now)
        if self._full or len(self._openings) >= self.config.max_half_open:
            self.counters.ip_in_discards += 1
            return  # it is sent again, and there may be room by then
        remote = ip_address(source), int.from_bytes(segment[:2], "big")
        target = ip_address(destination), int.from_bytes(segment[2:4], "big")
        if not remote[1] or not target[1]:
            self.counters.tcp_in_errs += 1
            return
        opening = self._openings[key] = Opening(remote, target, segment, key)
        self._events.append(opening)

    def _event(self, event: DatagramArrived | EchoArrived) -> None:
        if len(self._events) >= MAX_EVENTS:
            self.counters.ip_in_discards += 1
        else:
            self._events.append(event)

    def _send_unreachable(
        self, source: bytes, destination: bytes, protocol: int, content: bytes, error: SstpsocksError
    ) -> None:
        """Tell ``source`` why its packet with ``content`` did not reach ``destination``; once for each that came.

        That a port is closed only its host can say.
        """
        _, code, code6 = next(entry for entry in _ICMP_CODES if isinstance(error, entry[0]))
        teller = destination if isinstance(error, ConnectionRefused) else None
        if len(destination) == 4:
            quote = build_ipv4(source, destination, protocol, content)[: icmp.QUOTE_LIMIT]
            message = IcmpMessage(IcmpType.DESTINATION_UNREACHABLE, code, 0, quote).to_bytes()
            packets = self.build_datagrams(teller or self._own, source, PROTOCOL_ICMP, message)
            if self.send_reply(packets):
                self.counters.icmp_out_msgs += 1
        else:
            quote = bytes(4) + build_ipv6(source, destination, protocol, content)[: icmp6.QUOTE_LIMIT]
            self._send_icmp6(source, Icmp6Message(Icmp6Type.DESTINATION_UNREACHABLE, code6, quote), teller)

    def _send_icmp6(self, destination: bytes, message: Icmp6Message, source: bytes | None = None) -> None:
        source = source or self._ip6.addresses[0].packed
        content = message.to_bytes(source, destination)
        if self.send_reply(self.build_datagrams(source, destination, PROTOCOL_ICMP6, content)):
            self.counters.icmp_out_msgs += 1
