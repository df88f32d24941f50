"""The stage that impairs packets does what it says: other suites conclude from it."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.helpers.impairment import CE, Impairment, Path, ecn_codepoint, with_ecn_codepoint
from tests.helpers.ip6_packets import ip6_packet, parse6
from tests.helpers.ip_packets import ip_packet, parse

PACKETS = [bytes([number % 256]) * 1000 for number in range(2000)]


def carry_all(path: Path, seed: int = 1) -> tuple[Impairment, list[tuple[float, bytes]]]:
    """Send a packet a millisecond and return what arrives, in order of arrival."""
    impairment = Impairment(path, random.Random(seed))
    arrivals = [arrival for number, packet in enumerate(PACKETS) for arrival in impairment.carry(packet, number / 1000)]
    return impairment, sorted(arrivals, key=lambda arrival: arrival[0])


def test_a_clean_path_delays_and_nothing_else() -> None:
    _, arrivals = carry_all(Path(delay=0.02))
    assert [packet for _, packet in arrivals] == PACKETS
    assert [time for time, _ in arrivals] == pytest.approx([number / 1000 + 0.02 for number in range(2000)])


def test_the_same_seed_makes_the_same_network() -> None:
    path = Path(loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, jitter=0.01)
    assert carry_all(path, 5)[1] == carry_all(path, 5)[1]
    assert carry_all(path, 5)[1] != carry_all(path, 6)[1]


def test_loss_and_duplicates_come_as_often_as_asked() -> None:
    lossy, arrivals = carry_all(Path(loss=0.2))
    assert lossy.dropped == pytest.approx(400, rel=0.2)
    assert len(arrivals) == lossy.carried == 2000 - lossy.dropped
    _, arrivals = carry_all(Path(duplicate=0.2))
    assert len(arrivals) == pytest.approx(2400, rel=0.05)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    _, arrivals = carry_all(Path(jitter=0.05))
    assert [packet for _, packet in arrivals] == PACKETS
    held_back, arrivals = carry_all(Path(reorder=0.05))
    assert [packet for _, packet in arrivals] != PACKETS
    assert sorted(packet for _, packet in arrivals) == sorted(PACKETS)
    assert held_back.overtaken == pytest.approx(100, rel=0.5)


def test_corruption_flips_one_bit_and_spares_the_duplicate() -> None:
    impairment = Impairment(Path(corrupt=0.5, duplicate=1.0), random.Random(1))
    damaged = []
    for _ in range(500):
        (_, first), (_, second) = impairment.carry(PACKETS[7], 0.0)
        for copy in (first, second):
            difference = int.from_bytes(copy, "big") ^ int.from_bytes(PACKETS[7], "big")
            damaged.append(difference.bit_count())
    assert set(damaged) == {0, 1}
    assert sum(damaged) == impairment.corrupted == pytest.approx(500, rel=0.2)


def test_the_rate_paces_and_its_queue_overflows() -> None:
    shaped, arrivals = carry_all(Path(rate=500_000, queue=20, delay=0.0))
    gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(arrivals)]
    # Twice as much comes in as may go out.
    assert (min(gaps), max(gaps)) == pytest.approx((0.002, 0.002))
    assert shaped.dropped == pytest.approx(1000, rel=0.05)


def test_a_black_hole_swallows_what_is_too_large_and_only_that() -> None:
    impairment = Impairment(Path(mtu_blackhole=1200), random.Random(1))
    assert len(impairment.carry(bytes(1200), 0.0)) == 1
    assert impairment.carry(bytes(1201), 0.0) == []


def test_a_burst_counts_data_packets_only() -> None:
    impairment = Impairment(Path(burst=range(2, 4)), random.Random(1))
    passed = [bool(impairment.carry(bytes(size), 0.0)) for size in (40, 1400, 40, 1400, 1400, 40, 1400, 1400)]
    assert passed == [True, True, True, True, False, True, False, True]


def test_only_what_is_ecn_capable_is_marked() -> None:
    impairment = Impairment(Path(mark=1.0, delay=0.0), random.Random(1))
    for version, whole in ((4, ip_packet(bytes(30), protocol=50)), (6, ip6_packet(bytes(30), protocol=50))):
        for codepoint in range(4):
            packet = with_ecn_codepoint(whole, codepoint)
            ((_, carried),) = impairment.carry(packet, 0.0)
            assert ecn_codepoint(carried) == (CE if codepoint else 0)
            assert carried[2:10] + carried[12:] == packet[2:10] + packet[12:]
            # The judge of lengths and checksums.
            assert (parse(carried).p if version == 4 else parse6(carried).nxt) == 50
    # Of each version ECT(0) and ECT(1): what came with CE was marked elsewhere.
    assert impairment.marked == 4


def test_a_router_marks_what_finds_a_queue() -> None:
    impairment = Impairment(Path(rate=100_000, mark_above=5, delay=0.0), random.Random(1))
    packet = with_ecn_codepoint(ip_packet(bytes(980), protocol=6), 2)
    found = [ecn_codepoint(impairment.carry(packet, 0.0)[0][1]) for _ in range(10)]
    assert found == [2] * 6 + [CE] * 4
