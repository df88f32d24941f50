"""UDP ASSOCIATE: the client's datagrams and nobody else's, for as long as its connection lasts."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
import trio

from sstpsocks.proxy.socks import udp_associate
from sstpsocks.proxy.socks.udp_header import RelayedDatagram
from sstpsocks.tunnel.network import IPAddress
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.fake_ports import FakeUdpPort
from tests.helpers.proxy_port import Served, serving, until
from tests.helpers.socks_client import SocksClient

HOST, OTHER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.66")
HOST6 = IPv6Address("fd00::1")


class Program:
    """A program with a control connection and a UDP socket."""

    def __init__(self, control: SocksClient, relay: tuple[str, int], udp: trio.socket.SocketType) -> None:
        self.control = control
        self.relay = relay
        self.udp = udp

    async def send(self, payload: bytes, host: str | IPAddress = HOST, port: int = 123, fragment: int = 0) -> None:
        await self.udp.sendto(RelayedDatagram(host, port, payload, fragment).to_bytes(), self.relay)

    async def receive(self) -> RelayedDatagram:
        data, source = await self.udp.recvfrom(65535)
        assert source == self.relay
        return RelayedDatagram.parse(data)


def udp_socket(address: str = "127.0.0.1") -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(bound(address))


def bound(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


async def associate(client: SocksClient, port: int = 0, address: str = "0.0.0.0") -> tuple[str, int]:  # noqa: S104  # RFC 1928: zeros when it cannot tell
    await client.greet()
    await client.send(b"\x05\x03\x00\x01" + IPv4Address(address).packed + port.to_bytes(2, "big"))
    answer = await client.read(10)
    assert answer[:4] == b"\x05\x00\x00\x01"
    return str(ip_address(answer[4:8])), int.from_bytes(answer[8:], "big")


@asynccontextmanager
async def associated(served: Served) -> AsyncIterator[Program]:
    async with await served.open() as client:
        relay = await associate(client)
        with udp_socket() as udp:
            yield Program(client, relay, udp)


async def port_of(network: FakeNetwork, sent: int = 1) -> FakeUdpPort:
    """Return the tunnel's side when so many datagrams have arrived there."""
    port = network.udp_ports[-1]
    await until(lambda: len(port.sent) >= sent)
    return port


async def test_datagrams_go_and_answers_come_with_their_true_source(network: FakeNetwork) -> None:
    async with serving(network) as served, associated(served) as program:
        assert program.relay[0] == "127.0.0.1"
        await program.send(b"question")
        port = await port_of(network)
        assert port.sent == [(b"question", HOST, 123)]
        port.arrive(b"answer", HOST, 123)
        assert await program.receive() == RelayedDatagram(HOST, 123, b"answer")
        # TFTP answers from another port.
        port.arrive(b"from elsewhere", HOST, 40123)
        assert await program.receive() == RelayedDatagram(HOST, 40123, b"from elsewhere")


async def test_names_and_ipv6_addresses(network: FakeNetwork) -> None:
    network.dns.records["time.test", "A"] = [str(HOST)]
    network.local_addresses = (*network.local_addresses, IPv6Address("fd00::2"))
    async with serving(network) as served, associated(served) as program:
        await program.send(b"by name", "time.test")
        await port_of(network)
        await program.send(b"again", "time.test")
        await program.send(b"by IPv6", HOST6)
        port = await port_of(network, 3)
        assert port.sent == [(b"by name", HOST, 123), (b"again", HOST, 123), (b"by IPv6", HOST6, 123)]
        assert network.dns.queries.count(("time.test", "A", "udp")) == 1
        for address in (HOST, HOST6):
            port.arrive(b"answer", address, 123)
            assert await program.receive() == RelayedDatagram(address, 123, b"answer")


async def test_the_association_ends_with_the_control_connection(network: FakeNetwork) -> None:
    async with serving(network) as served:
        async with associated(served) as program:
            await program.send(b"x")
            port = await port_of(network)
        await until(lambda: port.closed)
        await served.until_idle()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(program.relay)


async def test_the_association_ends_with_the_tunnel(network: FakeNetwork) -> None:
    async with serving(network) as served, associated(served) as program:
        await program.send(b"x")
        (await port_of(network)).lose()
        with pytest.raises(trio.BrokenResourceError):
            await program.control.read(1)
    network.up = False
    async with serving(network) as served, await served.open() as client:
        await client.greet()
        await client.send(b"\x05\x03\x00\x01" + bytes(6))
        assert (await client.read(10))[1] == 1


async def test_another_program_on_this_machine_is_a_stranger(
    network: FakeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sstpsocks.proxy")
    async with serving(network) as served:
        async with associated(served) as program:
            await program.send(b"first")
            await port_of(network)
            for address in ("127.0.0.1", "127.0.0.2"):
                with udp_socket(address) as stranger:
                    await stranger.sendto(RelayedDatagram(HOST, 123, b"strange").to_bytes(), program.relay)
            await program.send(b"second")
            port = await port_of(network, 2)
            assert [payload for payload, _, _ in port.sent] == [b"first", b"second"]
            port.arrive(b"answer", HOST, 123)
            assert (await program.receive()).payload == b"answer"
        await served.until_idle()
    assert "sent 2, received 1, strangers 2" in caplog.text


async def test_another_address_does_not_become_the_client_by_being_first(network: FakeNetwork) -> None:
    async with serving(network) as served, associated(served) as program:
        with udp_socket("127.0.0.2") as stranger:
            await stranger.sendto(RelayedDatagram(HOST, 123, b"strange").to_bytes(), program.relay)
        await program.send(b"mine")
        assert (await port_of(network)).sent == [(b"mine", HOST, 123)]


async def test_who_names_its_port_is_waited_for(network: FakeNetwork) -> None:
    async with serving(network) as served, await served.open() as client:
        with udp_socket() as udp, udp_socket() as early:
            relay = await associate(client, udp.getsockname()[1], "127.0.0.1")
            await early.sendto(RelayedDatagram(HOST, 123, b"strange").to_bytes(), relay)
            await udp.sendto(RelayedDatagram(HOST, 123, b"mine").to_bytes(), relay)
            assert (await port_of(network)).sent == [(b"mine", HOST, 123)]


async def test_another_user_cannot_be_first(network: FakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def user_of(_relay: socket.socket, source: tuple[str, int]) -> int:
        asked.append(source[1])
        return 1000 if source[1] == ours else 1001

    monkeypatch.setattr(udp_associate, "peer_user", lambda _client: 1000)
    monkeypatch.setattr(udp_associate, "sender_user", user_of)
    async with serving(network) as served, associated(served) as program:
        ours = program.udp.getsockname()[1]
        with udp_socket() as stranger:
            await stranger.sendto(RelayedDatagram(HOST, 123, b"strange").to_bytes(), program.relay)
        for payload in (b"mine", b"also mine"):
            await program.send(payload)
        assert [payload for payload, _, _ in (await port_of(network, 2)).sent] == [b"mine", b"also mine"]
    # The kernel is asked until it is settled who the client is, and not for every datagram.
    assert len(asked) == 2


async def test_only_who_was_sent_to_may_answer(network: FakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_associate, "DESTINATIONS", 2)
    async with serving(network) as served, associated(served) as program:
        network.udp_ports[0].arrive(b"before anything was sent", HOST, 123)
        await program.send(b"x")
        port = await port_of(network)
        port.arrive(b"spoofed", OTHER, 123)
        port.arrive(b"true", HOST, 123)
        assert (await program.receive()).payload == b"true"
        for number in (2, 3):
            await program.send(b"x", IPv4Address(f"10.0.0.{number}"))
        port = await port_of(network, 3)
        port.arrive(b"forgotten", HOST, 123)
        port.arrive(b"known", IPv4Address("10.0.0.3"), 123)
        assert (await program.receive()).payload == b"known"


async def test_fragments_and_what_is_no_datagram_are_dropped(
    network: FakeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sstpsocks.proxy")
    async with serving(network) as served:
        async with associated(served) as program:
            await program.send(b"part one", fragment=1)
            await program.send(b"the last part", fragment=0x82)
            await program.udp.sendto(b"\x00\x00\x00\x09", program.relay)
            await program.send(b"", "127.0.0.1")
            await program.send(b"", HOST, 0)
            await program.send(b"whole")
            port = await port_of(network)
            assert port.sent == [(b"whole", HOST, 123)]
            port.refuse(HOST, 123)
        await served.until_idle()
    assert "sent 1, fragments 2, malformed 1, refused 2, icmp_errors 1" in caplog.text


async def test_names_that_are_slow_do_not_pile_up(network: FakeNetwork) -> None:
    network.dns.silent = True
    async with serving(network) as served, associated(served) as program:
        for number in range(udp_associate.LOOKUPS + 20):
            await program.send(b"x", f"slow{number}.test")
        # Others are not held up.
        await program.send(b"by address")
        assert (await port_of(network)).sent == [(b"by address", HOST, 123)]
        assert len({name for name, _, _ in network.dns.queries}) <= udp_associate.LOOKUPS


async def test_a_client_by_a_unix_socket_is_refused(network: FakeNetwork, tmp_path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("this system has no Unix sockets")
    async with serving(network) as served:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "port"))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))])
            async with SocksClient(await trio.open_unix_socket(str(tmp_path / "port"))) as client:
                await client.greet()
                await client.send(b"\x05\x03\x00\x01" + bytes(6))
                assert (await client.read(10))[1] == 4
            nursery.cancel_scope.cancel()
    assert network.udp_ports == []


async def test_pysocks_sends_and_receives(network: FakeNetwork) -> None:
    pysocks = pytest.importorskip("socks")
    async with serving(network) as served:

        def talk() -> object:
            with pysocks.socksocket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.set_proxy(pysocks.SOCKS5, "127.0.0.1", served.port)
                udp.settimeout(5)
                udp.sendto(b"question", ("10.0.0.1", 123))
                return udp.recvfrom(100)

        async def answer() -> None:
            await until(lambda: bool(network.udp_ports))
            (await port_of(network)).arrive(b"answer", HOST, 123)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert await trio.to_thread.run_sync(talk) == (b"answer", ("10.0.0.1", 123))
