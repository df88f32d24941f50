"""Segments on the wire, with dpkt as the judge of what we write."""

from __future__ import annotations

import dpkt
import pytest

from sstpsocks.net.tcp.builder import PacketBuilder, build_reset, packet_builder
from sstpsocks.net.tcp.segment import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    parse_segment,
    syn_options,
)
from tests.helpers.impairment import ecn_codepoint

SOURCE, DESTINATION = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def builder() -> PacketBuilder:
    return PacketBuilder(SOURCE, 4000, DESTINATION, 80)


@pytest.mark.parametrize("size", [0, 1, 2, 1359, 1360, 9000])
def test_dpkt_reads_what_we_write(size: int) -> None:
    payload = bytes(number * 7 & 0xFF for number in range(size))
    packet = builder().build(0xFFFFFFFF, 0x80000001, ACK | PSH, 0xFFFF, payload)
    ip = dpkt.ip.IP(packet)
    assert ip.len == len(packet) == 40 + size
    assert (ip.src, ip.dst, ip.ttl, ip.id, ip.df, ip.p) == (SOURCE, DESTINATION, 64, 0, 1, 6)
    tcp = ip.data
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.flags, tcp.win) == (
        4000, 80, 0xFFFFFFFF, 0x80000001, ACK | PSH, 0xFFFF,
    )  # fmt: skip
    assert bytes(tcp.data) == payload
    # dpkt computes the checksums of a packet that has none.
    checksums = (ip.sum, tcp.sum)
    ip.sum = tcp.sum = 0
    rebuilt = dpkt.ip.IP(bytes(ip))
    assert (rebuilt.sum, rebuilt.data.sum) == checksums


def test_the_template_follows_the_size() -> None:
    one = builder()
    for size in (10, 20, 10, 0, 20):
        assert dpkt.ip.IP(one.build(1, 2, ACK, 3, bytes(size))).len == 40 + size


@pytest.mark.parametrize("ends", [(SOURCE, DESTINATION), (bytes(15) + b"\1", bytes(15) + b"\2")])
def test_the_template_follows_the_ecn_codepoint(ends: tuple[bytes, bytes]) -> None:
    one = packet_builder(ends[0], 4000, ends[1], 80)
    for codepoint in (2, 2, 0, 2, 0, 0):
        for packet in (
            one.build(1, 2, ACK, 3, bytes(10), ecn=codepoint),
            one.build_with_timestamps(1, 2, ACK, 3, 4, 5, ecn=codepoint),
        ):
            assert ecn_codepoint(packet) == codepoint
            if packet[0] >> 4 == 4:
                assert dpkt.in_cksum(packet[:20]) == 0


def test_options_of_a_syn_are_read_back() -> None:
    packet = builder().build(7, 0, SYN, 1000, options=syn_options(1360, 7))
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert (segment.seq, segment.flags, segment.window) == (7, SYN, 1000)
    assert (segment.mss, segment.wind_shift, segment.sack_permitted, segment.timestamps) == (1360, 7, False, None)
    assert segment.length == 1


def test_all_options_in_any_order() -> None:
    options = bytes((4, 2, 8, 10, 0, 0, 1, 0, 0, 0, 2, 0, 3, 3, 20, 2, 4, 5, 0xB4, 99, 3, 1, 1, 0))
    packet = builder().build(7, 0, SYN, 1000, options=options)
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert segment.mss == 1460
    assert segment.wind_shift == 14
    assert segment.sack_permitted
    assert segment.timestamps == (256, 512)


@pytest.mark.parametrize(
    "options", [b"\x02\x00\x00\x00", b"\x02\x05\x05\xb4", b"\x02\x01\x05\xb4", b"\x01\x01\x01\x02", b"\x00\x02\x04\x05"]
)
def test_broken_options_are_ignored(options: bytes) -> None:
    packet = builder().build(7, 0, SYN, 1000, options=options)
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert segment.mss is None


def test_segment_length_counts_syn_and_fin() -> None:
    packet = builder().build(7, 0, SYN | FIN, 0, b"abc")
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert segment.length == 5
    assert repr(segment) == "<Segment [SF] seq 7 ack 0 win 0 len 3>"


def test_too_short_is_none() -> None:
    packet = builder().build(7, 0, ACK, 0)
    for end in range(20, 40):
        assert parse_segment(packet, 20, end) is None


def reset_for(flags: int, seq: int, ack: int, payload: bytes = b"") -> dpkt.tcp.TCP | None:
    packet = builder().build(seq, ack, flags, 0, payload)
    reset = build_reset(packet, 20, len(packet), SOURCE, DESTINATION)
    if reset is None:
        return None
    ip = dpkt.ip.IP(reset)
    assert (ip.src, ip.dst, ip.data.sport, ip.data.dport) == (DESTINATION, SOURCE, 80, 4000)
    return ip.data


def test_reset_for_a_segment_to_nowhere() -> None:
    """RFC 9293 section 3.10.7.1."""
    answer = reset_for(SYN, 100, 0)
    assert answer is not None
    assert (answer.flags, answer.seq, answer.ack) == (RST | ACK, 0, 101)
    answer = reset_for(FIN, 0xFFFFFFFF, 0, b"abc")
    assert answer is not None
    assert (answer.flags, answer.seq, answer.ack) == (RST | ACK, 0, 3)
    answer = reset_for(ACK, 100, 500, b"abc")
    assert answer is not None
    assert (answer.flags, answer.seq, answer.ack) == (RST, 500, 0)


def test_a_reset_is_never_answered_with_a_reset() -> None:
    assert reset_for(RST, 100, 0) is None
    assert reset_for(RST | ACK, 100, 5) is None
    assert build_reset(b"short", 0, 5, SOURCE, DESTINATION) is None
