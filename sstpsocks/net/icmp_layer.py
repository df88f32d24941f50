"""What a host does about ICMP (RFC 1122 section 3.2.2): answer echoes, deliver errors, send some."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Protocol

from ..errors import RemoteProtocolError
from .echo import EchoRequests
from .flow import FlowHost
from .icmp import (
    ERROR_TYPES,
    QUOTE_LIMIT,
    IcmpErrorKind,
    IcmpMessage,
    IcmpType,
    Quote,
    echo,
    error_kind,
    next_hop_mtu,
    parse_quote,
)
from .ip import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Header
from .token_bucket import TokenBucket

CODE_PROTOCOL_UNREACHABLE = 2
CODE_PORT_UNREACHABLE = 3
CODE_REASSEMBLY_TIME_EXCEEDED = 1


class IcmpHost(FlowHost, Protocol):
    """What ICMP needs of the stack besides."""

    def send_reply(self, packets: list[bytes], /) -> bool:
        """Queue packets that answer one received; False when the queue is full and they were dropped."""
        ...

    def receive_tcp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float, /) -> bool:
        """Hand on an ICMP error about a TCP segment; False when no connection has it in flight."""
        ...

    def receive_udp_error(self, kind: IcmpErrorKind, quote: Quote, mtu: int, now: float, /) -> bool:
        """Hand on an ICMP error about a UDP datagram; False when there is no such endpoint."""
        ...


class IcmpLayer:
    """ICMP of one stack."""

    __slots__ = ("_echoes", "_error_bucket", "_host", "_own", "_reply_bucket")

    def __init__(self, host: IcmpHost, address: IPv4Address, echoes: EchoRequests) -> None:
        self._host = host
        self._own = address.packed
        self._echoes = echoes
        self._error_bucket = TokenBucket(host.config.icmp_errors_per_second)
        self._reply_bucket = TokenBucket(host.config.icmp_replies_per_second)

    def __repr__(self) -> str:
        return f"<IcmpLayer {len(self._echoes)} echoes waiting>"

    def receive(self, header: Ipv4Header, data: bytes, start: int, end: int, now: float) -> None:
        """Take one message."""
        counters = self._host.counters
        counters.icmp_in_msgs += 1
        try:
            message = IcmpMessage.parse(data, start, end)
            match message.type:
                case IcmpType.ECHO_REQUEST:
                    self._answer(header, message, now)
                case IcmpType.ECHO_REPLY:
                    identifier, sequence = message.rest >> 16, message.rest & 0xFFFF
                    if not self._echoes.receive_reply(header.source, identifier, sequence, message.body, now):
                        counters.icmp_in_unmatched += 1
                case _:
                    kind = error_kind(message)
                    if kind is not None and not self._receive_error(kind, message, now):
                        counters.icmp_in_unmatched += 1
        except RemoteProtocolError:
            counters.icmp_in_errors += 1

    def send_error(
        self, kind: IcmpType, code: int, header: Ipv4Header, data: bytes, start: int, end: int, now: float
    ) -> None:
        """Tell the sender of a packet with payload ``data[start:end]``, which was addressed to us, what is wrong."""
        # RFC 1122 section 3.2.2: "An ICMP error message MUST NOT be sent as the result of receiving: an ICMP error
        # message". Its other cases (broadcasts, multicasts, later fragments, sources that are no single host) do not
        # come this far.
        if header.protocol == PROTOCOL_ICMP and (start == end or data[start] in ERROR_TYPES):
            return
        counters = self._host.counters
        if not self._error_bucket.allow(now):
            counters.icmp_out_limited += 1
            return
        head = header.to_bytes()
        quote = head + data[start : min(end, start + QUOTE_LIMIT - len(head))]
        message = IcmpMessage(kind, code, 0, quote)
        if self._host.send_reply(
            self._host.build_datagrams(self._own, header.source, PROTOCOL_ICMP, message.to_bytes())
        ):
            counters.icmp_out_msgs += 1

    def _answer(self, header: Ipv4Header, request: IcmpMessage, now: float) -> None:
        counters = self._host.counters
        if not self._reply_bucket.allow(now):
            counters.icmp_out_limited += 1
            return
        # RFC 1122 section 3.2.2.6: "Data received in an ICMP Echo Request MUST be entirely included in the resulting
        # Echo Reply."
        reply = echo(IcmpType.ECHO_REPLY, request.rest >> 16, request.rest & 0xFFFF, request.body)
        if self._host.send_reply(self._host.build_datagrams(self._own, header.source, PROTOCOL_ICMP, reply.to_bytes())):
            counters.icmp_out_msgs += 1

    def _receive_error(self, kind: IcmpErrorKind, message: IcmpMessage, now: float) -> bool:
        """Hand an error to the flow whose packet it quotes; False when there is none."""
        quote = parse_quote(message.body)
        if quote.source != self._own:
            return False
        if quote.protocol == PROTOCOL_TCP:
            mtu = next_hop_mtu(message, quote) if kind is IcmpErrorKind.FRAGMENTATION_NEEDED else 0
            return self._host.receive_tcp_error(kind, quote, mtu, now)
        if quote.protocol == PROTOCOL_UDP:
            return self._host.receive_udp_error(kind, quote, 0, now)
        if quote.protocol != PROTOCOL_ICMP or quote.transport[0] != IcmpType.ECHO_REQUEST:
            return False
        return self._echoes.receive_error(quote.destination, quote.transport, kind)
