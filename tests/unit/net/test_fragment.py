"""Reassembly in every order, its bounds and its refusals; and cutting what is too large."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.config import StackConfig
from sstpsocks.net.counters import NetCounters
from sstpsocks.net.fragment import Reassembler, fragment_packet, reassemble_ipv4
from sstpsocks.net.ip import Ipv4Header, build_packet
from tests.helpers.impairment import with_ecn_codepoint
from tests.helpers.ip_packets import OTHER, OURS, PEER, ip_packet, parse

PAYLOAD = bytes(range(256)) * 12


class Bench:
    """A reassembler that takes whole packets."""

    def __init__(self, **settings: float) -> None:
        self.counters = NetCounters()
        # Only the two kinds of numbers that reassembly has.
        config = StackConfig(
            reassembly_timeout=settings.get("timeout", 30.0),
            reassembly_bytes=int(settings.get("total", 1024 * 1024)),
            reassembly_bytes_per_source=int(settings.get("per_source", 256 * 1024)),
        )
        self.reassembler = Reassembler(config, self.counters)

    def receive(self, packet: bytes, now: float = 0.0) -> bytes | None:
        header = Ipv4Header.parse(packet, 0, len(packet))
        payload = packet[header.header_length : header.total_length]
        whole = reassemble_ipv4(self.reassembler, header, payload, now)
        if whole is None:
            return None
        assert not whole[0].is_fragment
        assert whole[0].total_length == whole[0].header_length + len(whole[1])
        return whole[1]


def piece(
    start: int,
    end: int,
    *,
    more: bool = True,
    identification: int = 1,
    source: IPv4Address = PEER,
    data: bytes = PAYLOAD,
) -> bytes:
    return ip_packet(
        data[start:end], protocol=17, offset=start, more=more, identification=identification, source=source
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_fragments_in_any_order_make_the_datagram(order: tuple[int, ...]) -> None:
    bench = Bench()
    pieces = [piece(0, 1000), piece(1000, 2000), piece(2000, 3072, more=False)]
    results = [bench.receive(pieces[index]) for index in order]
    assert results == [None, None, PAYLOAD]
    assert (bench.counters.ip_reasm_reqds, bench.counters.ip_reasm_oks, bench.counters.ip_reasm_fails) == (3, 1, 0)
    assert len(bench.reassembler) == 0
    assert bench.reassembler.poll_at() is None


def test_an_exact_duplicate_does_no_harm() -> None:
    bench = Bench()
    assert bench.receive(piece(0, 1000)) is None
    assert bench.receive(piece(0, 1000)) is None
    assert bench.receive(piece(1000, 3072, more=False)) == PAYLOAD


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (piece(0, 1000), piece(992, 2000)),
        (piece(992, 2000), piece(0, 1000)),
        (piece(0, 2000), piece(800, 1600)),
        (piece(800, 1600), piece(0, 2000)),
        (piece(0, 1000), piece(0, 1000, data=bytes(3072))),
        (piece(0, 1000), piece(0, 800)),
        (piece(2000, 3072, more=False), piece(3072, 3080, data=bytes(4000))),
        (piece(2000, 3072, more=False), piece(2000, 3064, more=False)),
        (piece(2000, 3000), piece(1000, 2000, more=False)),
    ],
    ids=[
        "overlap behind",
        "overlap before",
        "contained",
        "containing",
        "same place, other data",
        "same start, shorter",
        "beyond the end",
        "another end",
        "end before what came",
    ],
)
def test_overlaps_and_contradictions_drop_the_datagram(first: bytes, second: bytes) -> None:
    """RFC 5722 section 4: also the fragments not yet received, so nothing can complete it."""
    bench = Bench()
    assert bench.receive(first) is None
    assert bench.receive(second) is None
    assert bench.counters.ip_reasm_fails == 1
    for fragment in (piece(0, 1000), piece(1000, 2000), piece(2000, 3072, more=False)):
        assert bench.receive(fragment) is None
    # After the time-out the identification is good again.
    assert bench.reassembler.handle_timer(30.0) == []
    assert bench.receive(piece(0, 2000), 31.0) is None
    assert bench.receive(piece(2000, 3072, more=False), 31.0) == PAYLOAD
    assert bench.counters.ip_reasm_fails == 1


def ecn_pieces(*codepoints: int) -> list[bytes]:
    """The datagram in as many fragments, each with its ECN codepoint."""
    size = 3072 // len(codepoints) & ~7
    edges = [*(size * number for number in range(len(codepoints))), 3072]
    return [
        with_ecn_codepoint(piece(start, end, more=end < 3072), codepoint)
        for start, end, codepoint in zip(edges, edges[1:], codepoints, strict=False)
    ]


@pytest.mark.parametrize(
    ("codepoints", "whole"),
    [
        ((0, 0, 0), 0),
        ((2, 2, 2), 2),
        ((1, 1), 1),
        ((3, 3), 3),
        ((2, 3, 2), 3),
        ((3, 2), 3),
        ((1, 1, 3), 3),
        ((0, 3), None),
        ((3, 2, 0), None),
    ],
)
def test_a_mark_on_one_fragment_is_on_the_datagram(codepoints: tuple[int, ...], whole: int | None) -> None:
    """RFC 3168 section 5.3; None: dropped, since nothing marks a packet that is not ECN-capable."""
    bench = Bench()
    found = None
    for packet in ecn_pieces(*codepoints):
        header = Ipv4Header.parse(packet, 0, len(packet))
        assert found is None
        found = reassemble_ipv4(bench.reassembler, header, packet[20:], 0.0)
    assert (None if found is None else found[0].traffic_class & 3) == whole
    assert (bench.counters.ip_reasm_oks, bench.counters.ip_reasm_fails) == ((1, 0) if found else (0, 1))
    assert len(bench.reassembler) == 0


def test_datagrams_are_told_apart_by_identification_and_source() -> None:
    bench = Bench()
    assert bench.receive(piece(0, 2000, identification=1)) is None
    assert bench.receive(piece(2000, 3072, more=False, identification=2)) is None
    assert bench.receive(piece(2000, 3072, more=False, identification=1, source=OTHER)) is None
    assert bench.receive(piece(2000, 3072, more=False, identification=1)) == PAYLOAD


def test_the_time_out_counts_from_the_first_fragment_and_returns_fragment_zero() -> None:
    bench = Bench()
    first = piece(0, 1000)
    bench.receive(first, 5.0)
    bench.receive(piece(1000, 2000), 20.0)
    assert bench.reassembler.poll_at() == 35.0
    assert bench.reassembler.handle_timer(34.9) == []
    assert bench.reassembler.handle_timer(35.0) == [first]
    assert bench.counters.ip_reasm_fails == 1
    assert bench.reassembler.poll_at() is None
    assert bench.receive(piece(2000, 3072, more=False), 36.0) is None


def test_without_fragment_zero_the_time_out_is_silent() -> None:
    bench = Bench()
    bench.receive(piece(1000, 2000), 0.0)
    assert bench.reassembler.handle_timer(30.0) == []
    assert bench.counters.ip_reasm_fails == 1


@pytest.mark.parametrize(
    "packet",
    [
        ip_packet(b"1234567", protocol=17, more=True),
        ip_packet(b"", protocol=17, offset=8),
        ip_packet(b"12345678" * 2, protocol=17, offset=65528),
    ],
    ids=["length no multiple of 8", "empty", "beyond 65535"],
)
def test_impossible_fragments_are_refused(packet: bytes) -> None:
    bench = Bench()
    with pytest.raises(RemoteProtocolError):
        bench.receive(packet)
    assert len(bench.reassembler) == 0


def test_one_source_cannot_push_out_the_fragments_of_another() -> None:
    bench = Bench(per_source=8_000, total=32_000)
    assert bench.receive(piece(0, 2000, source=OTHER)) is None
    for identification in range(500):
        bench.receive(piece(0, 1000, identification=identification))
    assert len(bench.reassembler) < 10
    assert bench.counters.ip_reasm_fails > 480
    assert bench.receive(piece(2000, 3072, more=False, source=OTHER)) == PAYLOAD


def test_memory_is_bounded_over_all_sources_and_the_oldest_goes() -> None:
    bench = Bench(total=20_000)
    for number in range(300):
        bench.receive(piece(0, 1000, source=IPv4Address("10.1.0.0") + number))
    assert len(bench.reassembler) < 20
    newest = IPv4Address("10.1.0.0") + 299
    assert bench.receive(piece(1000, 3072, more=False, source=newest)) == PAYLOAD


def test_a_datagram_of_very_many_fragments_is_given_up() -> None:
    bench = Bench()
    for number in range(300):
        bench.receive(piece(number * 8, number * 8 + 8))
    assert bench.counters.ip_reasm_fails == 1


def test_clear_forgets_everything() -> None:
    bench = Bench(per_source=3_000)
    bench.receive(piece(0, 2000))
    bench.reassembler.clear()
    assert bench.reassembler.poll_at() is None
    assert bench.receive(piece(0, 2000, identification=2)) is None
    assert len(bench.reassembler) == 1


def test_a_packet_that_fits_is_not_cut() -> None:
    packet = build_packet(OURS.packed, PEER.packed, 17, bytes(1380))
    assert fragment_packet(packet, 1400) == [packet]


@settings(deadline=None, max_examples=60)
@given(st.integers(28, 1500), st.integers(0, 6000), st.randoms(use_true_random=False))
def test_what_we_cut_can_be_put_together(mtu: int, size: int, order: random.Random) -> None:
    mtu = max(mtu, size // 200 + 28)
    payload = order.randbytes(size)
    fragments = fragment_packet(build_packet(PEER.packed, OURS.packed, 99, payload, identification=9), mtu)
    assert all(len(fragment) <= mtu for fragment in fragments)
    for fragment in fragments:
        parse(fragment)
    if len(fragments) == 1:
        assert fragments[0][20:] == payload
        return
    bench = Bench()
    order.shuffle(fragments)
    results = [bench.receive(fragment) for fragment in fragments]
    assert results[:-1] == [None] * (len(fragments) - 1)
    assert results[-1] == payload
