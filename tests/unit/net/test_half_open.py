"""The bound on connections that nobody has answered yet."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import TooManyConnections
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from tests.helpers.ip_packets import OURS, PEER
from tests.unit.net.test_stack_tcp import exchange, make_stack

NOBODY = IPv4Address("10.9.9.9")


def bounded(most: int) -> Stack:
    return Stack(OURS, mtu=1400, entropy=SeededEntropy(3), config=StackConfig(max_half_open=most))


def test_attempts_beyond_the_bound_are_refused_and_counted() -> None:
    stack = bounded(3)
    for port in range(1, 4):
        stack.connect_tcp(NOBODY, port, 0.0)
    assert stack.half_open == 3
    with pytest.raises(TooManyConnections, match="3 connections wait for their targets already"):
        stack.connect_tcp(NOBODY, 4, 0.0)
    assert stack.counters.refused_for_half_open == 1
    assert len(stack.connections) == 3


def test_an_attempt_that_ended_makes_room_at_once() -> None:
    stack = bounded(2)
    first = stack.connect_tcp(NOBODY, 1, 0.0)
    stack.connect_tcp(NOBODY, 2, 0.0)
    first.abort(0.0)
    assert stack.half_open == 1
    stack.connect_tcp(NOBODY, 3, 0.0)
    # The others time out, and leave nothing behind.
    stack.handle_timer(60.0)
    assert stack.half_open == 0
    assert stack.connections == {}
    stack.connect_tcp(NOBODY, 4, 60.0)


def test_established_connections_do_not_count() -> None:
    stack, server = bounded(2), make_stack(PEER, seed=4)
    server.listen_tcp(80)
    for _ in range(8):
        stack.connect_tcp(PEER, 80, 0.0)
        exchange(stack, server, 0.0)
    assert stack.half_open == 0
    assert len(stack.connections) == 8
    stack.connect_tcp(NOBODY, 1, 1.0)
    stack.connect_tcp(NOBODY, 2, 1.0)
    with pytest.raises(TooManyConnections):
        stack.connect_tcp(NOBODY, 3, 1.0)


def test_the_other_bounds_are_counted_each_by_itself() -> None:
    few = Stack(OURS, mtu=1400, entropy=SeededEntropy(3), config=StackConfig(max_connections=1))
    few.connect_tcp(PEER, 80, 0.0)
    with pytest.raises(TooManyConnections, match="1 connections in the tunnel already"):
        few.connect_tcp(PEER, 80, 0.0)
    small = Stack(OURS, mtu=1400, entropy=SeededEntropy(3), config=StackConfig(memory_maximum=8 << 20))
    small.memory.charge(small.memory.maximum)
    with pytest.raises(TooManyConnections, match="memory"):
        small.connect_tcp(PEER, 80, 0.0)
    with pytest.raises(TooManyConnections, match="memory"):
        small.open_udp()
    for stack, counts in ((few, (1, 0, 0)), (small, (0, 0, 2))):
        counters = stack.counters
        assert (counters.refused_for_flows, counters.refused_for_half_open, counters.refused_for_memory) == counts
