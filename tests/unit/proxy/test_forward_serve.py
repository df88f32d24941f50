"""Forwards in both directions: bytes, half-close, failures that stay alone, a tunnel that goes and comes back."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio

from sstpsocks.base.forward import parse_local, parse_remote
from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import ConnectionRefused
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.forward.serve import Forwards, LocalPort
from tests.helpers.fake_network import FakeNetwork, FakeTunnelStream, echo, stream_pair
from tests.helpers.fake_ports import FakeListener
from tests.helpers.proxy_port import until

PEER = IPv4Address("10.0.0.9")
UNIX: int | None = getattr(socket, "AF_UNIX", None)


@asynccontextmanager
async def forwarding(network: FakeNetwork, *, local: str = "", remote: str = "", most: int = 10) -> AsyncIterator[int]:
    """Serve a forward; yields the port of this machine where the local one listens."""
    ports: list[LocalPort] = []
    listeners: list[trio.SocketListener] = []
    if local:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ports.append(LocalPort(parse_local(local), listeners))
    forwards = Forwards(Dialer(network, Resolver(network)), max_connections=most)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwards.serve, ports, [parse_remote(remote)] if remote else [])
        yield listeners[0].socket.getsockname()[1] if listeners else 0
        nursery.cancel_scope.cancel()
    for listener in listeners:
        await listener.aclose()


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([data async for data in stream])


def call(listener: FakeListener) -> FakeTunnelStream:
    ours, theirs = stream_pair(listener.local_address, (PEER, 40000))
    listener.arrive(ours)
    return theirs


async def test_a_local_forward_passes_bytes_and_half_close(network: FakeNetwork) -> None:
    network.add("10.0.0.1", 80, echo)
    async with forwarding(network, local="8080:10.0.0.1:80", most=1) as port:
        for _ in range(3):  # the one place is given back each time
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                await client.send_all(b"hello" * 1000)
                await client.send_eof()
                assert await read_all(client) == b"hello" * 1000


async def test_a_target_that_refuses_resets_its_client_only(
    network: FakeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    network.add("10.0.0.1", 80, ConnectionRefused("10.0.0.1 refused port 80"))
    async with forwarding(network, local="8080:10.0.0.1:80") as port:
        with caplog.at_level(logging.WARNING, "sstpsocks.forward"):
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()
        assert "refused port 80" in caplog.text
        network.add("10.0.0.1", 80, echo)
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"again")
            await client.send_eof()
            assert await read_all(client) == b"again"


async def test_a_remote_forward_leads_to_a_program_here(network: FakeNetwork) -> None:
    (here,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with here, forwarding(network, remote=f"2222:127.0.0.1:{here.socket.getsockname()[1]}"):
        await until(lambda: bool(network.listeners))
        peer = call(network.listeners[0])
        async with await here.accept() as program:
            await peer.send_all(b"question")
            await peer.send_eof()
            assert await read_all(program) == b"question"
            await program.send_all(b"answer")
        assert await read_all(peer) == b"answer"


@pytest.mark.skipif(UNIX is None, reason="there are no Unix sockets here")
async def test_a_remote_forward_leads_to_a_unix_socket(network: FakeNetwork, tmp_path: Path) -> None:
    assert UNIX is not None
    sock = trio.socket.socket(UNIX)
    await sock.bind(str(tmp_path / "s"))
    sock.listen()
    async with trio.SocketListener(sock) as here, forwarding(network, remote=f"2222:{tmp_path}/s"):
        await until(lambda: bool(network.listeners))
        peer = call(network.listeners[0])
        async with await here.accept() as program:
            await program.send_all(b"answer")
        assert await read_all(peer) == b"answer"


async def test_nobody_here_resets_the_caller_only(network: FakeNetwork, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with forwarding(network, remote=f"2222:127.0.0.1:{unused.getsockname()[1]}"):
            await until(lambda: bool(network.listeners))
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError):
                    await call(network.listeners[0]).receive_some(1)
    assert "cannot connect to 127.0.0.1" in caplog.text


async def test_a_remote_forward_listens_again_after_the_tunnel_was_lost(network: FakeNetwork) -> None:
    (here,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with here, forwarding(network, remote=f"2222:127.0.0.1:{here.socket.getsockname()[1]}"):
        await until(lambda: bool(network.listeners))
        network.listeners[0].lose()
        await until(lambda: len(network.listeners) == 2)
        call(network.listeners[1])
        await (await here.accept()).aclose()
