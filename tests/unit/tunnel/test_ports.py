"""Being reached from inside the tunnel: listening TCP ports, and UDP ports that are connected to nobody."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import DNS_PORT, GATEWAY
from sstpsocks.errors import (
    ConnectionLost,
    ConnectionRefused,
    DeniedByRule,
    DialError,
    LocalProtocolError,
    NetworkUnreachable,
    TunnelDown,
)
from sstpsocks.tunnel.datagrams import UdpPort
from sstpsocks.tunnel.network import IPAddress
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.streams import TcpAcceptor, TcpStream
from tests.helpers.demo_site import demo_site
from tests.helpers.stack_pair import LEFT, RIGHT, StackPair, running_stack_pair


def anywhere(_address: IPAddress) -> None:
    """Every address is reached."""


def port_of(pair: StackPair, *, left: bool = True) -> UdpPort:
    return UdpPort((pair.left if left else pair.right).open_udp(), pair, anywhere)


async def test_a_listening_port_tells_where_it_is_and_takes_connections(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        acceptor = TcpAcceptor(pair.right.listen_tcp(0), pair)
        address, port = acceptor.local_address
        assert address == RIGHT
        assert port >= 1024
        stream = TcpStream(pair.left.connect_tcp(RIGHT, port, pair.now()), pair)
        pair.flush()
        accepted = await acceptor.accept()
        assert accepted.remote_address == stream.local_address
        await accepted.send_all(b"welcome")
        assert await stream.receive_some() == b"welcome"
        acceptor.close()
        await accepted.send_all(b"still here")
        assert await stream.receive_some() == b"still here"


async def test_who_was_not_accepted_is_reset_when_the_port_closes(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        acceptor = TcpAcceptor(pair.right.listen_tcp(80), pair)
        stream = TcpStream(pair.left.connect_tcp(RIGHT, 80, pair.now()), pair)
        pair.flush()
        await stream.wait_connected()
        acceptor.close()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        late = TcpStream(pair.left.connect_tcp(RIGHT, 80, pair.now()), pair)
        pair.flush()
        with pytest.raises(ConnectionRefused):
            await late.wait_connected()


async def test_a_listening_port_ends_with_its_tunnel() -> None:
    pair = StackPair()
    acceptor = TcpAcceptor(pair.right.listen_tcp(80), pair)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(TunnelDown):
                await acceptor.accept()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        pair.right.abort_all(ConnectionLost("the tunnel ended"), pair.now())
        pair.flush()
    with pytest.raises(TunnelDown):
        await acceptor.accept()


async def test_one_udp_port_talks_to_several_peers() -> None:
    pair = StackPair()
    ours, first, second = port_of(pair), port_of(pair, left=False), port_of(pair, left=False)
    for peer in (first, second):
        await ours.send_to(b"question", *peer.local_address)
        assert await peer.receive_from() == (b"question", LEFT, ours.local_address[1])
        await peer.send_to(b"answer", *ours.local_address)
        assert await ours.receive_from() == (b"answer", *peer.local_address)
    assert ours.receive_nowait() is None


async def test_icmp_errors_are_counted_and_told_to_who_wants_them() -> None:
    pair = StackPair()
    ours = port_of(pair)
    told: list[tuple[DialError, IPAddress, int]] = []
    ours.send_nowait(b"nobody there", RIGHT, 4000)
    assert ours.icmp_errors == 1
    ours.on_error = lambda error, address, port: told.append((error, address, port))
    ours.send_nowait(b"nobody there", RIGHT, 4001)
    assert ours.icmp_errors == 2
    assert [(type(error), address, port) for error, address, port in told] == [(ConnectionRefused, RIGHT, 4001)]
    # It goes on all the same: one peer's error is not another's.
    peer = port_of(pair, left=False)
    ours.send_nowait(b"hello", *peer.local_address)
    assert await peer.receive_from() == (b"hello", *ours.local_address)


async def test_a_udp_port_holds_no_more_than_its_queue() -> None:
    pair = StackPair()
    ours, peer = port_of(pair), port_of(pair, left=False)
    for _ in range(600):
        ours.send_nowait(b"x", *peer.local_address)
    assert peer.dropped == 600 - 512
    assert (await peer.receive_from())[0] == b"x"


async def test_a_udp_port_refuses_what_cannot_be_sent() -> None:
    pair = StackPair()
    ours = port_of(pair)
    for address in ("127.0.0.1", "224.0.0.1", "255.255.255.255"):
        with pytest.raises(DeniedByRule):
            ours.send_nowait(b"", IPv4Address(address), 53)
    with pytest.raises(NetworkUnreachable):
        ours.send_nowait(b"", IPv6Address("2001:db8::1"), 53)
    for port in (0, 65536):
        with pytest.raises(LocalProtocolError):
            ours.send_nowait(b"", RIGHT, port)
    with pytest.raises(LocalProtocolError):
        ours.send_nowait(bytes(65508), RIGHT, 53)


async def test_a_udp_port_ends_when_it_is_closed_and_with_its_tunnel() -> None:
    pair = StackPair()
    ours, other = port_of(pair), port_of(pair)
    notified: list[bool] = []
    other.notify = lambda: notified.append(True)

    async def wait(port: UdpPort, error: type[Exception]) -> None:
        with pytest.raises(error):
            await port.receive_from()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, ours, trio.ClosedResourceError)
        nursery.start_soon(wait, other, TunnelDown)
        await trio.testing.wait_all_tasks_blocked()
        ours.close()
        pair.left.abort_all(ConnectionLost("the tunnel ended"), pair.now())
        pair.flush()
    assert notified
    with pytest.raises(TunnelDown):
        other.send_nowait(b"", RIGHT, 53)


async def test_a_session_listens_and_sends_datagrams_and_does_not_without_a_tunnel(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with demo_site(tmp_path) as site, Session(site.settings(dhcp="never")) as session:
            acceptor = session.listen_tcp()
            assert acceptor.local_address[0] in session.local_addresses
            with pytest.raises(LocalProtocolError, match="in use"):
                session.listen_tcp(acceptor.local_address[1])
            again = acceptor.local_address[1]
            acceptor.close()
            session.listen_tcp(again)
            port = session.open_udp_port()
            query = bytes.fromhex("123401000001000000000000") + b"\x03www\x08intranet\x04demo\0\0\x01\0\x01"
            await port.send_to(query, GATEWAY, DNS_PORT)
            answer, address, source = await port.receive_from()
            assert (answer[:2], address, source) == (query[:2], GATEWAY, DNS_PORT)
            with pytest.raises(NetworkUnreachable):
                session.listen_tcp(peer=IPv6Address("2001:db8::1"))
            waiting = session.listen_tcp()
        for call in (session.listen_tcp, session.open_udp_port):
            with pytest.raises(TunnelDown):
                call()
        with pytest.raises(TunnelDown):
            await waiting.accept()
