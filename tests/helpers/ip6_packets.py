"""IPv6 packets as others send them, with dpkt as the judge of headers and sums."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import dpkt

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack

OURS = IPv6Address("2001:db8::2")
PEER = IPv6Address("2001:db8::1")
OTHER = IPv6Address("2001:db8:77::77")
OUR_LINK_LOCAL = IPv6Address("fe80::2")
PEER_LINK_LOCAL = IPv6Address("fe80::1")
ALL_NODES = IPv6Address("ff02::1")
UNSPECIFIED = IPv6Address("::")
BUDGET = 1 << 20


def make_stack(*, mtu: int = 1400, config: StackConfig | None = None) -> Stack:
    """A stack with both versions: a global and a link-local address."""
    stack = Stack(IPv4Address("10.9.0.2"), mtu=mtu, entropy=SeededEntropy(6), config=config)
    stack.add_address(OUR_LINK_LOCAL, 64)
    stack.add_address(OURS, 64)
    return stack


def ip6_packet(
    payload: bytes,
    *,
    protocol: int,
    source: IPv6Address = PEER,
    destination: IPv6Address = OURS,
    hop_limit: int = 64,
    length: int | None = None,
) -> bytes:
    """Return an IPv6 packet; ``payload`` begins with the header that ``protocol`` names."""
    return (
        struct.pack("!IHBB", 6 << 28, len(payload) if length is None else length, protocol, hop_limit)
        + source.packed
        + destination.packed
        + payload
    )


def sum_with_pseudo_header(content: bytes, protocol: int, source: IPv6Address, destination: IPv6Address) -> int:
    """Return the checksum as dpkt computes it (RFC 8200 section 8.1)."""
    pseudo = source.packed + destination.packed + struct.pack("!II", len(content), protocol)
    return int(dpkt.in_cksum(pseudo + content))


def udp6(
    payload: bytes,
    source_port: int,
    destination_port: int,
    *,
    source: IPv6Address = PEER,
    destination: IPv6Address = OURS,
    checksum: int | None = None,
) -> bytes:
    """Return a UDP datagram for an IPv6 packet; the checksum is right unless given."""
    head = struct.pack("!HHH", source_port, destination_port, 8 + len(payload))
    if checksum is None:
        checksum = sum_with_pseudo_header(head + b"\0\0" + payload, 17, source, destination) or 0xFFFF
    return head + struct.pack("!H", checksum) + payload


def udp6_packet(
    payload: bytes,
    source_port: int,
    destination_port: int,
    *,
    source: IPv6Address = PEER,
    destination: IPv6Address = OURS,
    checksum: int | None = None,
) -> bytes:
    """Return an IPv6 packet with a UDP datagram."""
    datagram = udp6(payload, source_port, destination_port, source=source, destination=destination, checksum=checksum)
    return ip6_packet(datagram, protocol=17, source=source, destination=destination)


def icmp6_packet(
    kind: int,
    code: int,
    body: bytes,
    *,
    source: IPv6Address = PEER,
    destination: IPv6Address = OURS,
    hop_limit: int = 64,
) -> bytes:
    """Return an IPv6 packet with an ICMPv6 message; ``body`` is what follows the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + body
    value = sum_with_pseudo_header(message, 58, source, destination)
    message = message[:2] + struct.pack("!H", value) + message[4:]
    return ip6_packet(message, protocol=58, source=source, destination=destination, hop_limit=hop_limit)


def tcp6_packet(
    source_port: int,
    destination_port: int,
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = 0,
    window: int = 65535,
    payload: bytes = b"",
    options: bytes = b"",
    source: IPv6Address = PEER,
    destination: IPv6Address = OURS,
) -> bytes:
    """Return an IPv6 packet with a TCP segment."""
    offset = (5 + len(options) // 4) << 4
    segment = struct.pack("!HHIIBBHHH", source_port, destination_port, seq, ack, offset, flags, window, 0, 0)
    segment += options + payload
    value = sum_with_pseudo_header(segment, 6, source, destination)
    segment = segment[:16] + struct.pack("!H", value) + segment[18:]
    return ip6_packet(segment, protocol=6, source=source, destination=destination)


def fragment6(
    payload: bytes, *, offset: int, more: bool, identification: int = 1, next_header: int = 17, reserved: int = 0
) -> bytes:
    """Return a Fragment header and a payload; ``offset`` in octets."""
    return struct.pack("!BBHI", next_header, reserved, offset | more, identification) + payload


def options_header(options: bytes, next_header: int) -> bytes:
    """Return a hop-by-hop or destination options header; the options must fill it."""
    assert (len(options) + 2) % 8 == 0
    return bytes((next_header, (len(options) + 2) // 8 - 1)) + options


def parse6(packet: bytes) -> dpkt.ip6.IP6:
    """Read a packet of ours with dpkt, and check the sums that dpkt does not."""
    try:
        parsed = dpkt.ip6.IP6(packet)
    except AttributeError:
        # dpkt's own mistake where an error quotes a fragment with more extension headers: the header will do.
        parsed = dpkt.ip6.IP6(packet[:40])
    assert parsed.v == 6
    assert parsed.plen == len(packet) - 40
    source, destination = IPv6Address(parsed.src), IPv6Address(parsed.dst)
    if parsed.nxt in (6, 17, 58):
        assert sum_with_pseudo_header(packet[40:], parsed.nxt, source, destination) == 0, "transport checksum"
    return parsed


def parse_icmp6(packet: bytes) -> tuple[int, int, bytes]:
    """Return type, code and body of an ICMPv6 packet of ours."""
    parsed = parse6(packet)
    assert parsed.nxt == 58
    return packet[40], packet[41], packet[44:]


def exchange(left: Stack, right: Stack, now: float) -> None:
    """Carry packets both ways until both are silent."""
    busy = True
    while busy:
        busy = False
        for sender, receiver in ((left, right), (right, left)):
            for packet in sender.packets_to_send(now, BUDGET):
                busy = True
                receiver.receive_packet(packet, now)
