"""An IP packet in one line: who to whom, and what its headers say. What it carries is counted, never shown.

Reads with the parsers of the stack, so that a packet that the stack drops is called malformed here, with the reason.
Sequence numbers are the wire's own, as in a capture.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from ...errors import RemoteProtocolError
from ...net.icmp import IcmpMessage, IcmpType, error_kind
from ...net.icmp6 import FIRST_INFORMATIONAL, Icmp6Message, Icmp6Type
from ...net.icmp6 import error_kind as error_kind6
from ...net.ip import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Header
from ...net.ip6 import FRAGMENT, PROTOCOL_ICMP6, Ipv6Header, read_chain
from ...net.tcp.segment import Segment, parse_segment
from ...net.udp import UdpDatagram

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_ECHOES = frozenset({IcmpType.ECHO_REQUEST, IcmpType.ECHO_REPLY, Icmp6Type.ECHO_REQUEST, Icmp6Type.ECHO_REPLY})


def describe_packet(packet: bytes) -> str:
    """Return the line, for whatever octets; raises nothing."""
    try:
        if packet[:1] and packet[0] >> 4 == 6:
            return _ipv6(packet)
        return _ipv4(packet)
    except RemoteProtocolError as error:
        return f"malformed, {len(packet)} octets: {error}"


def _ipv4(packet: bytes) -> str:
    header = Ipv4Header.parse(packet, 0, len(packet))
    source, destination = str(IPv4Address(header.source)), str(IPv4Address(header.destination))
    start, end = header.header_length, header.total_length
    if header.is_fragment:
        more = "+" if header.more_fragments else ""
        detail = f"fragment id {header.identification} offset {header.fragment_offset}{more} len {end - start}"
        return f"IP {source} > {destination} protocol {header.protocol} {detail}"
    if header.protocol == PROTOCOL_ICMP:
        return f"ICMP {source} > {destination} {_icmp(IcmpMessage.parse(packet, start, end))}"
    addresses = (header.source, header.destination)
    return _transport(packet, start, end, header.protocol, addresses, (source, destination))


def _ipv6(packet: bytes) -> str:
    header = Ipv6Header.parse(packet, 0, len(packet))
    source, destination = str(IPv6Address(header.source)), str(IPv6Address(header.destination))
    end = 40 + header.payload_length
    chain = read_chain(packet, 0, end, header)
    if chain.protocol == FRAGMENT and chain.fragment is not None:
        fragment = chain.fragment
        more = "+" if fragment.more else ""
        detail = f"fragment id {fragment.identification} offset {fragment.offset}{more} len {end - chain.position}"
        return f"IP6 {source} > {destination} protocol {fragment.next_header} {detail}"
    if chain.protocol == PROTOCOL_ICMP6:
        message = Icmp6Message.parse(packet, chain.position, end, header.source, header.destination)
        return f"ICMP6 {source} > {destination} {_icmp6(message)}"
    addresses = (header.source, header.destination)
    return _transport(packet, chain.position, end, chain.protocol, addresses, (f"[{source}]", f"[{destination}]"))


def _transport(
    packet: bytes, start: int, end: int, protocol: int, addresses: tuple[bytes, bytes], names: tuple[str, str]
) -> str:
    source, destination = names
    if protocol not in (PROTOCOL_TCP, PROTOCOL_UDP):
        return f"IP {source} > {destination} protocol {protocol} len {end - start}"
    from_port, to_port = packet[start : start + 2], packet[start + 2 : start + 4]
    way = f"{source}:{int.from_bytes(from_port, 'big')} > {destination}:{int.from_bytes(to_port, 'big')}"
    if protocol == PROTOCOL_UDP:
        datagram = UdpDatagram.parse(packet, start, end, *addresses)
        return f"UDP {way} len {len(datagram.payload)}"
    segment = parse_segment(packet, start, end)
    if segment is None:
        return f"TCP {way} malformed, {end - start} octets"
    return f"TCP {way} {_tcp(segment)}"


def _tcp(segment: Segment) -> str:
    flags = ",".join(name for bit, name in enumerate(_FLAGS) if segment.flags >> bit & 1) or "none"
    words = [f"[{flags}] seq {segment.seq}"]
    if segment.flags & 0x10:
        words.append(f"ack {segment.ack}")
    words.append(f"win {segment.window} len {len(segment.payload)}")
    options = []
    if segment.mss is not None:
        options.append(f"mss {segment.mss}")
    if segment.wind_shift is not None:
        options.append(f"wscale {segment.wind_shift}")
    if segment.sack_permitted:
        options.append("sackOK")
    if segment.timestamps is not None:
        options.append(f"TS {segment.timestamps[0]} ecr {segment.timestamps[1]}")
    options += [f"sack {left}-{right}" for left, right in segment.sack]
    if options:
        words.append(f"<{', '.join(options)}>")
    return " ".join(words)


def _icmp(message: IcmpMessage) -> str:
    kind = error_kind(message)
    if kind is not None:
        return kind.value
    name = _kind(IcmpType, message.type)
    if message.type in _ECHOES:
        return f"{name} id {message.rest >> 16} seq {message.rest & 0xFFFF} len {len(message.body)}"
    return f"{name} code {message.code}"


def _icmp6(message: Icmp6Message) -> str:
    kind = error_kind6(message) if message.type < FIRST_INFORMATIONAL else None
    if kind is not None:
        return kind.value
    name = _kind(Icmp6Type, message.type)
    if message.type in _ECHOES:
        return f"{name} id {message.number >> 16} seq {message.number & 0xFFFF} len {max(len(message.body) - 4, 0)}"
    return f"{name} code {message.code}"


def _kind(names: type[IntEnum], number: int) -> str:
    return (name_of(names, number) or f"type {number}").lower().replace("_", " ")


def name_of(names: type[IntEnum], number: int) -> str | None:
    """Return what the enumeration calls the number, None for nothing."""
    try:
        return names(number).name
    except ValueError:
        return None
