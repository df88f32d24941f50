"""The impairment stage for packets, with datagram sockets in place of the devices."""

from __future__ import annotations

import random
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.rig.eventloop import EventLoop
from benchmarks.rig.impairment import parser
from benchmarks.rig.tunstage import Device, Direction
from tests.helpers.impairment import Impairment, Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs epoll")


class Ends:
    """Both sides of one direction of the stage."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.near, source = socket.socketpair(type=socket.SOCK_DGRAM)
        sink, self.far = socket.socketpair(type=socket.SOCK_DGRAM)
        self._sockets = (self.near, source, sink, self.far)
        for each in self._sockets:
            each.setblocking(False)
        self.loop = EventLoop()
        self.direction = Direction(
            self.loop, source.fileno(), sink.fileno(), Impairment(path, random.Random(f"{seed} there"))
        )

    def carry(self, packets: list[bytes], arriving: int) -> list[bytes]:
        """Send packets and wait until so many have arrived."""
        received: list[bytes] = []
        for packet in packets:
            self.near.send(packet)
            self.loop.turn(0.0)
            received += self.drain()
        deadline = time.monotonic() + 10
        while len(received) < arriving and time.monotonic() < deadline:
            self.loop.turn(0.1)
            received += self.drain()
        return received

    def drain(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.far.recv(100))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.loop.close()
        for each in self._sockets:
            each.close()


PACKETS = [b"packet %d" % number for number in range(500)]


@pytest.fixture
def lossy() -> Iterator[tuple[Ends, Ends]]:
    both = (Ends(Path(delay=0.0, loss=0.1)), Ends(Path(delay=0.0, loss=0.1)))
    yield both
    for ends in both:
        ends.close()


def test_packets_come_out_in_order() -> None:
    ends = Ends(Path(delay=0.005))
    # As many as the kernel holds for a reader that is not scheduled: all may become due at the same time.
    packets = PACKETS[:200]
    begin = time.monotonic()
    assert ends.carry(packets, len(packets)) == packets
    assert time.monotonic() - begin >= 0.005
    assert ends.direction.counters() == {"carried": 200, "dropped": 0, "refused": 0}
    ends.close()


def test_the_same_seed_loses_the_same_packets(lossy: tuple[Ends, Ends]) -> None:
    first, second = (ends.carry(PACKETS, 0) for ends in lossy)
    assert first == second
    assert 30 < len(PACKETS) - len(first) < 70
    assert lossy[0].direction.counters()["dropped"] == len(PACKETS) - len(first)


def test_the_command_line_names_devices_and_addresses() -> None:
    options = parser().parse_args(["tun", "gw,imp0,10.0.0.1", "far,imp1,10.0.0.2", "--loss", "0.1"])
    assert options.left == Device("gw", "imp0", "10.0.0.1")
    assert options.loss == 0.1
    options = parser().parse_args(["relay", "127.0.0.1:0", "10.0.0.2:443", "--delay", "25"])
    assert (options.listen, options.target, options.delay) == (("127.0.0.1", 0), ("10.0.0.2", 443), 25.0)
