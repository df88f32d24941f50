"""The Internet checksum against RFC 1071's example, the edges of ones' complement, and dpkt."""

from __future__ import annotations

from ipaddress import IPv4Address

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.checksum import checksum, ones_complement_sum, pseudo_header_sum


def test_example_of_rfc_1071_section_3() -> None:
    assert ones_complement_sum(bytes.fromhex("0001f203f4f5f6f7"), 0, 8) == 0xDDF2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xFFFF),
        (b"\0\0", 0xFFFF),
        (b"\xff\xff", 0),
        (b"\xff\xff" * 700, 0),
        (b"\x01", 0xFEFF),
        (b"\xff\xfe\0\x01", 0),
    ],
)
def test_edges(data: bytes, expected: int) -> None:
    assert checksum(data, 0, len(data)) == expected


def test_only_the_named_range_counts() -> None:
    data = b"\xaa" * 7 + bytes.fromhex("0001f203f4f5f6f7") + b"\xbb" * 5
    assert checksum(data, 7, 15) == 0xFFFF - 0xDDF2
    assert checksum(memoryview(data), 7, 15) == 0xFFFF - 0xDDF2


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 40))
def test_equals_dpkt(data: bytes, start: int) -> None:
    assert checksum(data, start, max(start, len(data))) == dpkt.in_cksum(data[start:])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 65535), st.binary(min_size=1, max_size=64))
def test_equals_dpkt_at_every_size(size: int, pattern: bytes) -> None:
    data = (pattern * (size // len(pattern) + 1))[:size]
    assert checksum(data, 0, size) == dpkt.in_cksum(data)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60), st.binary(max_size=61))
def test_a_sum_can_be_continued(first: bytes, second: bytes) -> None:
    first += b"\0" * (len(first) & 1)
    whole = first + second
    assert checksum(whole, 0, len(whole)) == checksum(second, 0, len(second), ones_complement_sum(first, 0, len(first)))


@settings(deadline=None, max_examples=100)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.binary(max_size=200))
def test_pseudo_header_makes_the_checksum_that_dpkt_computes(
    source: IPv4Address, destination: IPv4Address, payload: bytes
) -> None:
    udp = dpkt.udp.UDP(sport=1, dport=2, ulen=8 + len(payload), data=payload)
    packet = bytes(dpkt.ip.IP(src=source.packed, dst=destination.packed, p=17, data=udp))
    initial = pseudo_header_sum(source.packed, destination.packed, 17, 8 + len(payload))
    assert checksum(packet, 20, len(packet), initial) == 0
