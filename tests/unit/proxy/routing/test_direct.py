from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from sstpsocks.errors import ConnectionRefused, DeniedByRule
from sstpsocks.proxy.relay import reset_on_close
from sstpsocks.proxy.routing import direct as direct_module
from sstpsocks.proxy.routing.direct import Direct
from sstpsocks.proxy.routing.direct_stream import DirectStream
from sstpsocks.tunnel.network import IPAddress


@pytest.fixture
def allow_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have no other network than this machine's own."""

    def allowed(_address: IPAddress) -> str:
        return ""

    def foreign(_address: IPAddress) -> bool:
        return False

    monkeypatch.setattr("sstpsocks.proxy.rules.denied_reason", allowed)
    monkeypatch.setattr(direct_module, "denied_reason", allowed)
    monkeypatch.setattr(direct_module, "is_own", foreign)


@pytest.mark.usefixtures("allow_loopback")
async def test_it_connects_and_carries_both_directions(nursery: trio.Nursery) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        async with await listener.accept() as peer:
            async for data in peer:
                await peer.send_all(data.upper())
            await peer.send_all(b"!")

    nursery.start_soon(serve)
    with trio.fail_after(10):
        port = listener.socket.getsockname()[1]
        stream = await Direct(nursery).open_tcp_stream("127.0.0.1", port)
        assert stream.remote_address[1] == port
        await stream.send_all(b"hello")
        await stream.send_eof()
        received = b""
        while data := await stream.receive_some():
            received += data
        assert received == b"HELLO!"
        assert stream.at_eof
        await stream.aclose()
    await listener.aclose()


@pytest.mark.usefixtures("allow_loopback")
async def test_a_closed_port_is_told_as_such(nursery: trio.Nursery) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefused):
            await Direct(nursery).open_tcp_stream("127.0.0.1", unused.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "169.254.1.1", "224.0.0.1"])
async def test_this_machine_and_its_links_are_not_dialled(host: str, nursery: trio.Nursery) -> None:
    with pytest.raises(DeniedByRule):
        await Direct(nursery).open_tcp_stream(host, 80)


async def test_a_name_that_points_at_this_machine_is_not_dialled(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lookup(*_arguments: object, **_more: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", lookup)
    with pytest.raises(DeniedByRule):
        await Direct(nursery).open_tcp_stream("rebound.example", 80)


async def test_an_address_of_this_machine_is_its_own_and_others_are_not() -> None:
    assert direct_module.is_own(ip_address("127.0.0.1"))
    assert not direct_module.is_own(ip_address("192.0.2.1"))


async def test_the_end_of_the_nursery_closes_what_is_open() -> None:
    left, right = await tcp_pair()
    with right:
        async with trio.open_nursery() as nursery:
            stream = DirectStream(left, nursery)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.ClosedResourceError):
            stream.send_nowait(b"x")
        with pytest.raises(ConnectionResetError):
            right.recv(1)


async def test_a_reset_is_a_failure_and_no_end(nursery: trio.Nursery) -> None:
    left, right = await tcp_pair()
    stream = DirectStream(left, nursery)
    told: list[Exception | None] = []
    stream.set_readable_callback(lambda: told.append(stream.failure))
    reset_on_close(right)
    right.close()
    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    assert told
    assert told[-1] is not None
    assert not stream.at_eof
    stream.abort()


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _address = server.accept()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


@pytest.mark.parametrize("check", [trio.testing.check_two_way_stream, trio.testing.check_half_closeable_stream])
async def test_it_passes_trios_own_checks(nursery: trio.Nursery, check: Callable[..., object]) -> None:
    async def make() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        left, right = await tcp_pair()
        return DirectStream(left, nursery), DirectStream(right, nursery)

    with trio.fail_after(10):
        await partial(check, make, None)()  # type: ignore[misc]  # both checks are async functions
