"""Connecting to hosts with several addresses, some of which do not work (RFC 8305)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    TooManyConnections,
    TunnelDown,
)
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.happy_eyeballs import CONNECTION_ATTEMPT_DELAY, connect_to_first
from sstpsocks.tunnel.network import IPAddress, TunnelStream
from tests.helpers.fake_network import FakeNetwork, FakeTunnelStream, echo, stream_pair

FOUR = IPv4Address("10.0.0.1")
OTHER_FOUR = IPv4Address("10.0.0.2")
SIX = IPv6Address("2001:db8::1")
OWN_SIX = IPv6Address("2001:db8:9::2")
PORT = 80


@pytest.fixture
async def dialer(network: FakeNetwork) -> Dialer:
    network.local_addresses = (*network.local_addresses, OWN_SIX)
    network.dns.records["web.test", "A"] = [str(FOUR)]
    network.dns.records["web.test", "AAAA"] = [str(SIX)]
    return Dialer(network, Resolver(network))


async def test_ipv6_goes_first_and_nothing_else_is_tried_when_it_works(
    network: FakeNetwork, dialer: Dialer, autojump_clock: MockClock
) -> None:
    network.add(str(SIX), PORT, echo)
    network.add(str(FOUR), PORT, echo)
    stream = await dialer.open_tcp_stream("web.test", PORT)
    assert stream.remote_address == (SIX, PORT)
    await trio.sleep(1)
    assert network.dialled == [(SIX, PORT)]


async def test_ipv4_is_tried_beside_an_ipv6_that_says_nothing(
    network: FakeNetwork, dialer: Dialer, autojump_clock: MockClock
) -> None:
    network.add(str(SIX), PORT, None)
    network.add(str(FOUR), PORT, echo)
    stream = await dialer.open_tcp_stream("web.test", PORT)
    assert stream.remote_address == (FOUR, PORT)
    assert trio.current_time() == pytest.approx(CONNECTION_ATTEMPT_DELAY)
    assert network.dials_cancelled == 1, "the loser is aborted"


async def test_ipv4_is_tried_at_once_when_ipv6_fails(
    network: FakeNetwork, dialer: Dialer, autojump_clock: MockClock
) -> None:
    network.add(str(SIX), PORT, NetworkUnreachable("no route"))
    network.add(str(FOUR), PORT, echo)
    stream = await dialer.open_tcp_stream("web.test", PORT)
    assert stream.remote_address == (FOUR, PORT)
    assert trio.current_time() == 0.0


async def test_a_slow_answer_still_wins_when_the_others_fail(network: FakeNetwork, autojump_clock: MockClock) -> None:
    made: list[FakeTunnelStream] = []

    async def connect(address: IPAddress) -> TunnelStream:
        if address == SIX:
            await trio.sleep(2)
            stream, _ = stream_pair((OWN_SIX, 1), (address, PORT))
            made.append(stream)
            return stream
        raise ConnectionRefused("refused")

    assert await connect_to_first([SIX, FOUR, OTHER_FOUR], connect) is made[0]
    assert trio.current_time() == pytest.approx(2.0)


async def test_of_two_answers_at_once_one_is_aborted(autojump_clock: MockClock) -> None:
    made: list[FakeTunnelStream] = []

    async def connect(address: IPAddress) -> TunnelStream:
        with trio.CancelScope(shield=True):
            await trio.sleep_until(1.0)
        stream, _ = stream_pair((OWN_SIX, 1), (address, PORT))
        made.append(stream)
        return stream

    winner = await connect_to_first([SIX, FOUR, OTHER_FOUR], connect)
    assert len(made) == 3
    assert [stream.aborted for stream in made if stream is not winner] == [True, True]
    assert winner in made
    assert not next(stream for stream in made if stream is winner).aborted


async def test_a_winner_that_nobody_waits_for_is_aborted(autojump_clock: MockClock) -> None:
    made: list[FakeTunnelStream] = []

    async def connect(address: IPAddress) -> TunnelStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        stream, _ = stream_pair((OWN_SIX, 1), (address, PORT))
        made.append(stream)
        return stream

    with trio.move_on_after(0.5) as scope:
        await connect_to_first([SIX, FOUR], connect)
    assert scope.cancelled_caught
    assert made
    assert all(stream.aborted for stream in made)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (NetworkUnreachable("v6"), ConnectionRefused("v4"), ConnectionRefused),
        (ConnectionRefused("v6"), NetworkUnreachable("v4"), ConnectionRefused),
        (ConnectTimedOut("v6"), HostUnreachable("v4"), ConnectTimedOut),
        (NetworkUnreachable("v6"), HostUnreachable("v4"), HostUnreachable),
    ],
)
async def test_of_many_failures_the_one_that_came_closest_is_told(
    network: FakeNetwork, dialer: Dialer, first: DialError, second: DialError, told: type[DialError]
) -> None:
    network.add(str(SIX), PORT, first)
    network.add(str(FOUR), PORT, second)
    with pytest.raises(told):
        await dialer.open_tcp_stream("web.test", PORT)
    assert network.dialled == [(SIX, PORT), (FOUR, PORT)]


@pytest.mark.parametrize("error", [TunnelDown("down"), TooManyConnections("full")])
async def test_without_a_tunnel_no_other_address_is_tried(
    network: FakeNetwork, dialer: Dialer, error: DialError
) -> None:
    network.add(str(SIX), PORT, error)
    with pytest.raises(type(error)):
        await dialer.open_tcp_stream("web.test", PORT)
    assert network.dialled == [(SIX, PORT)]


async def test_a_link_local_address_of_ours_is_no_ipv6(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.local_addresses = (*network.local_addresses, IPv6Address("fe80::2"))
    with pytest.raises(NetworkUnreachable):
        await Dialer(network, Resolver(network)).open_tcp_stream(SIX, PORT)
    assert network.dialled == []
