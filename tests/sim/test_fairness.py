"""Downloads that share the tunnel's queue: each gets its share, also those whose handshake met the others' queue."""

from __future__ import annotations

from sstpsocks.net.outer import OuterPath

from ..helpers.impairment import Path
from ..helpers.netsim import Program, Simulation

MEGABYTE = 1 << 20
RATE = 4 * MEGABYTE
DOWNLOADS = 4


def downloads(delay: float, *, pause: float) -> list[Program]:
    """Begin them one after the other through one bottleneck, and return what each has after 8 seconds together.

    A download is alone for ``pause`` seconds: long enough to fill the queue, which the next handshake meets.
    """
    simulation = Simulation(Path(delay=delay), Path(delay=delay, rate=RATE, queue=50_000), seed=11)
    simulation.left.outer = OuterPath()
    readers: list[Program] = []
    for port in range(80, 80 + DOWNLOADS):
        near, far = simulation.connect(port)
        readers.append(Program(near))
        simulation.programs += [readers[-1], Program(far, bytes(40 * MEGABYTE), shutdown=False)]
        simulation.run_idle(pause)
    simulation.run_idle(2.0)
    for reader in readers:
        reader.received.clear()
    simulation.run_idle(6.0)
    return readers


def test_a_download_that_begins_in_the_queue_of_others_takes_no_more_than_its_share() -> None:
    readers = downloads(0.001, pause=0.5)
    received = sorted(len(reader.received) for reader in readers)
    assert sum(received) > 5.5 * RATE
    assert received[0] > 0.9 * received[-1]
    # What stands in the queue is what the paths need, not what the queue would hold.
    assert all(reader.connection.rcv_capacity < MEGABYTE // 2 for reader in readers)


def test_downloads_of_a_long_path_fill_it_together() -> None:
    readers = downloads(0.04, pause=0.5)
    received = sorted(len(reader.received) for reader in readers)
    assert sum(received) > 5.5 * RATE
    assert received[-1] < 5 * received[0]


def test_a_download_alone_is_not_held_back() -> None:
    simulation = Simulation(Path(delay=0.05), seed=12)
    simulation.left.outer = OuterPath()
    near, far = simulation.connect()
    reader, writer = Program(near), Program(far, bytes(40 * MEGABYTE))
    simulation.programs += [reader, writer]
    begin = simulation.now
    simulation.run(lambda: near.eof)
    assert len(reader.received) == 40 * MEGABYTE
    # 256 KiB in 100 ms would be 2.6 MB/s and 15 s.
    assert simulation.now - begin < 3
