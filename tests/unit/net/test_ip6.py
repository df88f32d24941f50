"""The IPv6 header and the walk over extension headers: every rule of RFC 8200 section 4."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.ip import TruncatedPacket
from sstpsocks.net.ip6 import (
    Chain,
    FragmentHeader,
    Ipv6Header,
    ParameterProblem,
    build_packet,
    fragment_packet,
    join_fragments,
    read_chain,
    skip_extensions,
)
from tests.helpers.ip6_packets import OURS, PEER, fragment6, ip6_packet, options_header, tcp6_packet, udp6

HEADERS = st.builds(
    Ipv6Header,
    source=st.binary(min_size=16, max_size=16),
    destination=st.binary(min_size=16, max_size=16),
    next_header=st.integers(0, 255),
    payload_length=st.integers(0, 60),
    hop_limit=st.integers(0, 255),
    traffic_class=st.integers(0, 255),
    flow_label=st.integers(0, 0xFFFFF),
)
UDP = udp6(b"payload", 1, 2)


def walk(packet: bytes, *, reassembled: bool = False, before: bytes = b"") -> Chain:
    """Walk the chain of a packet that may lie anywhere in the data."""
    data = before + packet
    start = len(before)
    header = Ipv6Header.parse(data, start, len(data))
    return read_chain(data, start, len(data), header, reassembled=reassembled)


def problem(packet: bytes) -> ParameterProblem:
    with pytest.raises(ParameterProblem) as caught:
        walk(packet, before=b"other packets")
    return caught.value


def dropped(packet: bytes) -> None:
    """The packet is refused, and nobody is told."""
    with pytest.raises(RemoteProtocolError) as caught:
        walk(packet)
    assert not isinstance(caught.value, ParameterProblem)


# The fixed header


@settings(deadline=None)
@given(HEADERS)
def test_parsing_undoes_writing_and_dpkt_agrees(header: Ipv6Header) -> None:
    packet = header.to_bytes() + bytes(header.payload_length)
    assert Ipv6Header.parse(b"x" + packet + b"tail", 1, 1 + len(packet) + 4) == header
    oracle = dpkt.ip6.IP6.__new__(dpkt.ip6.IP6)
    dpkt.Packet.unpack(oracle, packet)
    assert (oracle.v, oracle.fc, oracle.flow) == (6, header.traffic_class, header.flow_label)
    assert (oracle.plen, oracle.nxt, oracle.hlim) == (header.payload_length, header.next_header, header.hop_limit)
    assert (oracle.src, oracle.dst) == (header.source, header.destination)


def test_a_short_or_cut_packet_is_truncated_and_another_version_wrong() -> None:
    packet = build_packet(PEER.packed, OURS.packed, 17, UDP)
    for size in (0, 1, 39, len(packet) - 1):
        with pytest.raises(TruncatedPacket):
            Ipv6Header.parse(packet, 0, size)
    with pytest.raises(RemoteProtocolError, match="version 4"):
        Ipv6Header.parse(b"\x45" + packet[1:], 0, len(packet))


# Extension headers


def test_without_extension_headers_the_upper_layer_follows() -> None:
    assert walk(ip6_packet(UDP, protocol=17), before=b"abc") == Chain(17, 6, 43)


def test_all_extension_headers_in_their_order() -> None:
    """Section 4.1 recommends this order; each must be taken wherever it stands."""
    chain = (
        options_header(b"\x01\x04" + bytes(4), 60)
        + options_header(bytes(6), 43)
        + bytes((44, 2, 3, 0)) + bytes(20)  # Routing, segments left 0
        + fragment6(b"", offset=0, more=False, next_header=60)
        + options_header(b"\x01\x0c" + bytes(12), 17)
    )  # fmt: skip
    assert walk(ip6_packet(chain + UDP, protocol=0)) == Chain(17, 40 + 8 + 8 + 24 + 8, 40 + 8 + 8 + 24 + 8 + 16)


def test_hop_by_hop_anywhere_but_first_is_an_unrecognized_next_header() -> None:
    """Section 4: "The same action should be taken if a node encounters a Next Header value of zero in any header other
    than an IPv6 header."
    """
    packet = ip6_packet(options_header(bytes(6), 0) + options_header(bytes(6), 17) + UDP, protocol=60)
    found = problem(packet)
    assert (found.code, found.pointer) == (1, 40)


@pytest.mark.parametrize("protocol", [0, 60])
@pytest.mark.parametrize("kind", [0x05, 0x1E, 0x3F])
def test_unknown_options_of_action_00_are_skipped(kind: int, protocol: int) -> None:
    packet = ip6_packet(options_header(bytes((kind, 2, 9, 9, 1, 0)), 17) + UDP, protocol=protocol)
    assert walk(packet) == Chain(17, 40, 48)


@pytest.mark.parametrize("protocol", [0, 60])
def test_unknown_options_of_action_01_drop_the_packet_silently(protocol: int) -> None:
    dropped(ip6_packet(options_header(bytes((0x41, 4, 0, 0, 0, 0)), 17) + UDP, protocol=protocol))


@pytest.mark.parametrize("protocol", [0, 60])
@pytest.mark.parametrize(("kind", "even_if_multicast"), [(0x80, True), (0xBE, True), (0xC2, False), (0xFE, False)])
def test_unknown_options_of_actions_10_and_11_are_told(kind: int, even_if_multicast: bool, protocol: int) -> None:
    """The pointer is to the Option Type, here behind a Pad1."""
    found = problem(ip6_packet(options_header(bytes((0, kind, 3, 0, 0, 0)), 17) + UDP, protocol=protocol))
    assert (found.code, found.pointer, found.even_if_multicast) == (2, 43, even_if_multicast)


@pytest.mark.parametrize("options", [b"\x01\x05" + bytes(4), bytes(5) + b"\x01", b"\x01\x02\0\0\x05\x01"])
def test_an_option_beyond_its_header_is_an_erroneous_field(options: bytes) -> None:
    assert problem(ip6_packet(options_header(options, 17) + UDP, protocol=60)).code == 0


@pytest.mark.parametrize("kind", [0, 2, 4, 253])
def test_a_routing_header_is_skipped_at_its_end_and_told_before(kind: int) -> None:
    """Section 4.4, and RFC 5095 for type 0."""
    routing = bytes((17, 2, kind, 0)) + bytes(20)
    assert walk(ip6_packet(routing + UDP, protocol=43)) == Chain(17, 40, 64)
    found = problem(ip6_packet(routing[:3] + b"\1" + routing[4:] + UDP, protocol=43))
    assert (found.code, found.pointer) == (0, 42)


@pytest.mark.parametrize("protocol", [0, 43, 60, 44])
def test_an_extension_header_beyond_the_packet_is_dropped(protocol: int) -> None:
    dropped(ip6_packet(b"", protocol=protocol))
    dropped(ip6_packet(b"\x11", protocol=protocol))
    dropped(ip6_packet(b"\x11\0\0\0\0\0\0", protocol=protocol))
    if protocol != 44:
        dropped(ip6_packet(b"\x11\1" + bytes(6), protocol=protocol))


def test_the_chain_is_bounded() -> None:
    """RFC 8504 section 5.3."""
    dropped(ip6_packet(options_header(bytes(6), 60) * 100, protocol=60))


def test_unknown_protocols_are_left_to_the_caller_with_the_place_that_names_them() -> None:
    assert walk(ip6_packet(options_header(bytes(6), 50) + bytes(8), protocol=60)) == Chain(50, 40, 48)
    assert walk(ip6_packet(b"", protocol=59)) == Chain(59, 6, 40)


# Fragments


def test_a_fragment_ends_the_walk() -> None:
    packet = ip6_packet(fragment6(UDP + b"x", offset=0, more=True, identification=77, reserved=0xFF), protocol=44)
    chain = walk(packet)
    assert chain == Chain(44, 6, 48, FragmentHeader(17, 0, True, 77))


def test_an_atomic_fragment_is_a_whole_packet() -> None:
    assert walk(ip6_packet(fragment6(UDP, offset=0, more=False), protocol=44)) == Chain(17, 40, 48)


def test_a_fragment_in_a_reassembled_packet_is_not_taken_again() -> None:
    packet = ip6_packet(fragment6(UDP, offset=0, more=False), protocol=44)
    assert walk(packet, reassembled=True) == Chain(44, 6, 40)


def test_a_fragment_whose_length_is_no_multiple_of_8_is_told_about_the_payload_length() -> None:
    found = problem(ip6_packet(fragment6(bytes(17), offset=0, more=True), protocol=44))
    assert (found.code, found.pointer) == (0, 4)


def test_a_fragment_that_ends_beyond_65535_is_told_about_its_offset() -> None:
    found = problem(ip6_packet(fragment6(bytes(16), offset=65528, more=False), protocol=44))
    assert (found.code, found.pointer) == (0, 42)
    behind_options = options_header(bytes(6), 44) + fragment6(bytes(16), offset=65520, more=True)
    assert problem(ip6_packet(behind_options, protocol=60)).pointer == 50


@pytest.mark.parametrize(
    "content",
    [
        (6, bytes(16)),
        (60, options_header(bytes(6), 6) + bytes(16)),
        (60, options_header(bytes(14), 17)[:8]),
        (0, options_header(bytes(6), 6)),
    ],
)
def test_a_first_fragment_must_hold_all_headers(content: tuple[int, bytes]) -> None:
    """Section 4.5 and RFC 7112: code 3, pointer zero."""
    next_header, payload = content
    found = problem(ip6_packet(fragment6(payload, offset=0, more=True, next_header=next_header), protocol=44))
    assert (found.code, found.pointer) == (3, 0)


def test_an_empty_fragment_is_dropped() -> None:
    dropped(ip6_packet(fragment6(b"", offset=8, more=False), protocol=44))


@settings(deadline=None)
@given(st.builds(FragmentHeader, st.integers(0, 255), st.integers(0, 8191).map(lambda n: n * 8), st.booleans(),
                 st.integers(0, 0xFFFFFFFF)))  # fmt: skip
def test_parsing_a_fragment_header_undoes_writing(header: FragmentHeader) -> None:
    assert FragmentHeader.parse(b"?" + header.to_bytes(), 1) == header


@settings(deadline=None)
@given(st.binary(max_size=4000), st.integers(56, 1500), st.integers(0, 0xFFFFFFFF))
def test_cutting_and_joining(payload: bytes, mtu: int, identification: int) -> None:
    packet = build_packet(PEER.packed, OURS.packed, 17, payload)
    pieces = fragment_packet(packet, mtu, identification)
    if len(packet) <= mtu:
        assert pieces == [packet]
        return
    collected = b""
    for index, piece in enumerate(pieces):
        assert len(piece) <= mtu
        parsed = dpkt.ip6.IP6(piece)
        assert parsed.plen == len(piece) - 40
        fragment = parsed.extension_hdrs[44]
        assert (fragment.id, fragment.nxt, fragment.frag_off * 8) == (identification, 17, len(collected))
        assert bool(fragment.m_flag) == (index < len(pieces) - 1)
        collected += piece[48:]
    assert collected == payload
    assert join_fragments(pieces[0][:48], collected) == packet


def test_joining_keeps_the_headers_before_the_fragment_header_and_mends_the_next_header() -> None:
    ahead = options_header(bytes(6), 43) + bytes((44, 0, 0, 0)) + bytes(4)
    head = ip6_packet(ahead + fragment6(b"", offset=0, more=True, next_header=17), protocol=0)
    joined = join_fragments(head, UDP)
    assert joined == ip6_packet(ahead[:8] + b"\x11" + ahead[9:] + UDP, protocol=0)
    assert dpkt.ip6.IP6(joined).data.data == b"payload"


def test_skipping_finds_what_an_error_would_be_about() -> None:
    def skipped(packet: bytes) -> tuple[int, int]:
        return skip_extensions(packet, Ipv6Header.parse(packet, 0, len(packet)))

    assert skipped(tcp6_packet(1, 2)) == (6, 40)
    assert skipped(ip6_packet(options_header(bytes(6), 58) + bytes(8), protocol=60)) == (58, 48)
    assert skipped(ip6_packet(fragment6(bytes(8), offset=0, more=True, next_header=58), protocol=44)) == (58, 48)
    assert skipped(ip6_packet(fragment6(bytes(8), offset=8, more=True, next_header=58), protocol=44)) == (44, 48)
    assert skipped(ip6_packet(struct.pack("!BB", 58, 200) + bytes(6), protocol=60)) == (58, 40 + 1608)
