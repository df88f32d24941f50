"""Forwarded datagrams: each sender its own answers, strangers none, sessions that end when nothing passes."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import cast

import pytest
import trio
import trio.testing

from sstpsocks.base.forward import parse_local
from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import ConfigError
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.forward import datagrams as module
from sstpsocks.proxy.forward.datagrams import IDLE, ROOM_AFTER, DatagramForward, Sender
from sstpsocks.proxy.forward.listen import open_datagram_ports
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.router import Router
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.fake_ports import FakeUdpPort
from tests.helpers.proxy_port import until

HOST, STRANGER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.66")
ONE, TWO = ("127.0.0.1", 50001), ("127.0.0.1", 50002)


class Desk:
    """A forward to 10.0.0.1 port 53, unless it says otherwise, and what it sent to the programs of this side."""

    def __init__(self, network: FakeNetwork, forward: str = "udp/5353:10.0.0.1:53", *, most: int = 10) -> None:
        self.network = network
        self.answers: list[tuple[bytes, Sender]] = []
        self.forward = DatagramForward(
            parse_local(forward), Dialer(network, Resolver(network)), cast(socket.socket, self), most=most
        )
        self.counters = self.forward.counters

    def sendto(self, payload: bytes, sender: Sender) -> None:
        self.answers.append((payload, sender))

    @property
    def ports(self) -> list[FakeUdpPort]:
        return self.network.udp_ports


@asynccontextmanager
async def program(port: int) -> AsyncIterator[trio.socket.SocketType]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        await udp.connect(("127.0.0.1", port))
        yield udp


@asynccontextmanager
async def serving(network: FakeNetwork, forward: str = "udp/5353:10.0.0.1:53") -> AsyncIterator[DatagramForward]:
    (port,) = await open_datagram_ports("127.0.0.1", 0)
    with port:
        served = DatagramForward(parse_local(forward), Dialer(network, Resolver(network)), port, most=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.serve)
            yield served
            nursery.cancel_scope.cancel()


def number_of(served: DatagramForward) -> int:
    return int(served._port.getsockname()[1])


async def test_each_sender_has_a_port_of_its_own_and_gets_its_answers(network: FakeNetwork) -> None:
    async with serving(network) as served, program(number_of(served)) as one, program(number_of(served)) as two:
        await one.send(b"one?")
        await until(lambda: len(network.udp_ports) == 1)
        await two.send(b"two?")
        await until(lambda: len(network.udp_ports) == 2)
        first, second = network.udp_ports
        assert (first.sent, second.sent) == ([(b"one?", HOST, 53)], [(b"two?", HOST, 53)])
        second.arrive(b"two!", HOST, 53)
        first.arrive(b"one!", HOST, 53)
        assert (await one.recv(100), await two.recv(100)) == (b"one!", b"two!")
        await one.send(b"again")
        await until(lambda: len(first.sent) == 2)
        assert (served.counters.sessions, served.counters.sent, served.counters.received) == (2, 3, 2)
    assert first.closed
    assert second.closed


async def test_datagrams_of_every_size_pass_whole_also_empty_ones(network: FakeNetwork) -> None:
    async with serving(network) as served, program(number_of(served)) as udp:
        seen: list[int] = []
        for size in (0, 1, 1472, 9000, 65507):
            await udp.send(bytes(size))
            await until(lambda: bool(network.udp_ports) and len(network.udp_ports[0].sent) > len(seen))
            (port,) = network.udp_ports
            assert port.sent[-1] == (bytes(size), HOST, 53)
            seen.append(size)
            port.arrive(b"x" * size, HOST, 53)
            assert await udp.recv(65535) == b"x" * size


async def test_strangers_inside_the_tunnel_reach_nobody(network: FakeNetwork) -> None:
    desk = Desk(network)
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"?", ONE, nursery)
        (port,) = desk.ports
        port.arrive(b"spoofed", STRANGER, 53)
        port.arrive(b"another port", HOST, 54)
        assert (desk.answers, desk.counters.unexpected) == ([], 2)
        port.arrive(b"!", HOST, 53)
        assert desk.answers == [(b"!", ONE)]


async def test_a_session_through_which_nothing_passes_ends_and_the_next_datagram_begins_another(
    network: FakeNetwork, mock_clock: trio.testing.MockClock
) -> None:
    desk = Desk(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.forward._expire)
        desk.forward.take(b"?", ONE, nursery)
        mock_clock.jump(IDLE - 1)
        desk.forward.take(b"?", TWO, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.forward.sessions == 2
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert [port.closed for port in desk.ports] == [True, False]
        # An answer is use, too.
        desk.ports[1].arrive(b"!", HOST, 53)
        mock_clock.jump(IDLE - 1)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.forward.sessions == 1
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.forward.sessions == 0
        desk.forward.take(b"?", ONE, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert (desk.forward.sessions, len(desk.ports)) == (1, 3)
        nursery.cancel_scope.cancel()


async def test_a_strangers_datagrams_do_not_keep_a_session(
    network: FakeNetwork, mock_clock: trio.testing.MockClock
) -> None:
    desk = Desk(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.forward._expire)
        desk.forward.take(b"?", ONE, nursery)
        for _ in range(4):
            mock_clock.jump(IDLE / 3)
            desk.ports[0].arrive(b"still here", STRANGER, 53)
            await trio.testing.wait_all_tasks_blocked()
            if desk.ports[0].closed:
                break
        assert desk.ports[0].closed
        nursery.cancel_scope.cancel()


async def test_a_new_sender_takes_the_place_of_one_that_is_idle_and_of_none_that_is_not(
    network: FakeNetwork, mock_clock: trio.testing.MockClock
) -> None:
    desk = Desk(network, most=2)
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"1", ONE, nursery)
        desk.forward.take(b"2", TWO, nursery)
        desk.forward.take(b"3", ("127.0.0.1", 50003), nursery)
        assert (desk.forward.sessions, desk.counters.crowded) == (2, 1)
        mock_clock.jump(ROOM_AFTER)
        desk.forward.take(b"1", ONE, nursery)
        desk.forward.take(b"3", ("127.0.0.1", 50003), nursery)
        assert desk.forward.sessions == 2
        assert [port.closed for port in desk.ports] == [False, True, False]


async def test_a_name_is_looked_up_in_the_tunnel_and_keeps_the_order(network: FakeNetwork) -> None:
    network.dns.records[("dns.corp.test", "A")] = ["10.0.0.1"]
    desk = Desk(network, "udp/5353:dns.corp.test:53")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            desk.forward.take(b"%d" % number, ONE, nursery)
        assert desk.ports[0].sent == []
        await until(lambda: len(desk.ports[0].sent) == 3)
        desk.forward.take(b"3", ONE, nursery)
    assert [payload for payload, *_ in desk.ports[0].sent] == [b"0", b"1", b"2", b"3"]
    assert network.dns.queries[0][0] == "dns.corp.test"
    assert desk.answers == []


async def test_an_answer_that_is_quicker_than_the_task_that_asked_is_not_lost(network: FakeNetwork) -> None:
    network.dns.records[("dns.corp.test", "A")] = ["10.0.0.1"]
    desk = Desk(network, "udp/5353:dns.corp.test:53")
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"?", ONE, nursery)
        desk.ports[0].arrive(b"!", HOST, 53)
        assert desk.answers == []
        await until(lambda: bool(desk.answers))
    assert desk.answers == [(b"!", ONE)]


async def test_few_datagrams_wait_for_a_look_up(network: FakeNetwork) -> None:
    network.dns.silent = True
    desk = Desk(network, "udp/5353:dns.corp.test:53")
    async with trio.open_nursery() as nursery:
        for _ in range(module.WAITING + 5):
            desk.forward.take(b"?", ONE, nursery)
        assert desk.counters.crowded == 5
        nursery.cancel_scope.cancel()


async def test_a_name_that_does_not_exist_is_told_once(network: FakeNetwork, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(network, "udp/5353:nowhere.test:53")
    with caplog.at_level(logging.WARNING, "sstpsocks.forward"):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                desk.forward.take(b"?", ONE, nursery)
    assert desk.counters.refused == 3
    assert caplog.text.count("nowhere.test") == 2, "the forward's name and the reason, on one line"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost", "224.0.0.1"])
async def test_what_is_never_dialled_gets_no_datagram(network: FakeNetwork, target: str) -> None:
    desk = Desk(network, f"udp/5353:{target}:53")
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"?", ONE, nursery)
    assert desk.counters.refused == 1
    assert desk.ports[0].sent == []


async def test_icmp_errors_are_counted_and_end_nothing(network: FakeNetwork) -> None:
    desk = Desk(network)
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"?", ONE, nursery)
        desk.ports[0].refuse(HOST, 53)
        desk.forward.take(b"?", ONE, nursery)
    assert (desk.counters.icmp_errors, len(desk.ports[0].sent)) == (1, 2)


async def test_a_lost_tunnel_takes_its_sessions_and_the_next_one_begins_anew(network: FakeNetwork) -> None:
    desk = Desk(network)
    async with trio.open_nursery() as nursery:
        desk.forward.take(b"?", ONE, nursery)
        desk.ports[0].lose()
        assert (desk.forward.sessions, desk.ports[0].closed) == (0, True)
        network.up = False
        desk.forward.take(b"?", ONE, nursery)
        assert desk.counters.refused == 1
        network.up = True
        desk.forward.take(b"again", ONE, nursery)
        assert desk.ports[1].sent == [(b"again", HOST, 53)]
        desk.ports[1].arrive(b"!", HOST, 53)
    assert desk.answers == [(b"!", ONE)]


async def test_the_rules_choose_the_tunnel_of_each_forward(nursery: trio.Nursery) -> None:
    one, two = FakeNetwork(nursery), FakeNetwork(nursery)
    ways = {"one": Dialer(one, Resolver(one)), "two": Dialer(two, Resolver(two))}
    router = Router([parse_rule("10.0.0.1 port 53 -> two"), parse_rule("10.0.0.9 -> refuse")], ways, ways["one"])
    for target in ("10.0.0.1:53", "10.0.0.1:54", "10.0.0.9:53"):
        forward = parse_local(f"udp/1:{target}")
        desk = DatagramForward(forward, router, cast(socket.socket, None), most=1)
        desk.take(b"?", ONE, nursery)
        assert desk.counters.refused == (target == "10.0.0.9:53")
    assert [port.sent for port in two.udp_ports] == [[(b"?", HOST, 53)]]
    assert [port.sent for port in one.udp_ports] == [[(b"?", HOST, 54)]]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a datagram is")
async def test_other_users_of_the_machine_are_cut_off_where_that_is_asked_for(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {ONE: 1000, TWO: 1001}
    monkeypatch.setattr("sstpsocks.proxy.peer_user.sender_user", lambda _port, sender: owners[sender])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    forward = parse_local("udp/1:10.0.0.1:53")
    dialer = Dialer(network, Resolver(network))
    desk = DatagramForward(forward, dialer, cast(socket.socket, None), most=5, only_own_user=True)
    async with trio.open_nursery() as nursery:
        desk.take(b"mine", ONE, nursery)
        desk.take(b"theirs", TWO, nursery)
        assert (desk.counters.strangers, desk.sessions) == (1, 1)
        # The port was given back, and somebody else has it now.
        owners[ONE] = 1001
        desk.take(b"theirs", ONE, nursery)
    assert network.udp_ports[0].sent == [(b"mine", HOST, 53)]


async def test_a_port_that_is_taken_is_one_sentence_with_what_to_do() -> None:
    (port,) = await open_datagram_ports("127.0.0.1", 0)
    with port:
        number = port.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on udp/127.0.0.1:{number}") as caught:
            await open_datagram_ports("127.0.0.1", number)
    assert "choose another" in caught.value.hint


async def test_a_name_with_two_addresses_listens_at_both_at_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(*_arguments: object, **_more: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.2", 0)),
        ]

    monkeypatch.setattr(trio.socket, "getaddrinfo", both)
    ports = await open_datagram_ports("both.test", 0)
    try:
        assert [port.getsockname()[0] for port in ports] == ["127.0.0.1", "127.0.0.2"]
        assert len({port.getsockname()[1] for port in ports}) == 1
    finally:
        for port in ports:
            port.close()
