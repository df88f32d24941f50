"""BIND: two replies, only the expected peer, and an end in every case."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.errors import LocalProtocolError
from sstpsocks.proxy.socks.bind import BIND_TIMEOUT
from sstpsocks.proxy.socks.conversation import BindRequested, State
from sstpsocks.proxy.socks.machine import SocksMachine
from tests.helpers.fake_network import LOCAL_ADDRESS, FakeNetwork, FakeTunnelStream, stream_pair
from tests.helpers.fake_ports import FakeListener
from tests.helpers.proxy_port import serving, until
from tests.helpers.socks_client import SocksClient

SERVER, STRANGER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.66")
BIND_SERVER = b"\x05\x02\x00\x01" + SERVER.packed + b"\x00\x15"
BIND_ANYBODY = b"\x05\x02\x00\x01" + bytes(6)
BIND_NAME = b"\x05\x02\x00\x03\x08ftp.test\x00\x15"


def reply(code: int, address: IPv4Address, port: int) -> bytes:
    return bytes((5, code, 0, 1)) + address.packed + port.to_bytes(2, "big")


async def listener_of(network: FakeNetwork) -> FakeListener:
    await until(lambda: bool(network.listeners))
    return network.listeners[0]


def call(listener: FakeListener, address: IPv4Address, port: int = 20) -> FakeTunnelStream:
    """Somebody in the tunnel connects; returns their end."""
    ours, theirs = stream_pair(listener.local_address, (address, port))
    listener.arrive(ours)
    return theirs


async def ask(client: SocksClient, request: bytes) -> bytes:
    await client.greet()
    await client.send(request)
    return await client.read(10)


def test_the_machine_answers_twice() -> None:
    machine = SocksMachine()
    machine.receive_data(b"\x05\x01\x00" + BIND_SERVER + b"early")
    assert machine.next_event() == BindRequested(SERVER, 21)
    machine.data_to_send()
    machine.reply(0, (LOCAL_ADDRESS, 40000))
    states = [machine.state]
    machine.reply(0, (SERVER, 20))
    states.append(machine.state)
    assert states == [State.AWAITING_REPLY, State.CONNECTED]
    assert machine.data_to_send() == reply(0, LOCAL_ADDRESS, 40000) + reply(0, SERVER, 20)
    assert machine.take_early_data() == b"early"
    with pytest.raises(LocalProtocolError):
        machine.reply(0)


async def test_the_expected_server_calls_back_and_is_relayed(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        first = await ask(client, BIND_SERVER)
        listener = await listener_of(network)
        assert first == reply(0, LOCAL_ADDRESS, listener.local_address[1])
        assert listener.peer == SERVER
        server = call(listener, SERVER)
        assert await client.read(10) == reply(0, SERVER, 20)
        assert listener.closed
        await server.send_all(b"a listing")
        assert await client.read(9) == b"a listing"
        await client.send(b"thanks")
        assert await server.receive_some() == b"thanks"
        await server.send_eof()
        assert await client.read_all() == b""


async def test_others_than_the_expected_server_are_reset(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        await ask(client, BIND_SERVER)
        listener = await listener_of(network)
        stranger = call(listener, STRANGER)
        with pytest.raises(trio.BrokenResourceError):
            await stranger.receive_some()
        call(listener, SERVER)
        assert await client.read(10) == reply(0, SERVER, 20)


@pytest.mark.parametrize(("request_", "caller"), [(BIND_ANYBODY, STRANGER), (BIND_NAME, SERVER)])
async def test_nobody_in_particular_or_a_name_may_be_expected(
    network: FakeNetwork, request_: bytes, caller: IPv4Address
) -> None:
    network.dns.records["ftp.test", "A"] = [str(SERVER)]
    async with serving(network) as served, await served.open() as client:
        await ask(client, request_)
        call(await listener_of(network), caller)
        assert await client.read(10) == reply(0, caller, 20)


async def test_what_is_never_dialled_is_not_waited_for_either(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        assert (await ask(client, b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x15"))[1] == 2
        assert await client.read_all() == b""
    assert network.listeners == []


async def test_the_port_closes_with_the_control_connection(network: FakeNetwork) -> None:
    async with serving(network) as served:
        async with await served.open() as client:
            await ask(client, BIND_SERVER)
            listener = await listener_of(network)
        await until(lambda: listener.closed)
        await served.until_idle()


async def test_nobody_calls(network: FakeNetwork, autojump_clock: MockClock) -> None:
    async with serving(network) as served, await served.open() as client:
        await ask(client, BIND_SERVER)
        listener = await listener_of(network)
        began = trio.current_time()
        assert (await client.read(10))[1] == 6
        assert BIND_TIMEOUT <= trio.current_time() - began < BIND_TIMEOUT + 5
        assert listener.closed


async def test_the_tunnel_is_lost_while_the_client_waits(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        await ask(client, BIND_SERVER)
        (await listener_of(network)).lose()
        assert (await client.read(10))[1] == 1
        assert await client.read_all() == b""


async def test_without_a_tunnel_the_first_answer_is_no(network: FakeNetwork) -> None:
    network.up = False
    async with serving(network) as served, await served.open() as client:
        assert (await ask(client, BIND_SERVER))[1] == 1
        assert await client.read_all() == b""


async def test_an_ipv6_server_needs_ipv6_in_the_tunnel(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        assert (await ask(client, b"\x05\x02\x00\x04" + IPv6Address("fd00::1").packed + b"\x00\x15"))[1] == 3


# SOCKS4

BIND4_SERVER = b"\x04\x02\x00\x15" + SERVER.packed + b"alice\x00"
BIND4_NAME = b"\x04\x02\x00\x15\x00\x00\x00\x01\x00ftp.test\x00"


def reply4(code: int, address: IPv4Address, port: int) -> bytes:
    return bytes((0, code)) + port.to_bytes(2, "big") + address.packed


@pytest.mark.parametrize("request_", [BIND4_SERVER, BIND4_NAME], ids=["SOCKS4", "SOCKS4a"])
async def test_a_socks4_client_is_called_back_by_the_expected_server_only(
    network: FakeNetwork, request_: bytes
) -> None:
    network.dns.records["ftp.test", "A"] = [str(SERVER)]
    async with serving(network) as served, await served.open() as client:
        await client.send(request_)
        first = await client.read(8)
        listener = await listener_of(network)
        assert first == reply4(90, LOCAL_ADDRESS, listener.local_address[1])
        stranger = call(listener, STRANGER)
        with pytest.raises(trio.BrokenResourceError):
            await stranger.receive_some()
        server = call(listener, SERVER)
        assert await client.read(8) == reply4(90, SERVER, 20)
        await server.send_all(b"a listing")
        assert await client.read(9) == b"a listing"
        assert listener.closed


async def test_a_socks4_client_is_told_that_nobody_called(network: FakeNetwork, autojump_clock: MockClock) -> None:
    async with serving(network) as served, await served.open() as client:
        await client.send(BIND4_SERVER)
        assert (await client.read(8))[1] == 90
        assert await client.read(8) == reply4(91, IPv4Address(0), 0)
