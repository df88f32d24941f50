"""What connections carried, from the sequence numbers that they keep anyway."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.app.status.flows import SLICE, FlowWatch
from sstpsocks.app.status.snapshot import MAX_FLOWS
from sstpsocks.base.seqnum import MASK
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.tcb import TcpState

ISS, IRS = MASK - 10, MASK - 20
"""Close to the wrap."""


class Flow(SimpleNamespace):
    """A connection, as far as it is looked at."""

    rcv_nxt: int
    snd_una: int
    snd_max: int

    def __init__(self, number: int = 1, **more: object) -> None:
        values: dict[str, object] = {
            "key": number.to_bytes(12, "big"),
            "local": (IPv4Address("10.0.0.2"), 50000),
            "remote": (IPv4Address("10.0.0.5"), 443),
            "state": TcpState.ESTABLISHED,
            "established": True,
            "iss": ISS,
            "irs": IRS,
            "rcv_nxt": (IRS + 1) & MASK,
            "snd_una": (ISS + 1) & MASK,
            "snd_max": (ISS + 1) & MASK,
            "fin_received": False,
            "fin_acked": False,
            "rtt": SimpleNamespace(srtt=0.02),
            "retransmissions": 0,
            "congestion": SimpleNamespace(cwnd=14000),
            "snd_wnd": 65535,
            "rcv_adv": (IRS + 1 + 262144) & MASK,
            "readable": 0,
        }
        super().__init__(**{**values, **more})

    def receive(self, count: int) -> None:
        self.rcv_nxt = (self.rcv_nxt + count) & MASK

    def send(self, count: int) -> None:
        self.snd_una = self.snd_max = (self.snd_una + count) & MASK


def stack_of(*flows: Flow) -> Stack:
    return cast("Stack", SimpleNamespace(connections={flow.key: flow for flow in flows}))


async def test_octets_and_rates_are_differences_of_sequence_numbers_across_the_wrap() -> None:
    watch, flow = FlowWatch(), Flow()
    stack = stack_of(flow)
    await watch.look(stack, 100.0, {})
    flow.receive(5000)
    flow.send(700)
    (view,) = (await watch.look(stack, 102.0, {"10.0.0.5": "git.corp.example"})).busiest
    assert (view.octets_received, view.octets_sent) == (5000, 700)
    assert (view.receive_rate, view.send_rate) == (2500, 350)
    assert (view.peer, view.port, view.name) == ("10.0.0.5", 443, "git.corp.example")
    assert (view.state, view.age, view.round_trip) == ("ESTABLISHED", 2.0, 0.02)
    assert view.receive_window == 262144 - 5000
    (view,) = (await watch.look(stack, 103.0, {})).busiest
    assert (view.octets_received, view.receive_rate) == (5000, 0)


async def test_more_than_four_gib_are_counted_as_long_as_somebody_looks() -> None:
    watch, flow = FlowWatch(), Flow()
    stack = stack_of(flow)
    for second in range(6):
        await watch.look(stack, second, {})
        flow.receive(1 << 30)
    (view,) = (await watch.look(stack, 6.0, {})).busiest
    assert view.octets_received == 6 << 30


async def test_a_syn_and_a_fin_are_no_octets() -> None:
    flow = Flow(fin_received=True, fin_acked=True)
    flow.receive(10 + 1)
    flow.send(20 + 1)
    (view,) = (await FlowWatch().look(stack_of(flow), 1.0, {})).busiest
    assert (view.octets_received, view.octets_sent) == (10, 20)


async def test_a_connection_that_is_not_open_yet_has_carried_nothing() -> None:
    flow = Flow(established=False, state=TcpState.SYN_SENT, rcv_nxt=0, irs=0, snd_una=ISS, rcv_adv=0)
    seen = await FlowWatch().look(stack_of(flow), 1.0, {})
    assert (seen.busiest[0].octets_received, seen.busiest[0].octets_sent) == (0, 0)
    assert seen.states == (("SYN-SENT", 1),)


async def test_another_connection_between_the_same_ports_is_another_one() -> None:
    watch, flow = FlowWatch(), Flow()
    flow.receive(5000)
    (first,) = (await watch.look(stack_of(flow), 1.0, {})).busiest
    (second,) = (await watch.look(stack_of(Flow(iss=12345, snd_una=12346, snd_max=12346)), 2.0, {})).busiest
    assert (first.octets_received, second.octets_received) == (5000, 0)
    assert first.number != second.number


async def test_another_stack_begins_anew_and_none_has_nothing() -> None:
    watch, flow = FlowWatch(), Flow()
    await watch.look(stack_of(flow), 1.0, {})
    assert (await watch.look(None, 2.0, {})).total == 0
    (view,) = (await watch.look(stack_of(flow), 3.0, {})).busiest
    assert view.age == 0


async def test_the_busiest_come_first_and_then_those_that_carried_most() -> None:
    flows = [Flow(number) for number in range(4)]
    watch, stack = FlowWatch(), stack_of(*flows)
    flows[2].receive(900)
    await watch.look(stack, 1.0, {})
    flows[3].receive(10)
    views = (await watch.look(stack, 2.0, {})).busiest
    assert [view.octets_received for view in views] == [10, 900, 0, 0]


async def test_ten_thousand_are_counted_in_slices_and_fifty_are_told(autojump_clock: MockClock) -> None:
    watch, stack = FlowWatch(), stack_of(*(Flow(number) for number in range(10_000)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()
        before = turns
        seen = await watch.look(stack, 1.0, {})
        assert turns - before >= 10_000 // SLICE - 1, "others had their turn in between"
        nursery.cancel_scope.cancel()
    assert (seen.total, len(seen.busiest)) == (10_000, MAX_FLOWS)
    assert seen.states == (("ESTABLISHED", 10_000),)


async def test_a_look_that_is_given_up_loses_nothing() -> None:
    flows = [Flow(number) for number in range(3 * SLICE)]
    watch, stack = FlowWatch(), stack_of(*flows)
    flows[-1].receive(100)
    await watch.look(stack, 1.0, {})
    flows[-1].receive(100)
    with trio.CancelScope() as scope:
        scope.cancel()
        await watch.look(stack, 2.0, {})
    assert scope.cancelled_caught
    (busiest, *_) = (await watch.look(stack, 3.0, {})).busiest
    assert busiest.octets_received == 200
    assert busiest.age == pytest.approx(2.0)
