"""The relay that delays an outer connection: what goes in comes out, when it is due and in order."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from benchmarks.rig.relay import Line, Shape

DELAY = 0.025
NOWHERE = ("127.0.0.1", 9)


class Harness:
    """A line with a socket at its end, and what it wants to be called for."""

    def __init__(self, **shape: float) -> None:
        self.sink, self.far = socket.socketpair()
        for side in (self.sink, self.far):
            side.setblocking(False)
        self.wanted: list[float] = []
        self.line = Line(Shape(target=NOWHERE, delay=DELAY, window=1000, **shape), self.wanted.append)
        self.line.sink = self.sink

    def arrived(self, now: float) -> bytes:
        """What comes out at a time; b"." where nothing does, b"" for the end."""
        self.line.flush(now)
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b"."

    def close(self) -> None:
        self.sink.close()
        self.far.close()


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.close()


def test_a_piece_arrives_after_the_delay_and_not_before(harness: Harness) -> None:
    harness.line.put(b"first", 10.0)
    assert harness.arrived(10.0249) == b"."
    assert harness.wanted == [10.0 + DELAY]
    assert harness.arrived(10.0 + DELAY) == b"first"


def test_pieces_keep_their_order_and_their_distance(harness: Harness) -> None:
    harness.line.put(b"first", 10.0)
    harness.line.put(b"second", 10.01)
    assert harness.arrived(10.0251) == b"first"
    assert harness.arrived(10.0349) == b"."
    assert harness.arrived(10.0351) == b"second"


def test_the_end_is_as_late_as_the_data(harness: Harness) -> None:
    harness.line.put(b"last", 10.0)
    harness.line.put(b"", 10.001)
    assert harness.arrived(10.0251) == b"last"
    assert harness.arrived(10.0261) == b""
    assert harness.line.ended


def test_a_reset_is_passed_on_when_it_is_due(harness: Harness) -> None:
    harness.line.put(b"last", 10.0)
    harness.line.put(None, 10.001)
    assert harness.arrived(10.0251) == b"last"
    with pytest.raises(ConnectionResetError):
        harness.line.flush(10.0261)


def test_what_was_sent_in_the_handshake_waits_for_its_end(harness: Harness) -> None:
    """The kernel completed the handshake at once: SYN and SYN-ACK would have taken two delays."""
    harness.line.not_before = 10.0 + 2 * DELAY
    harness.line.put(b"hello", 10.001)
    assert harness.arrived(10.0749) == b"."
    assert harness.arrived(10.0751) == b"hello"


def test_nothing_is_lost_before_there_is_a_connection_onwards() -> None:
    harness = Harness()
    harness.line.sink = None
    harness.line.put(b"hello", 10.0)
    assert harness.arrived(11.0) == b"."
    harness.line.sink = harness.sink
    assert harness.arrived(11.0) == b"hello"
    harness.close()


def test_the_window_counts_what_is_under_way(harness: Harness) -> None:
    harness.line.put(bytes(600), 10.0)
    before = harness.line.full
    harness.line.put(bytes(400), 10.0)
    assert (before, harness.line.full, harness.line.held) == (False, True, 1000)
    harness.arrived(10.1)
    assert harness.line.held == 0


def test_a_receiver_that_takes_no_more_is_waited_for(harness: Harness) -> None:
    data = bytes(range(256)) * 8192
    harness.line.put(data, 10.0)
    harness.line.flush(10.1)
    blocked = harness.line.blocked
    received = b""
    while len(received) < len(data):
        received += harness.arrived(10.2)
    assert received == data
    assert (blocked, harness.line.blocked) == (True, False)


def test_a_rate_spreads_the_pieces() -> None:
    harness = Harness(rate=1000.0)
    for _ in range(3):
        harness.line.put(bytes(100), 10.0)
    assert [len(harness.arrived(10.0 + DELAY + 0.1 * number + 0.001)) for number in (1, 2, 3)] == [100, 100, 100]
    harness.close()
