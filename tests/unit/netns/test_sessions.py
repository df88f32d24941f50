"""UDP of programs: one port outside for each port inside, heard from whom was spoken to, and not for ever."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.errors import ConnectionLost, ConnectionRefused, DeniedByRule, TunnelDown
from sstpsocks.net.udp import UdpEndpoint
from sstpsocks.netns import sessions as sessions_module
from sstpsocks.netns.sessions import IDLE
from sstpsocks.tunnel.datagrams import UdpPort
from tests.helpers.stack_pair import LEFT, RIGHT
from tests.unit.netns.rig import Rig, rig

NOBODY = IPv4Address("10.1.0.99")


def server(it: Rig, port: int = 53) -> UdpEndpoint:
    return it.outside.right.open_udp(local_port=port)


async def heard(endpoint: UdpEndpoint) -> tuple[bytes, int]:
    """Return what the server received, and from which port."""
    await trio.sleep(0.1)
    received = endpoint.receive_from()
    assert received is not None
    return received[0], received[1][1]


def say(it: Rig, endpoint: UdpEndpoint, payload: bytes, port: int) -> None:
    endpoint.send_to(payload, (LEFT, port))
    it.outside.flush()


async def hears(udp: UdpPort) -> bytes | None:
    """Return what the program receives within a while."""
    with trio.move_on_after(1):
        return (await udp.receive_from())[0]
    return None


async def test_datagrams_pass_both_ways(clock: MockClock) -> None:
    async with rig() as it:
        remote, udp = server(it), it.program.udp()
        await udp.send_to(b"question", RIGHT, 53)
        payload, port = await heard(remote)
        assert payload == b"question"
        say(it, remote, b"answer", port)
        assert await udp.receive_from() == (b"answer", RIGHT, 53)


@pytest.mark.parametrize("size", [0, 5000, 60_000])
async def test_of_any_size(clock: MockClock, size: int) -> None:
    async with rig() as it:
        remote, udp = server(it), it.program.udp()
        await udp.send_to(bytes(size), RIGHT, 53)
        payload, port = await heard(remote)
        say(it, remote, payload, port)
        assert await hears(udp) == bytes(size)


async def test_a_port_of_a_program_is_one_port_outside_whoever_it_sends_to(clock: MockClock) -> None:
    async with rig() as it:
        first, second = server(it, 53), server(it, 54)
        one, other = it.program.udp(), it.program.udp()
        for udp in (one, other):
            await udp.send_to(b"x", RIGHT, 53)
        ports = [(await heard(first))[1], (await heard(first))[1]]
        assert len(set(ports)) == 2
        await one.send_to(b"x", RIGHT, 54)
        assert (await heard(second))[1] == ports[0]


async def test_strangers_are_not_heard(clock: MockClock) -> None:
    async with rig() as it:
        remote, stranger, udp = server(it, 53), server(it, 54), it.program.udp()
        await udp.send_to(b"x", RIGHT, 53)
        _, port = await heard(remote)
        say(it, stranger, b"surprise", port)
        assert await hears(udp) is None
        await udp.send_to(b"x", RIGHT, 54)
        await heard(stranger)
        say(it, stranger, b"welcome", port)
        assert await hears(udp) == b"welcome"


async def test_a_session_ends_when_nothing_was_said_for_long_and_lives_while_there_is(clock: MockClock) -> None:
    async with rig() as it:
        remote, udp = server(it), it.program.udp()
        await udp.send_to(b"x", RIGHT, 53)
        _, port = await heard(remote)
        for _ in range(3):
            await trio.sleep(IDLE * 0.7)
            say(it, remote, b"still here", port)
            assert await hears(udp) == b"still here"
        await trio.sleep(IDLE + 60)
        with pytest.raises(trio.ClosedResourceError):
            it.outside.ports[0].receive_nowait()
        await udp.send_to(b"again", RIGHT, 53)
        assert (await heard(remote))[0] == b"again"
        assert len(it.outside.ports) == 2


async def test_the_one_that_was_silent_longest_makes_room(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 2)
    async with rig() as it:
        remote = server(it)
        programs = [it.program.udp() for _ in range(3)]
        ports = []
        for number in (0, 1, 0, 2):
            await programs[number].send_to(b"x", RIGHT, 53)
            ports.append((await heard(remote))[1])
        for port in ports:
            say(it, remote, b"to all", port)
        assert [await hears(udp) for udp in programs] == [b"to all", None, b"to all"]


async def test_whom_a_session_hears_is_bounded(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_PEERS", 2)
    async with rig() as it:
        servers, udp = [server(it, 53 + number) for number in range(3)], it.program.udp()
        port = 0
        for number, remote in enumerate(servers):
            await udp.send_to(b"x", RIGHT, 53 + number)
            _, port = await heard(remote)
        for remote in servers:
            say(it, remote, str(remote.local[1]).encode(), port)
        assert [await hears(udp), await hears(udp), await hears(udp)] == [b"54", b"55", None]


async def test_a_closed_port_is_told_to_the_program(clock: MockClock) -> None:
    async with rig() as it:
        udp = it.program.udp()
        told: list[tuple[str, int]] = []
        udp.on_error = lambda error, address, port: told.append((type(error).__name__, port))
        await udp.send_to(b"x", RIGHT, 9)
        await trio.sleep(1)
        assert told == [(ConnectionRefused.__name__, 9)]


@pytest.mark.parametrize("error", [DeniedByRule("x"), TunnelDown("x")])
async def test_what_cannot_be_sent_is_told_to_the_program(clock: MockClock, error: DeniedByRule | TunnelDown) -> None:
    async with rig() as it:
        it.outside.refuse = error
        udp = it.program.udp()
        told = []
        udp.on_error = lambda error, address, port: told.append(type(error).__name__)
        await udp.send_to(b"x", RIGHT, 9)
        await trio.sleep(1)
        assert told == ["HostUnreachable" if isinstance(error, DeniedByRule) else "NetworkUnreachable"]


async def test_what_takes_waiting_is_sent_later(clock: MockClock) -> None:
    async with rig() as it:
        it.outside.slow = True
        remote, udp = server(it), it.program.udp()
        await udp.send_to(b"patience", RIGHT, 53)
        assert remote.receive_from() is None
        await trio.sleep(1)
        assert (await heard(remote))[0] == b"patience"


async def test_after_the_tunnel_was_lost_another_session_begins(clock: MockClock) -> None:
    async with rig() as it:
        udp = it.program.udp()
        await udp.send_to(b"x", RIGHT, 53)
        await trio.sleep(1)
        it.outside.left.abort_all(ConnectionLost("the tunnel is lost"), it.outside.now())
        it.outside.flush()
        remote = server(it)
        await udp.send_to(b"back", RIGHT, 53)
        assert (await heard(remote))[0] == b"back"
        assert len(it.outside.ports) == 2
