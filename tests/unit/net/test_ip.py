"""The IPv4 header: what is accepted, what is not, and that dpkt reads what we write and the other way round."""

from __future__ import annotations

from ipaddress import IPv4Address

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.ip import Ipv4Header, TruncatedPacket, build_packet
from tests.helpers.ip_packets import OURS, PEER, ip_packet, parse

addresses = st.binary(min_size=4, max_size=4)


@st.composite
def headers(draw: st.DrawFn) -> tuple[Ipv4Header, bytes]:
    options = draw(st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4)))
    payload = draw(st.binary(max_size=64))
    header = Ipv4Header(
        source=draw(addresses),
        destination=draw(addresses),
        protocol=draw(st.integers(0, 255)),
        total_length=20 + len(options) + len(payload),
        identification=draw(st.integers(0, 65535)),
        ttl=draw(st.integers(0, 255)),
        dont_fragment=draw(st.booleans()),
        more_fragments=draw(st.booleans()),
        fragment_offset=draw(st.integers(0, 0x1FFF)) * 8,
        traffic_class=draw(st.integers(0, 255)),
        options=options,
    )
    return header, payload


@settings(deadline=None, max_examples=150)
@given(headers(), st.binary(max_size=9), st.binary(max_size=9))
def test_parse_reads_what_to_bytes_writes(case: tuple[Ipv4Header, bytes], before: bytes, behind: bytes) -> None:
    header, payload = case
    data = before + header.to_bytes() + payload + behind
    assert Ipv4Header.parse(data, len(before), len(data)) == header


@settings(deadline=None, max_examples=100)
@given(headers())
def test_dpkt_reads_what_we_write(case: tuple[Ipv4Header, bytes]) -> None:
    header, payload = case
    packet = header.to_bytes() + payload
    theirs = dpkt.ip.IP(packet)
    assert dpkt.in_cksum(packet[: header.header_length]) == 0
    assert (theirs.v, theirs.hl * 4, theirs.len) == (4, header.header_length, header.total_length)
    assert (theirs.src, theirs.dst, theirs.p, theirs.ttl) == (
        header.source,
        header.destination,
        header.protocol,
        header.ttl,
    )
    assert (theirs.id, theirs.tos, theirs.opts) == (header.identification, header.traffic_class, header.options)
    assert (bool(theirs.df), bool(theirs.mf), theirs.offset * 8) == (
        header.dont_fragment,
        header.more_fragments,
        header.fragment_offset,
    )


def test_we_read_what_dpkt_writes() -> None:
    packet = ip_packet(b"payload!", protocol=99, identification=7, ttl=3, offset=1480, more=True, options=b"\1\1\1\0")
    header = Ipv4Header.parse(packet, 0, len(packet))
    assert header.source == PEER.packed
    assert header.destination == OURS.packed
    assert (header.protocol, header.identification, header.ttl) == (99, 7, 3)
    assert (header.fragment_offset, header.more_fragments, header.is_fragment) == (1480, True, True)
    assert (header.header_length, header.total_length, header.options) == (24, 32, b"\1\1\1\0")


@pytest.mark.parametrize("size", [0, 1, 19])
def test_less_than_a_header_is_truncated(size: int) -> None:
    with pytest.raises(TruncatedPacket):
        Ipv4Header.parse(ip_packet(b"", protocol=1)[:size], 0, size)


def test_a_packet_longer_than_what_came_is_truncated() -> None:
    packet = ip_packet(b"12345678", protocol=1)
    with pytest.raises(TruncatedPacket):
        Ipv4Header.parse(packet, 0, len(packet) - 1)


def mangled(index: int, value: int) -> bytes:
    """A packet with one octet changed and the checksum right again."""
    packet = bytearray(ip_packet(b"12345678", protocol=1))
    packet[index] = value
    packet[10:12] = b"\0\0"
    packet[10:12] = dpkt.in_cksum(bytes(packet[:20])).to_bytes(2, "big")
    return bytes(packet)


@pytest.mark.parametrize(
    ("index", "value", "words"),
    [(0, 0x65, "version 6"), (0, 0x55, "version 5"), (0, 0x44, "header of 16"), (3, 19, "in a packet of 19")],
)
def test_impossible_headers_are_refused(index: int, value: int, words: str) -> None:
    packet = mangled(index, value)
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        Ipv4Header.parse(packet, 0, len(packet))
    assert caught.value.layer == "ip"


def test_a_wrong_checksum_is_refused() -> None:
    packet = bytearray(ip_packet(b"12345678", protocol=1))
    packet[8] ^= 1
    with pytest.raises(RemoteProtocolError, match="checksum"):
        Ipv4Header.parse(bytes(packet), 0, len(packet))


def test_a_time_to_live_of_zero_reaches_a_host() -> None:
    """RFC 1122 section 3.2.1.7: a host must not discard for a TTL less than 2."""
    packet = mangled(8, 0)
    assert Ipv4Header.parse(packet, 0, len(packet)).ttl == 0


def test_build_packet_writes_a_plain_header() -> None:
    packet = build_packet(OURS.packed, PEER.packed, 99, b"abc", identification=5, dont_fragment=True)
    parsed = parse(packet)
    assert (parsed.id, parsed.df, parsed.mf, parsed.ttl, parsed.p) == (5, 1, 0, 64, 99)
    assert (IPv4Address(parsed.src), IPv4Address(parsed.dst)) == (OURS, PEER)
    assert packet[20:] == b"abc"


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80))
def test_anything_else_is_a_protocol_error(data: bytes) -> None:
    try:
        header = Ipv4Header.parse(data, 0, len(data))
    except RemoteProtocolError:
        return
    assert header.total_length <= len(data)
