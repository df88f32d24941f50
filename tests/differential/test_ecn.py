"""ECN against Linux TCP: routers mark packets as having met congestion, and nothing needs to be sent again.

RFC 3168 from both sides: what one marks ECT(0) and the network marks CE, the other echoes; the sender reacts, which CWR
shows, and every octet arrives. The kernel's own counters are the witnesses for its side.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from sstpsocks.net.config import StackConfig
from sstpsocks.net.tcp.segment import CWR, ECE, SYN
from tests.differential.bridge import End, StackEnd
from tests.differential.conftest import unavailable
from tests.differential.kernel import KernelHost, Script, namespace_command
from tests.differential.kernel_host import payload
from tests.differential.rig import LONG, SCALE, SEEDS, Rig, digest
from tests.helpers.impairment import Path
from tests.helpers.netsim import Program

pytestmark = [pytest.mark.differential, pytest.mark.timeout(600 if LONG else 110)]

OURS_SENDS, KERNEL_SENDS = 1000, 2000
MARKED = Path(delay=0.005, mark=0.01)
"""One packet in a hundred meets congestion, nothing is lost."""
ROUTER = Path(rate=2_500_000, queue=400, mark_above=20, delay=0.01)
"""A bottleneck that marks long before its queue is full."""

connected_by = pytest.mark.parametrize("connector", ["us", "kernel"])
over = pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])


class Flags:
    """Counts segments with ECN's flags by who sends them, SYNs apart: those negotiate."""

    def __init__(self, rig: Rig) -> None:
        self.of_us = {ECE: 0, CWR: 0}
        self.of_kernel = {ECE: 0, CWR: 0}
        rig.bridge.watch = self._watch

    def _watch(self, packet: bytes, receiver: End, now: float) -> None:
        header = 20 if packet[0] >> 4 == 4 else 40
        (bits,) = struct.unpack_from("!H", packet, header + 12)
        counts = self.of_kernel if isinstance(receiver, StackEnd) else self.of_us
        for flag in (ECE, CWR):
            counts[flag] += bool(bits & flag) and not bits & SYN


@pytest.fixture
def kernel() -> Iterator[KernelHost]:
    """A kernel that asks for ECN."""
    command, reason = namespace_command()
    if not command:
        unavailable(reason)
    host = KernelHost(ecn=True)
    yield host
    host.close()


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def rig(kernel: KernelHost, request: pytest.FixtureRequest) -> Rig:
    """Both sides ask for ECN."""
    return Rig(kernel, request.param, StackConfig(ecn="active"))


@over
@connected_by
def test_we_send_and_marks_take_the_place_of_losses(rig: Rig, connector: str, ipv6: bool) -> None:
    rig.impair(MARKED, Path(delay=0.005))
    sent = payload(OURS_SENDS, 3_000_000 * SCALE)
    flags = Flags(rig)
    result = rig.open(connector, lambda connection: Program(connection, sent), Script(), ipv6=ipv6)
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    ours = rig.ours.stack.counters
    assert ours.tcp_ecn_opens == 1
    assert rig.bridge.there.marked > 0, "the network did nothing"
    if not ipv6:
        assert rig.kernel.counters()["IpExt.InCEPkts"] == rig.bridge.there.marked
    # The kernel echoed the marks, and we reduced the window for them and said so.
    assert flags.of_kernel[ECE] > 0
    assert ours.tcp_in_ece_segs == flags.of_kernel[ECE]
    assert 0 < ours.tcp_ecn_reductions <= rig.bridge.there.marked
    # The last one may have come when there was no new data left to say so.
    assert 0 <= ours.tcp_ecn_reductions - flags.of_us[CWR] <= 1
    assert ours.tcp_retrans_segs == 0
    rig.expect_no_reset()


@over
@connected_by
def test_the_kernel_sends_and_we_echo(rig: Rig, connector: str, ipv6: bool) -> None:
    rig.impair(Path(delay=0.005), MARKED)
    flags = Flags(rig)
    script = Script(send=3_000_000 * SCALE, seed=KERNEL_SENDS)
    result = rig.open(connector, Program, script, ipv6=ipv6)
    rig.run_to_end(result)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, 3_000_000 * SCALE)
    ours = rig.ours.stack.counters
    assert rig.bridge.back.marked > 0, "the network did nothing"
    assert ours.tcp_in_ce_segs == rig.bridge.back.marked
    # We echoed, the kernel heard it, reduced its window and said so.
    assert flags.of_us[ECE] > 0
    counters = rig.kernel.counters()
    assert counters["TcpExt.TCPDeliveredCE"] > 0
    assert flags.of_kernel[CWR] > 0
    assert counters["Tcp.RetransSegs"] == 0
    rig.expect_no_reset()


@connected_by
def test_both_ways_through_marks_and_losses(rig: Rig, connector: str) -> None:
    rig.impair(Path(mark=0.02, loss=0.01, reorder=0.01, duplicate=0.01, delay=0.005))
    count = 500_000 * SCALE
    sent = payload(OURS_SENDS, count)
    flags = Flags(rig)
    script = Script(send=count, seed=KERNEL_SENDS)
    result = rig.open(connector, lambda connection: Program(connection, sent), script)
    rig.run_to_end(result, limit=100.0)
    assert rig.kernel.results[result].error is None
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, count)
    for seen in (flags.of_us, flags.of_kernel):
        assert seen[ECE] > 0
        assert seen[CWR] > 0
    rig.expect_no_reset()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_router_that_marks_in_time_drops_nothing(rig: Rig, direction: str) -> None:
    rig.impair(ROUTER)
    count = 4_000_000 * SCALE
    sent = payload(OURS_SENDS, count if direction == "up" else 0)
    script = Script(send=0 if direction == "up" else count, seed=KERNEL_SENDS)
    result = rig.open("us", lambda connection: Program(connection, sent), script)
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, script.send)
    assert rig.bridge.there.marked + rig.bridge.back.marked > 0
    assert rig.bridge.there.dropped + rig.bridge.back.dropped == 0
    assert rig.ours.stack.counters.tcp_retrans_segs == 0
    assert rig.kernel.counters()["Tcp.RetransSegs"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_passive_agrees_with_a_kernel_that_asks(kernel: KernelHost, seed: int) -> None:
    """What we do without being told."""
    rig = Rig(kernel, seed)
    rig.impair(Path(mark=0.05, delay=0.005))
    sent = payload(OURS_SENDS, 500_000)
    result = rig.open("kernel", lambda connection: Program(connection, sent), Script())
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert rig.ours.stack.counters.tcp_ecn_opens == 1
    assert rig.ours.stack.counters.tcp_ecn_reductions > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_without_being_told_we_do_not_ask(kernel: KernelHost, seed: int) -> None:
    rig = Rig(kernel, seed)
    rig.impair(Path(mark=0.05, delay=0.005))
    sent = payload(OURS_SENDS, 500_000)
    result = rig.open("us", lambda connection: Program(connection, sent), Script())
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert rig.ours.stack.counters.tcp_ecn_opens == 0
    assert rig.bridge.there.marked + rig.bridge.back.marked == 0
