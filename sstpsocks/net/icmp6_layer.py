"""What a host does about ICMPv6 (RFC 4443): answer echoes and neighbors, deliver errors, send some.

Echo requests to a group get no answer, although RFC 4443 section 4.2 would like one: whatever is not addressed to us
alone is not answered, so that nobody can have us answer what he sent to many.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Protocol

from ..errors import RemoteProtocolError
from .echo import EchoRequests
from .flow import FlowHost
from .icmp import IcmpErrorKind, Quote
from .icmp6 import (
    FIRST_INFORMATIONAL,
    QUOTE_LIMIT,
    Icmp6Message,
    Icmp6Type,
    echo,
    error_kind,
    is_error,
    neighbor_advertisement,
    parse_quote,
    parse_solicitation,
)
from .ip import PROTOCOL_TCP, PROTOCOL_UDP
from .ip6 import MIN_MTU, PROTOCOL_ICMP6, Ipv6Header, ParameterProblem, build_packet
from .token_bucket import TokenBucket

CODE_PORT_UNREACHABLE = 4
CODE_REASSEMBLY_TIME_EXCEEDED = 1
ALL_NODES = IPv6Address("ff02::1").packed
_NEIGHBOR_HOP_LIMIT = 255
"""RFC 4861: what is not forwarded by any router still has it on arrival."""


class Icmp6Host(FlowHost, Protocol):
    """What ICMPv6 needs of the stack besides."""

    def send_reply(self, packets: list[bytes], /) -> bool:
        """Queue packets that answer one received; False when the queue is full and they were dropped."""
        ...

    def receive_tcp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float, /) -> bool:
        """Hand on an ICMP error about a TCP segment; False when no connection has it in flight."""
        ...

    def receive_udp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float, /) -> bool:
        """Hand on an ICMP error about a UDP datagram; False when there is no such endpoint."""
        ...

    def receive_router_advertisement(self, message: bytes, source: IPv6Address, hop_limit: int, now: float, /) -> None:
        """Hand a Router Advertisement to whoever configures addresses."""
        ...


class Icmp6Layer:
    """ICMPv6 of one stack."""

    __slots__ = ("_echoes", "_error_bucket", "_host", "_reply_bucket")

    def __init__(self, host: Icmp6Host, echoes: EchoRequests) -> None:
        self._host = host
        self._echoes = echoes
        self._error_bucket = TokenBucket(host.config.icmp_errors_per_second)
        self._reply_bucket = TokenBucket(host.config.icmp_replies_per_second)

    def receive(self, header: Ipv6Header, data: bytes, start: int, end: int, now: float) -> None:
        """Take one message."""
        counters = self._host.counters
        counters.icmp_in_msgs += 1
        try:
            message = Icmp6Message.parse(data, start, end, header.source, header.destination)
            if message.type == Icmp6Type.NEIGHBOR_SOLICITATION:
                self._answer_neighbor(header, message, now)
            elif not any(header.source):
                raise RemoteProtocolError("ICMPv6 message from nobody", layer="icmp")
            elif message.type == Icmp6Type.ROUTER_ADVERTISEMENT:
                source = IPv6Address(header.source)
                self._host.receive_router_advertisement(data[start:end], source, header.hop_limit, now)
            elif not header.is_multicast:
                self._receive_unicast(header, message, now)
        except RemoteProtocolError:
            counters.icmp_in_errors += 1

    def send_problem(self, problem: ParameterProblem, header: Ipv6Header, packet: bytes, now: float) -> None:
        """Tell the sender of a packet what is wrong with its headers."""
        if header.is_multicast and not problem.even_if_multicast:
            return
        self.send_error(Icmp6Type.PARAMETER_PROBLEM, problem.code, problem.pointer, header, packet, now)

    def send_error(
        self, kind: Icmp6Type, code: int, number: int, header: Ipv6Header, packet: bytes, now: float
    ) -> None:
        """Tell the sender of a packet what is wrong; ``number`` is the pointer of a Parameter Problem, otherwise 0.

        Its source is a single node's address: the stack takes no packet from any other, but for the unspecified one.
        """
        # RFC 4443 section 2.4 (e).
        if is_error(packet, header) or not any(header.source):
            return
        counters = self._host.counters
        source = header.destination
        if header.is_multicast:
            own = self._host.source_for(IPv6Address(header.source))
            if own is None:
                return
            source = own.packed
        # Section 2.4 (f): "an IPv6 node MUST limit the rate of ICMPv6 error messages it originates".
        if not self._error_bucket.allow(now):
            counters.icmp_out_limited += 1
            return
        message = Icmp6Message(kind, code, number.to_bytes(4, "big") + packet[:QUOTE_LIMIT])
        self._reply(source, header.source, message)

    def _receive_unicast(self, header: Ipv6Header, message: Icmp6Message, now: float) -> None:
        counters = self._host.counters
        if message.type in (Icmp6Type.ECHO_REQUEST, Icmp6Type.ECHO_REPLY) and len(message.body) < 4:
            raise RemoteProtocolError("ICMPv6 echo that is too short", layer="icmp")
        identifier, sequence = message.number >> 16, message.number & 0xFFFF
        if message.type == Icmp6Type.ECHO_REQUEST:
            if not self._reply_bucket.allow(now):
                counters.icmp_out_limited += 1
                return
            # RFC 4443 section 4.2: "The data received in the ICMPv6 Echo Request message MUST be returned entirely and
            # unmodified in the ICMPv6 Echo Reply message." Its source "MUST be the same as the destination".
            reply = echo(Icmp6Type.ECHO_REPLY, identifier, sequence, message.body[4:])
            self._reply(header.destination, header.source, reply)
        elif message.type == Icmp6Type.ECHO_REPLY:
            if not self._echoes.receive_reply(header.source, identifier, sequence, message.body[4:], now):
                counters.icmp_in_unmatched += 1
        elif message.type < FIRST_INFORMATIONAL:
            kind = error_kind(message)
            if kind is None or not self._receive_error(kind, header, message, now):
                counters.icmp_in_unmatched += 1

    def _receive_error(self, kind: IcmpErrorKind, header: Ipv6Header, message: Icmp6Message, now: float) -> bool:
        """Hand an error to the flow whose packet it quotes; False when there is none."""
        quote = parse_quote(message.body[4:])
        if quote.source != header.destination:
            return False
        mtu = 0
        if kind is IcmpErrorKind.FRAGMENTATION_NEEDED:
            mtu = message.number
            # RFC 8201 section 4: "If a node receives a Packet Too Big message reporting a next-hop MTU that is less
            # than the IPv6 minimum link MTU, it must discard it." A packet that fits was no reason to complain
            # (RFC 5927 section 7.2).
            if mtu < MIN_MTU or mtu >= quote.total_length:
                return False
        if quote.protocol == PROTOCOL_TCP:
            return self._host.receive_tcp_error(kind, quote, mtu, now)
        if quote.protocol == PROTOCOL_UDP:
            return self._host.receive_udp_error(kind, quote, mtu, now)
        if quote.protocol != PROTOCOL_ICMP6 or quote.transport[0] != Icmp6Type.ECHO_REQUEST:
            return False
        return self._echoes.receive_error(quote.destination, quote.transport, kind)

    def _answer_neighbor(self, header: Ipv6Header, message: Icmp6Message, now: float) -> None:
        """RFC 4861 section 7.2.4, and RFC 4862 section 5.4.3 for who asks from the unspecified address: he is about to
        take the address, which is ours.
        """
        target = parse_solicitation(message, header)
        if IPv6Address(target) not in self._host.local_addresses:
            return
        if not self._reply_bucket.allow(now):
            self._host.counters.icmp_out_limited += 1
            return
        asker = any(header.source)
        answer = neighbor_advertisement(target, solicited=asker)
        self._reply(target, header.source if asker else ALL_NODES, answer, hop_limit=_NEIGHBOR_HOP_LIMIT)

    def _reply(self, source: bytes, destination: bytes, message: Icmp6Message, *, hop_limit: int | None = None) -> None:
        content = message.to_bytes(source, destination)
        if hop_limit is None:
            packets = self._host.build_datagrams(source, destination, PROTOCOL_ICMP6, content)
        else:
            packets = [build_packet(source, destination, PROTOCOL_ICMP6, content, hop_limit=hop_limit)]
        if self._host.send_reply(packets):
            self._host.counters.icmp_out_msgs += 1

    def send(self, source: IPv6Address, destination: IPv6Address, message: Icmp6Message, hop_limit: int) -> None:
        """Send a message of somebody else's making."""
        self._reply(source.packed, destination.packed, message, hop_limit=hop_limit)
