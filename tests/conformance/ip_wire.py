"""IP packets of the conformance scripts, of both versions, and what they carry beside TCP; the judge is dpkt."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import dpkt

from tests.helpers.ip6_packets import parse6, sum_with_pseudo_header
from tests.helpers.ip_packets import parse, with_pseudo_header

IPAddress = IPv4Address | IPv6Address
Fields = dict[str, str]
"""What a script writes in ``ip{...}``."""
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
_FRAGMENT = 44


def transport_checksum(octets: bytes, protocol: int, source: IPAddress, destination: IPAddress) -> int:
    """Return the checksum over octets and pseudo-header; 0 when the octets hold the right one already."""
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        return with_pseudo_header(octets, protocol, source, destination)
    assert isinstance(source, IPv6Address)
    assert isinstance(destination, IPv6Address)
    return sum_with_pseudo_header(octets, protocol, source, destination)


def addresses(fields: Fields, source: IPAddress, destination: IPAddress) -> tuple[IPAddress, IPAddress]:
    """Return source and destination with what ``ip{src, dst}`` says."""
    return ip_address(fields.get("src", str(source))), ip_address(fields.get("dst", str(destination)))


# --- Packets that the peer sends -------------------------------------------------------------------------------------


def build_ip(payload: bytes, protocol: int, source: IPAddress, destination: IPAddress, fields: Fields) -> bytes:
    """Return a packet of the addresses' version, changed as ``fields`` say."""
    source, destination = addresses(fields, source, destination)
    if isinstance(source, IPv4Address):
        packet = _build_ip4(payload, protocol, source.packed + destination.packed, fields)
    else:
        packet = _build_ip6(payload, protocol, source.packed + destination.packed, fields)
    return packet[: int(fields.get("truncate", len(packet)))] + bytes(int(fields.get("trailer", 0)))


def _build_ip4(payload: bytes, protocol: int, both: bytes, fields: Fields) -> bytes:
    options = bytes.fromhex(fields.get("options", ""))
    header_words = int(fields.get("ihl", 5 + len(options) // 4))
    flags = (0x4000 if "df" in fields else 0) | (0x2000 if "mf" in fields else 0) | int(fields.get("offset", 0)) // 8
    header = struct.pack(
        "!BBHHHBBH",
        int(fields.get("version", 4)) << 4 | header_words,
        int(fields.get("tos", 0)),
        int(fields.get("length", 20 + len(options) + len(payload))),
        int(fields.get("id", 1)),
        flags,
        int(fields.get("ttl", 64)),
        int(fields.get("proto", protocol)),
        0,
    )
    value = dpkt.in_cksum(header + both + options)
    if "checksum" in fields:
        value ^= 0x5555
    return header[:10] + struct.pack("!H", value) + both + options + payload


def _build_ip6(payload: bytes, protocol: int, both: bytes, fields: Fields) -> bytes:
    """``next N, headers HEX``: extension headers as octets; their last Next Header is the script's business."""
    payload = bytes.fromhex(fields.get("headers", "")) + payload
    header = struct.pack(
        "!IHBB",
        int(fields.get("version", 6)) << 28 | int(fields.get("tos", 0)) << 20,
        int(fields.get("length", len(payload))),
        int(fields.get("next", protocol)),
        int(fields.get("ttl", 64)),
    )
    return header + both + payload


def build_fragment(
    octets: bytes, protocol: int, offset: int, more: bool, ends: tuple[IPAddress, IPAddress], fields: Fields
) -> bytes:
    """Return a packet with a piece of a datagram that begins at ``offset``."""
    offset = int(fields.get("offset", offset))
    if isinstance(ends[0], IPv4Address):
        fields = {"offset": str(offset), **fields, **({"mf": "yes"} if more else {})}
        return build_ip(octets, protocol, *ends, fields)
    head = struct.pack("!BBHI", protocol, 0, offset & 0xFFF8 | more, int(fields.get("id", 1)))
    return build_ip(head + octets, _FRAGMENT, *ends, fields)


def build_icmp(
    kind: int, code: int, body: bytes, source: IPAddress, destination: IPAddress, *, bad_checksum: bool = False
) -> bytes:
    """Return an ICMP or ICMPv6 message; ``body`` is what follows the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + body
    if isinstance(source, IPv4Address):
        value = int(dpkt.in_cksum(message))
    else:
        value = transport_checksum(message, ICMP6, source, destination)
    if bad_checksum:
        value ^= 0x5555
    return message[:2] + struct.pack("!H", value) + message[4:]


def build_udp(
    ports: tuple[int, int], payload: bytes, source: IPAddress, destination: IPAddress, checksum: str = "good"
) -> bytes:
    """Return a UDP datagram; ``checksum`` is good, bad or none."""
    head = struct.pack("!HHH", *ports, 8 + len(payload))
    value = transport_checksum(head + b"\0\0" + payload, UDP, source, destination) or 0xFFFF
    if checksum == "bad":
        value ^= 0x5555
    elif checksum == "none":
        value = 0
    return head + struct.pack("!H", value) + payload


# --- Packets of ours -------------------------------------------------------------------------------------------------


@dataclass
class Captured:
    """A packet that the stack sent, read by dpkt: checksums and lengths are verified."""

    at: float
    """Script time in seconds."""
    packet: bytes
    protocol: int
    source: IPAddress
    destination: IPAddress
    payload: bytes
    """What follows the IP header, and the Fragment header of IPv6."""
    fields: dict[str, int]
    """The header's, by the names of ``ip{...}``."""
    remote_port: int = 0
    local_port: int = 0

    @property
    def is_fragment(self) -> bool:
        """Whether this is a piece of a datagram."""
        return bool(self.fields["offset"] or self.fields["mf"])


def read_packet(packet: bytes, at: float) -> Captured:
    """Read a packet of ours. AssertionError when it is malformed."""
    captured = _read_ip4(packet, at) if packet[0] >> 4 == 4 else _read_ip6(packet, at)
    captured.fields["size"] = len(packet)
    captured.fields["ect"] = captured.fields["tos"] & 3
    if captured.protocol == UDP and not captured.is_fragment:
        # RFC 768: "An all zero transmitted checksum value means that the transmitter generated no checksum".
        assert captured.payload[6:8] != b"\0\0", "a UDP datagram without a checksum"
    if captured.protocol in (TCP, UDP) and not captured.fields["offset"]:
        captured.local_port, captured.remote_port = struct.unpack_from("!HH", captured.payload)
    return captured


def _read_ip4(packet: bytes, at: float) -> Captured:
    ip = parse(packet)
    fields = {"ttl": ip.ttl, "tos": ip.tos, "id": ip.id, "df": int(ip.df), "mf": int(ip.mf), "ihl": ip.hl}
    fields["offset"] = ip.offset * 8
    return Captured(at, packet, ip.p, IPv4Address(ip.src), IPv4Address(ip.dst), packet[ip.hl * 4 :], fields)


def _read_ip6(packet: bytes, at: float) -> Captured:
    ip = parse6(packet)
    fields = {"ttl": ip.hlim, "tos": ip.fc, "label": ip.flow, "mf": 0, "offset": 0, "id": 0}
    protocol, payload = packet[6], packet[40:]
    if protocol == _FRAGMENT:
        protocol, _, offset, fields["id"] = struct.unpack_from("!BBHI", payload)
        fields["offset"], fields["mf"] = offset & 0xFFF8, offset & 1
        payload = payload[8:]
    return Captured(at, packet, protocol, IPv6Address(ip.src), IPv6Address(ip.dst), payload, fields)
