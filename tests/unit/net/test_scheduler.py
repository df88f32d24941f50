"""Who sends next: new flows first, then everybody in turn by octets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sstpsocks.net.scheduler import QUANTUM, OutputScheduler


class Source:
    """A flow with a backlog of packets of one size."""

    def __init__(self, name: str, packets: int, size: int = 1400, *, urgent: bool = False) -> None:
        self.name = name
        self.left = packets
        self.size = size
        self.has_urgent_output = urgent
        self.built = 0
        self.notify: Callable[[], None] | None = None

    def has_output(self) -> bool:
        return self.left > 0

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        packets: list[bytes] = []
        while self.left and sum(map(len, packets)) < max_bytes:
            self.left -= 1
            self.built += 1
            packets.append(self.name.encode().ljust(self.size, b"."))
        return packets

    def handle_timer(self, now: float) -> None:
        raise AssertionError


def octets(packets: list[bytes]) -> Counter[str]:
    total: Counter[str] = Counter()
    for packet in packets:
        total[packet.split(b".")[0].decode()] += len(packet)
    return total


def scheduler_with(*sources: Source) -> OutputScheduler:
    scheduler = OutputScheduler(1400)
    for source in sources:
        scheduler.add(source)
    return scheduler


def test_nothing_is_built_before_it_is_asked_for_and_no_more_than_asked() -> None:
    source = Source("a", 1000)
    scheduler = scheduler_with(source)
    assert source.built == 0
    packets = scheduler.take(0.0, 5000)
    assert 5000 <= sum(map(len, packets)) < 5000 + 1400
    assert source.built == len(packets)


def test_what_one_flow_has_comes_in_order_and_then_the_scheduler_is_empty() -> None:
    scheduler = scheduler_with(Source("a", 30))
    assert scheduler
    assert octets(scheduler.take(0.0, 1 << 20)) == {"a": 30 * 1400}
    assert not scheduler
    assert scheduler.take(0.0, 1 << 20) == []


def test_bulk_flows_share_by_octets_whatever_their_packet_size() -> None:
    scheduler = scheduler_with(Source("a", 10_000), Source("b", 100_000, 90), Source("c", 10_000, 700))
    total: Counter[str] = Counter()
    for _ in range(200):
        total += octets(scheduler.take(0.0, 20_000))
    assert max(total.values()) - min(total.values()) <= 2 * QUANTUM


def test_shares_are_fair_with_budgets_below_a_quantum_too() -> None:
    scheduler = scheduler_with(Source("a", 10_000), Source("b", 10_000))
    total: Counter[str] = Counter()
    for _ in range(1000):
        total += octets(scheduler.take(0.0, 2000))
    assert abs(total["a"] - total["b"]) <= 2 * QUANTUM


def test_a_new_flow_passes_the_bulk() -> None:
    scheduler = scheduler_with(Source("bulk", 1000), Source("other", 1000))
    scheduler.take(0.0, 100_000)
    scheduler.add(Source("new", 1, 60))
    assert next(iter(scheduler.take(0.0, 3000))).startswith(b"new")


def test_urgent_output_of_a_flow_that_waits_its_turn_passes_the_bulk() -> None:
    acknowledging = Source("ack", 1, 40, urgent=True)
    scheduler = scheduler_with(Source("bulk", 1000), Source("other", 1000), acknowledging)
    scheduler.take(0.0, 60_000)
    acknowledging.left = 1
    scheduler.add(acknowledging)
    assert next(iter(scheduler.take(0.0, 3000))).startswith(b"ack")


def test_many_small_bursts_do_not_make_a_flow_new_each_time() -> None:
    """A flow that has drained stays in the ring until its turn, so it cannot starve the others."""
    bursty, bulk = Source("bursty", 10), Source("bulk", 100_000)
    scheduler = scheduler_with(bulk)
    scheduler.take(0.0, 1400)
    total: Counter[str] = Counter()
    for _ in range(300):
        bursty.left = 8
        scheduler.add(bursty)
        total += octets(scheduler.take(0.0, 8 * 1400))
    assert total["bulk"] > 0.4 * total.total()


def test_a_flow_that_marks_itself_again_while_it_builds_gets_no_second_turn() -> None:
    scheduler = OutputScheduler(1400)

    class Eager(Source):
        def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
            scheduler.add(self)
            return super().next_packets(now, max_bytes)

    scheduler.add(Source("bulk", 1000))
    scheduler.add(Eager("eager", 1000))
    total = octets(scheduler.take(0.0, 20 * QUANTUM))
    assert abs(total["eager"] - total["bulk"]) <= 2 * QUANTUM


def test_a_flow_that_says_it_has_output_but_builds_none_is_dropped() -> None:
    class Mute(Source):
        def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
            return []

    scheduler = scheduler_with(Mute("mute", 5))
    assert scheduler.take(0.0, 10_000) == []
    assert not scheduler


def test_clear_forgets_all() -> None:
    scheduler = scheduler_with(Source("a", 5), Source("b", 5))
    scheduler.clear()
    assert not scheduler


def test_what_is_urgent_passes_what_is_only_new() -> None:
    scheduler = scheduler_with(Source("new", 1000), Source("newer", 1000), Source("ack", 1, 40, urgent=True))
    assert next(iter(scheduler.take(0.0, 3000))).startswith(b"ack")


def test_a_new_flow_that_becomes_urgent_is_served_once() -> None:
    source = Source("a", 2, 40)
    scheduler = scheduler_with(Source("bulk", 1000), source)
    source.has_urgent_output = True
    scheduler.add(source)
    packets = scheduler.take(0.0, 3000)
    assert octets(packets)["a"] == 80
    assert packets[0].startswith(b"a.")
