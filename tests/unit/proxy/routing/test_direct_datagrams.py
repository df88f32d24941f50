"""Datagrams past all tunnels: to whom a rule sends them, and never to this machine."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
import trio.testing

from sstpsocks.errors import DeniedByRule, LocalProtocolError, NameNotFound
from sstpsocks.proxy.routing import direct as direct_module
from sstpsocks.proxy.routing import direct_datagrams as module
from sstpsocks.proxy.routing.direct import Direct
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.router import Router
from sstpsocks.tunnel.network import IPAddress
from tests.helpers.proxy_port import until

from .test_direct import allow_loopback as allow_loopback

HOST = IPv4Address("127.0.0.1")


@pytest.fixture
def peer() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


@pytest.mark.usefixtures("allow_loopback")
async def test_datagrams_go_and_come_with_their_source(nursery: trio.Nursery, peer: socket.socket) -> None:
    with peer:
        datagrams = Direct(nursery).open_datagrams()
        told = trio.Event()
        datagrams.notify = told.set
        number = peer.getsockname()[1]
        assert datagrams.send_nowait(b"question", HOST, number) == HOST
        payload, sender = peer.recvfrom(100)
        assert payload == b"question"
        peer.sendto(b"answer", ("127.0.0.1", sender[1]))
        with trio.fail_after(5):
            await told.wait()
            assert await datagrams.receive_from() == (b"answer", HOST, number)
        assert datagrams.receive_nowait() is None
        datagrams.close()
        with pytest.raises(trio.ClosedResourceError):
            datagrams.send_nowait(b"x", HOST, number)
        with pytest.raises(trio.ClosedResourceError):
            await datagrams.receive_from()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks, "nobody reads a closed socket"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "169.254.169.254", "224.0.0.251", "255.255.255.255"])
async def test_this_machine_and_its_links_get_none(nursery: trio.Nursery, host: str) -> None:
    datagrams = Direct(nursery).open_datagrams()
    with pytest.raises(DeniedByRule):
        await datagrams.send_to(b"x", host, 53)
    assert not nursery.child_tasks, "no socket is opened for nothing"


async def test_an_own_address_gets_none_whatever_it_is(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module, "is_own", lambda address: str(address) == "192.0.2.7")
    with pytest.raises(DeniedByRule, match="this machine's own"):
        Direct(nursery).open_datagrams().send_nowait(b"x", IPv4Address("192.0.2.7"), 53)


@pytest.mark.usefixtures("allow_loopback")
async def test_a_name_is_looked_up_once_for_a_while_and_not_by_any_tunnel(
    nursery: trio.Nursery, peer: socket.socket, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    asked: list[str] = []
    direct = Direct(nursery)

    async def resolve(name: str) -> list[IPAddress]:
        asked.append(name)
        return [HOST]

    monkeypatch.setattr(direct, "resolve", resolve)
    with peer:
        datagrams = direct.open_datagrams()
        number = peer.getsockname()[1]
        assert datagrams.send_nowait(b"1", "printer.test", number) is None
        assert await datagrams.send_to(b"1", "printer.test", number) == HOST
        assert datagrams.send_nowait(b"2", "printer.test", number) == HOST
        assert (peer.recv(9), peer.recv(9), asked) == (b"1", b"2", ["printer.test"])
        mock_clock.jump(module.NAMES_FOR + 1)
        assert datagrams.send_nowait(b"3", "printer.test", number) is None
        datagrams.close()


async def test_a_name_that_points_at_this_machine_gets_none(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = Direct(nursery)

    async def resolve(_name: str) -> list[IPAddress]:
        return [HOST, IPv6Address("::1")]

    monkeypatch.setattr(direct, "resolve", resolve)
    with pytest.raises(DeniedByRule, match=r"rebound\.test has only addresses"):
        await direct.open_datagrams().send_to(b"x", "rebound.test", 53)


@pytest.mark.usefixtures("allow_loopback")
async def test_too_long_a_datagram_is_told_and_a_full_queue_drops(
    nursery: trio.Nursery, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE", 2)
    with peer:
        datagrams = Direct(nursery).open_datagrams()
        assert isinstance(datagrams, module.DirectDatagrams)
        number = peer.getsockname()[1]
        with pytest.raises(LocalProtocolError, match="65508 octets"):
            datagrams.send_nowait(bytes(65508), HOST, number)
        datagrams.send_nowait(b"x", HOST, number)
        _, sender = peer.recvfrom(10)
        for _ in range(3):
            peer.sendto(b"y", ("127.0.0.1", sender[1]))
        await until(lambda: datagrams.dropped == 1)
        assert [datagrams.receive_nowait() is not None for _ in range(3)] == [True, True, False]
        datagrams.close()


@pytest.mark.usefixtures("allow_loopback")
async def test_by_the_rules_some_go_directly_and_the_rest_into_the_tunnel(
    nursery: trio.Nursery, peer: socket.socket
) -> None:
    class Tunnel(Direct):
        def open_datagrams(self) -> module.DirectDatagrams:
            raise NameNotFound("into the tunnel")

    with peer:
        number = peer.getsockname()[1]
        router = Router([parse_rule(f"127.0.0.1 port {number} -> direct")], {"t": Tunnel(nursery)}, Direct(nursery))
        datagrams = router.open_datagrams()
        assert datagrams.send_nowait(b"x", HOST, number) == HOST
        assert peer.recv(9) == b"x"
        with pytest.raises(NameNotFound, match="into the tunnel"):
            datagrams.send_nowait(b"x", HOST, number ^ 1)
        datagrams.close()
