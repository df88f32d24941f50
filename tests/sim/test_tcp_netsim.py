"""Two stacks over a bad network in virtual time: every octet arrives once and in order, and nothing hangs."""

from __future__ import annotations

import itertools
import random

import pytest

from sstpsocks.errors import ConnectionLost, ConnectTimedOut
from sstpsocks.net.config import StackConfig
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.netsim import RIGHT, Path, Program, Simulation

MEGABYTE = 1_000_000


def random_octets(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def finished(*programs: Program) -> bool:
    return all(program.connection.eof for program in programs)


def transfer_both_ways(simulation: Simulation, there: bytes, back: bytes) -> None:
    near, far = simulation.connect()
    left = Program(near, there)
    right = Program(far, back)
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right), limit=3600)
    assert bytes(right.received) == there
    assert bytes(left.received) == back
    assert near.error is None
    assert far.error is None
    simulation.run(lambda: not simulation.left.connections and not simulation.right.connections, limit=400)


GRID = list(itertools.product((0.0, 0.01, 0.1), (0.0, 0.1), (0.0, 0.05), (0.002, 0.05)))


@pytest.mark.parametrize(("loss", "reorder", "duplicate", "delay"), GRID)
def test_every_octet_arrives_once_and_in_order(loss: float, reorder: float, duplicate: float, delay: float) -> None:
    path = Path(loss=loss, reorder=reorder, duplicate=duplicate, delay=delay, jitter=delay / 4)
    simulation = Simulation(path, seed=GRID.index((loss, reorder, duplicate, delay)))
    transfer_both_ways(simulation, random_octets(600_000), random_octets(300_000, 2))


@pytest.mark.parametrize("seed", range(40))
def test_a_third_of_all_packets_lost(seed: int) -> None:
    # Time-outs double, and each side gives up a peer that says nothing for long: here nobody may give up, only arrive.
    config = StackConfig(user_timeout=100_000.0, connect_timeout=1_000.0)
    simulation = Simulation(Path(loss=0.3, duplicate=0.1, reorder=0.2), seed=seed, config=config)
    begin = simulation.now
    transfer_both_ways(simulation, random_octets(60_000), random_octets(30_000, 2))
    # With back-off and a minute of TIME-WAIT; once timers that took their own length for round trips needed an hour.
    assert simulation.now - begin < 1200


@pytest.mark.parametrize("seed", range(20))
def test_timers_do_not_measure_themselves(seed: int) -> None:
    """Where much is sent again, no round-trip time is the time since some earlier transmission."""
    config = StackConfig(user_timeout=100_000.0, connect_timeout=1_000.0)
    simulation = Simulation(Path(loss=0.3, delay=0.01), seed=seed, config=config)
    near, far = simulation.connect()
    left, right = Program(near, random_octets(60_000)), Program(far)
    simulation.programs += [left, right]
    seen: list[float] = []

    def all_acknowledged() -> bool:
        seen.append(near.rtt.srtt or 0.0)
        return near.fin_acked

    simulation.run(all_acknowledged, limit=3600)
    # A SYN,ACK that came again after a second is a measurement too: the SYN was sent once.
    assert max(seen) < 2


def test_megabytes_through_a_bottleneck_with_a_short_queue() -> None:
    path = Path(rate=2 * MEGABYTE, queue=40, delay=0.02)
    simulation = Simulation(path, seed=5)
    begin = simulation.now
    near, far = simulation.connect()
    left, right = Program(near, random_octets(10 * MEGABYTE)), Program(far)
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right))
    assert bytes(right.received) == left.to_send
    # NewReno keeps the bottleneck busy most of the time: 10 MB take 5 s at least.
    assert simulation.now - begin < 9
    assert simulation.there.dropped > 0


def test_the_window_grows_so_that_a_long_fat_path_is_filled() -> None:
    simulation = Simulation(Path(delay=0.05), seed=6)
    near, far = simulation.connect()
    left, right = Program(near, random_octets(40 * MEGABYTE)), Program(far)
    simulation.programs += [left, right]
    begin = simulation.now
    simulation.run(lambda: finished(left, right))
    assert bytes(right.received) == left.to_send
    assert far.rcv_capacity >= 4 << 20
    # 256 KiB in 100 ms would be 2.6 MB/s and 15 s.
    assert simulation.now - begin < 3


def test_a_reader_that_stalls_closes_the_window_and_loses_nothing() -> None:
    simulation = Simulation(Path(delay=0.01, loss=0.02), seed=7)
    near, far = simulation.connect()
    left = Program(near, random_octets(MEGABYTE))
    right = Program(far, bite=100_000, pause=7.0)
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right))
    assert bytes(right.received) == left.to_send
    assert far.rcv_capacity <= 512 * 1024


def test_a_window_that_stays_closed_for_an_hour_is_probed_and_opens() -> None:
    simulation = Simulation(Path(delay=0.01), seed=8)
    near, far = simulation.connect()
    left = Program(near, random_octets(MEGABYTE))
    simulation.programs.append(left)
    simulation.run_idle(3600)
    assert near.error is None
    assert near.snd_wnd == 0
    assert far.readable >= 256 * 1024 - 128
    right = Program(far)
    simulation.programs.append(right)
    simulation.run(lambda: finished(left, right), limit=120)
    assert bytes(right.received) == left.to_send


def test_window_updates_that_get_lost_do_not_hang_the_sender() -> None:
    simulation = Simulation(Path(delay=0.01), Path(delay=0.01, loss=0.4), seed=9)
    near, far = simulation.connect()
    left = Program(near, random_octets(MEGABYTE))
    right = Program(far, bite=60_000, pause=1.0)
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right))
    assert bytes(right.received) == left.to_send


def test_tiny_buffers() -> None:
    config = StackConfig(
        receive_buffer_initial=2000, receive_buffer_maximum=2000, send_buffer_initial=3000, send_buffer_maximum=3000
    )
    simulation = Simulation(Path(delay=0.005, loss=0.03, reorder=0.1), seed=10, config=config)
    transfer_both_ways(simulation, random_octets(60_000), random_octets(30_000, 2))


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_half_close_a_reply_after_the_request_has_ended(loss: float) -> None:
    simulation = Simulation(Path(loss=loss), seed=11)
    near, far = simulation.connect()
    left = Program(near, random_octets(100_000))
    right = Program(far, random_octets(200_000, 2), answer_after_eof=True)
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right))
    assert bytes(right.received) == left.to_send
    assert bytes(left.received) == right.to_send


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_simultaneous_open_and_simultaneous_close(loss: float, seed: int) -> None:
    simulation = Simulation(Path(loss=loss, delay=0.02), seed=seed)
    near, far = simulation.connect(simultaneous=True)
    assert {near.state, far.state} == {TcpState.ESTABLISHED}
    left, right = Program(near, b"one"), Program(far, b"two")
    simulation.programs += [left, right]
    simulation.run(lambda: finished(left, right))
    assert (bytes(left.received), bytes(right.received)) == (b"two", b"one")
    if not loss:
        assert {near.state, far.state} == {TcpState.TIME_WAIT}
    simulation.run(lambda: not simulation.left.connections and not simulation.right.connections)


def test_many_connections_at_once_share_a_lossy_bottleneck() -> None:
    simulation = Simulation(Path(rate=MEGABYTE, queue=50, delay=0.01, loss=0.005), seed=12)
    pairs = [simulation.connect(port) for port in range(80, 100)]
    programs = []
    for number, (near, far) in enumerate(pairs):
        programs += [Program(near, random_octets(100_000, number)), Program(far, random_octets(20_000, number + 50))]
    simulation.programs = programs
    simulation.run(lambda: finished(*programs))
    for left, right in zip(programs[::2], programs[1::2], strict=True):
        assert bytes(right.received) == left.to_send
        assert bytes(left.received) == right.to_send


def test_a_peer_that_never_answers_times_out() -> None:
    simulation = Simulation(Path(loss=1.0), seed=13)
    connection = simulation.left.connect_tcp(RIGHT, 80, simulation.now)
    begin = simulation.now
    simulation.run(lambda: connection.error is not None, limit=60)
    assert isinstance(connection.error, ConnectTimedOut)
    assert simulation.now - begin == pytest.approx(30.0)
    assert simulation.left.counters.tcp_out_segs == 5
    assert not simulation.left.connections


def test_a_peer_that_vanishes_is_given_up_after_the_user_timeout() -> None:
    simulation = Simulation(Path(), seed=14)
    near, _ = simulation.connect()
    simulation.there.path = Path(loss=1.0)
    near.send(b"is anybody there", simulation.now)
    begin = simulation.now
    simulation.run(lambda: near.error is not None, limit=600)
    assert isinstance(near.error, ConnectionLost)
    assert 300 <= simulation.now - begin < 400


def test_a_network_that_is_away_for_a_while_is_no_reason_to_end() -> None:
    simulation = Simulation(Path(), seed=15)
    near, far = simulation.connect()
    left, right = Program(near, random_octets(3 * MEGABYTE)), Program(far)
    simulation.programs += [left, right]
    simulation.run_idle(0.1)
    simulation.there.path = Path(loss=1.0)
    simulation.run_idle(60)
    simulation.there.path = Path()
    simulation.run(lambda: finished(left, right), limit=120)
    assert bytes(right.received) == left.to_send
