"""Our stack against Linux TCP, in real time and through an impaired path: every octet arrives once and in order.

Nothing hangs, and nobody resets a connection that is well. What a side sends is made from a seed, so the other knows
what must arrive.
"""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost, ConnectionRefused
from sstpsocks.net.config import StackConfig
from tests.differential.kernel import KERNEL, OURS, KernelHost, Script
from tests.differential.kernel_host import payload
from tests.differential.rig import LONG, PORT, SCALE, SEEDS, Rig, digest
from tests.helpers.impairment import Path
from tests.helpers.netsim import Program

pytestmark = [pytest.mark.differential, pytest.mark.timeout(600 if LONG else 110)]

OURS_SENDS, KERNEL_SENDS = 1000, 2000
"""Seeds of what the two sides send."""

PATHS: dict[str, tuple[int, Path]] = {
    "clean": (4_000_000, Path(delay=0.001)),
    "loss-1": (1_000_000, Path(loss=0.01, delay=0.005)),
    "loss-5": (300_000, Path(loss=0.05, delay=0.005)),
    "loss-20": (20_000, Path(loss=0.2, delay=0.002)),
    "reorder-5": (1_000_000, Path(reorder=0.05, delay=0.005)),
    "reorder-30": (500_000, Path(reorder=0.3, delay=0.005, reorder_delay=0.01)),
    "duplicate-10": (2_000_000, Path(duplicate=0.1, delay=0.005)),
    "corrupt-2": (500_000, Path(corrupt=0.02, delay=0.005)),
    "jitter": (2_000_000, Path(delay=0.02, jitter=0.01)),
    "bottleneck": (2_000_000, Path(rate=2_500_000, queue=20, delay=0.01)),
    "everything": (
        300_000,
        Path(loss=0.02, reorder=0.02, duplicate=0.02, corrupt=0.01, delay=0.01, jitter=0.005, rate=2_500_000, queue=30),
    ),
}
"""By name: the octets that travel in both directions at once, and the path."""

connected_by = pytest.mark.parametrize("connector", ["us", "kernel"])


@connected_by
@pytest.mark.parametrize("name", PATHS)
def test_both_ways_at_once(rig: Rig, name: str, connector: str) -> None:
    kernel, sent, due = transfer_both_ways(rig, name, connector)
    assert rig.kernel.results[kernel].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == due


@connected_by
@pytest.mark.parametrize("name", ["clean", "loss-5", "everything"])
def test_both_ways_at_once_over_ipv6(rig: Rig, name: str, connector: str) -> None:
    kernel, sent, due = transfer_both_ways(rig, name, connector, ipv6=True)
    assert rig.kernel.results[kernel].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == due


def transfer_both_ways(rig: Rig, name: str, connector: str, *, ipv6: bool = False) -> tuple[str, bytes, bytes]:
    """Let both sides send until both have ended in order; return the kernel's result, what we sent and what is due."""
    count, path = PATHS[name]
    count *= SCALE
    rig.impair(path)
    sent = payload(OURS_SENDS, count)
    script = Script(send=count, seed=KERNEL_SENDS)
    result = rig.open(connector, lambda connection: Program(connection, sent), script, ipv6=ipv6)
    # Under heavy loss an unlucky run spends its time in timers that were backed off.
    rig.run_to_end(result, limit=100.0)
    assert rig.kernel.results[result].error is None
    rig.expect_no_reset()
    if name == "corrupt-2":
        # The network did what it was to do, and the checksums found it.
        assert rig.kernel.counters()["Tcp.InCsumErrors"] > 0
        assert rig.ours.stack.counters.tcp_in_errs > 0
    return result, sent, payload(KERNEL_SENDS, count)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", ["clean", "loss-1", "reorder-5", "bottleneck"])
def test_one_way(rig: Rig, name: str, direction: str) -> None:
    count, path = PATHS[name]
    count *= 2 * SCALE
    rig.impair(path)
    sent = payload(OURS_SENDS, count if direction == "up" else 0)
    script = Script(send=0 if direction == "up" else count, seed=KERNEL_SENDS)
    result = rig.open("us", lambda connection: Program(connection, sent), script)
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, script.send)
    rig.expect_no_reset()


@connected_by
@pytest.mark.parametrize("first", ["us", "kernel"])
def test_a_side_that_has_finished_still_gets_the_whole_answer(rig: Rig, connector: str, first: str) -> None:
    rig.impair(Path(loss=0.02, delay=0.005))
    sent = payload(OURS_SENDS, 200_000)
    script = Script(send=200_000, seed=KERNEL_SENDS, answer_after_eof=first == "us")
    result = rig.open(
        connector, lambda connection: Program(connection, sent, answer_after_eof=first == "kernel"), script
    )
    rig.run_to_end(result)
    assert rig.kernel.results[result].error is None
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, 200_000)
    rig.expect_no_reset()


@connected_by
def test_the_kernel_resets(rig: Rig, connector: str) -> None:
    rig.impair(Path(rate=5_000_000, delay=0.005))
    result = rig.open(
        connector,
        lambda connection: Program(connection, payload(OURS_SENDS, 1_000_000)),
        Script(send=1_000_000, reset_after=300_000),
    )
    rig.bridge.run(lambda: bool(rig.programs) and rig.programs[0].connection.error is not None)
    assert isinstance(rig.programs[0].connection.error, ConnectionLost)
    assert not rig.ours.stack.connections
    rig.bridge.run(lambda: result in rig.kernel.results)


@connected_by
def test_we_reset(rig: Rig, connector: str) -> None:
    rig.impair(Path(rate=5_000_000, delay=0.005))
    result = rig.open(
        connector, lambda connection: Program(connection, payload(OURS_SENDS, 1_000_000)), Script(send=1_000_000)
    )
    rig.bridge.run(lambda: bool(rig.programs) and len(rig.programs[0].received) > 300_000)
    rig.programs[0].connection.abort(0.0)
    rig.bridge.run(lambda: result in rig.kernel.results)
    # Whichever of its threads meets the reset first gets the one, the other gets the other.
    assert rig.kernel.results[result].error in ("ECONNRESET", "EPIPE")
    assert not rig.ours.stack.connections


def test_nobody_listens(rig: Rig) -> None:
    connection = rig.ours.connect(KERNEL, PORT)
    rig.kernel.connect(OURS, PORT, "kernel", Script())
    rig.bridge.run(lambda: connection.error is not None and "kernel" in rig.kernel.results, limit=1.0)
    assert isinstance(connection.error, ConnectionRefused)
    assert rig.kernel.results["kernel"].error == "ECONNREFUSED"


@connected_by
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_slow_reader_on_the_kernels_side(rig: Rig, connector: str, loss: float) -> None:
    rig.impair(Path(delay=0.002, loss=loss))
    sent = payload(OURS_SENDS, 120_000)
    script = Script(bite=6000, pause=0.1, receive_buffer=4096)
    result = rig.open(connector, lambda connection: Program(connection, sent), script)
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert rig.kernel.counters()["TcpExt.TCPToZeroWindowAdv"] > 0
    rig.expect_no_reset()


@connected_by
@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_reader_on_our_side(kernel: KernelHost, connector: str, loss: float, seed: int) -> None:
    rig = Rig(kernel, seed, StackConfig(receive_buffer_initial=20_000, receive_buffer_maximum=20_000))
    rig.impair(Path(delay=0.002, loss=loss))
    result = rig.open(
        connector,
        lambda connection: Program(connection, bite=20_000, pause=0.5),
        Script(send=120_000, seed=KERNEL_SENDS),
    )
    rig.run_to_end(result)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, 120_000)
    if not loss:
        # The window was closed for so long that the kernel probed it.
        assert rig.kernel.counters()["TcpExt.TCPWinProbe"] > 0
    rig.expect_no_reset()


@connected_by
def test_many_small_flows(rig: Rig, connector: str) -> None:
    count = 150 * SCALE
    rig.impair(Path(loss=0.02, delay=0.005, reorder=0.02))
    sent = payload(OURS_SENDS, 3000)
    script = Script(send=5000, seed=KERNEL_SENDS)
    if connector == "us":
        rig.kernel.listen(KERNEL, PORT, "kernel", script)
        rig.programs.extend(Program(rig.ours.connect(KERNEL, PORT), sent) for _ in range(count))
    else:
        rig.ours.listen(PORT, lambda connection: Program(connection, sent))
        for number in range(count):
            rig.kernel.connect(OURS, PORT, f"kernel-{number}", script)
    rig.run_to_end(*(f"kernel-{number}" for number in range(count)))
    assert {result.error for result in rig.kernel.results.values()} == {None}
    assert {result.sha256 for result in rig.kernel.results.values()} == {digest(sent)}
    offset = count if connector == "us" else 1
    expected = {payload(KERNEL_SENDS + number, 5000) for number in range(offset)}
    assert {bytes(program.received) for program in rig.programs} == expected
    rig.expect_no_reset()


@pytest.mark.parametrize("ways", ["there", "back", "both"])
def test_a_black_hole(rig: Rig, ways: str) -> None:
    """Whoever sends finds out by itself that its segments are too large: no ICMP error tells."""
    clean, hole = Path(delay=0.005), Path(delay=0.005, mtu_blackhole=1200)
    rig.impair(clean if ways == "back" else hole, clean if ways == "there" else hole)
    sent = payload(OURS_SENDS, 300_000)
    script = Script(send=300_000, seed=KERNEL_SENDS)
    result = rig.open("us", lambda connection: Program(connection, sent), script)
    rig.run_to_end(result)
    assert rig.kernel.results[result].sha256 == digest(sent)
    assert bytes(rig.programs[0].received) == payload(KERNEL_SENDS, 300_000)
    assert rig.bridge.there.dropped + rig.bridge.back.dropped > 0
    rig.expect_no_reset()
