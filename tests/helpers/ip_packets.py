"""Packets as others send them, written by dpkt so that our own code is not its own judge."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import dpkt

OURS = IPv4Address("10.9.0.2")
PEER = IPv4Address("10.9.0.1")
OTHER = IPv4Address("10.9.0.77")


def ip_packet(
    payload: bytes,
    *,
    protocol: int,
    source: IPv4Address = PEER,
    destination: IPv4Address = OURS,
    identification: int = 1,
    ttl: int = 64,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
) -> bytes:
    """Return an IPv4 packet with a correct header; ``offset`` in octets."""
    packet = dpkt.ip.IP(
        src=source.packed, dst=destination.packed, p=protocol, id=identification, ttl=ttl, opts=options, data=payload
    )
    packet.len = 20 + len(options) + len(payload)
    packet.hl = 5 + len(options) // 4
    packet._flags_offset = (0x2000 if more else 0) | offset // 8
    packet.sum = 0
    packet.sum = dpkt.in_cksum(packet.pack_hdr() + options)
    return bytes(packet.pack_hdr() + options + payload)


def with_pseudo_header(segment: bytes, protocol: int, source: IPv4Address, destination: IPv4Address) -> int:
    """Return the checksum of a segment or datagram as dpkt computes it."""
    pseudo = source.packed + destination.packed + struct.pack("!BBH", 0, protocol, len(segment))
    return int(dpkt.in_cksum(pseudo + segment))


def udp_packet(
    payload: bytes,
    source_port: int,
    destination_port: int,
    *,
    source: IPv4Address = PEER,
    destination: IPv4Address = OURS,
    checksum: int | None = None,
    ttl: int = 64,
) -> bytes:
    """Return an IPv4 packet with a UDP datagram; the checksum is right unless given."""
    length = 8 + len(payload)
    head = struct.pack("!HHH", source_port, destination_port, length)
    value = with_pseudo_header(head + b"\0\0" + payload, 17, source, destination) if checksum is None else checksum
    return ip_packet(
        head + struct.pack("!H", value) + payload, protocol=17, source=source, destination=destination, ttl=ttl
    )


def icmp_packet(
    kind: int,
    code: int,
    rest: bytes,
    body: bytes,
    *,
    source: IPv4Address = PEER,
    destination: IPv4Address = OURS,
) -> bytes:
    """Return an IPv4 packet with an ICMP message; ``rest`` is its octets 4 to 8."""
    message = struct.pack("!BBH", kind, code, 0) + rest + body
    message = message[:2] + struct.pack("!H", dpkt.in_cksum(message)) + message[4:]
    return ip_packet(message, protocol=1, source=source, destination=destination)


def tcp_packet(
    source_port: int,
    destination_port: int,
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = 0,
    window: int = 65535,
    payload: bytes = b"",
    source: IPv4Address = PEER,
    destination: IPv4Address = OURS,
) -> bytes:
    """Return an IPv4 packet with a TCP segment without options."""
    segment = struct.pack("!HHIIBBHHH", source_port, destination_port, seq, ack, 0x50, flags, window, 0, 0) + payload
    value = with_pseudo_header(segment, 6, source, destination)
    segment = segment[:16] + struct.pack("!H", value) + segment[18:]
    return ip_packet(segment, protocol=6, source=source, destination=destination)


def parse(packet: bytes) -> dpkt.ip.IP:
    """Read a packet of ours with dpkt and check the sums that dpkt does not."""
    parsed = dpkt.ip.IP(packet)
    assert parsed.v == 4
    assert parsed.len == len(packet)
    header = parsed.hl * 4
    assert dpkt.in_cksum(packet[:header]) == 0, "header checksum"
    if not parsed.offset and not parsed.mf:
        source, destination = IPv4Address(parsed.src), IPv4Address(parsed.dst)
        if parsed.p in (6, 17):
            assert with_pseudo_header(packet[header:], parsed.p, source, destination) == 0, "transport checksum"
        elif parsed.p == 1:
            assert dpkt.in_cksum(packet[header:]) == 0, "ICMP checksum"
    return parsed
