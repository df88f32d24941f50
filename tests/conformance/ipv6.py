"""A stack that speaks IPv6 and looks like IPv4: the TCP scripts run over both versions unchanged.

Every packet is translated as between the two sides of a NAT64 (RFC 7915, RFC 6052): the TCP segment stays as it is but
for its checksum, which is verified on both sides by dpkt.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from sstpsocks.base.entropy import Entropy
from sstpsocks.net.address import IPAddress
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.listener import TcpListener
from tests.helpers.ip6_packets import ip6_packet, parse6, sum_with_pseudo_header
from tests.helpers.ip_packets import ip_packet, with_pseudo_header

_TCP = 6
_MINIMUM_MTU = 1280


def to_ipv6(address: IPAddress) -> IPv6Address:
    """Return the address of the documentation network that stands for an IPv4 address."""
    return IPv6Address(IPv6Address("2001:db8:64::").packed[:12] + address.packed[-4:])


def to_ipv4(address: IPAddress) -> IPv4Address:
    """Undo to_ipv6()."""
    return IPv4Address(address.packed[-4:])


def ipv6_packet(packet: bytes) -> bytes:
    """Translate an IPv4 packet without options; a checksum that was wrong stays wrong."""
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    segment = packet[20:]
    damage = with_pseudo_header(segment, _TCP, source, destination)
    segment = segment[:16] + b"\0\0" + segment[18:]
    value = sum_with_pseudo_header(segment, _TCP, to_ipv6(source), to_ipv6(destination)) ^ damage
    segment = segment[:16] + struct.pack("!H", value) + segment[18:]
    return ip6_packet(segment, protocol=_TCP, source=to_ipv6(source), destination=to_ipv6(destination))


def ipv4_packet(packet: bytes) -> bytes:
    """Translate a packet of ours back."""
    parsed = parse6(packet)
    assert parsed.nxt == _TCP, "only TCP is translated"
    source, destination = to_ipv4(IPv6Address(parsed.src)), to_ipv4(IPv6Address(parsed.dst))
    segment = packet[40:56] + b"\0\0" + packet[58:]
    value = with_pseudo_header(segment, _TCP, source, destination)
    segment = segment[:16] + struct.pack("!H", value) + segment[18:]
    return ip_packet(segment, protocol=_TCP, source=source, destination=destination, ttl=parsed.hlim)


class TranslatedListener(TcpListener):
    """Tells who was accepted as IPv4 would."""

    __slots__ = ()

    def accept(self) -> TcpConnection | None:
        connection = super().accept()
        if connection is not None:
            connection.remote = (to_ipv4(connection.remote[0]), connection.remote[1])
        return connection


class TranslatedStack(Stack):
    """What the interpreter takes for a stack with an IPv4 address."""

    __slots__ = ()

    def __init__(self, address: IPv4Address, *, mtu: int, entropy: Entropy, config: StackConfig | None = None) -> None:
        super().__init__(address, mtu=max(mtu + 20, _MINIMUM_MTU), entropy=entropy, config=config)
        self.add_address(to_ipv6(address), 96)
        # Scripts know the MSS of a link without IPv6's longer header, and of links too small for it.
        self.ipv6_mtu = mtu + 20
        self.mss = mtu - 20

    def receive_batch(self, data: bytes, spans: Sequence[tuple[int, int]], now: float) -> None:
        packets = [ipv6_packet(data[start:end]) for start, end in spans]
        translated = []
        position = 0
        for packet in packets:
            translated.append((position, position + len(packet)))
            position += len(packet)
        super().receive_batch(b"".join(packets), translated, now)

    def packets_to_send(self, now: float, max_bytes: int) -> list[bytes]:
        return [ipv4_packet(packet) for packet in super().packets_to_send(now, max_bytes)]

    def connect_tcp(self, address: IPAddress, port: int, now: float) -> TcpConnection:
        return super().connect_tcp(to_ipv6(address), port, now)

    def listen_tcp(self, port: int, *, backlog: int = 128) -> TcpListener:
        listener = super().listen_tcp(port, backlog=backlog)
        listener.__class__ = TranslatedListener
        return listener
