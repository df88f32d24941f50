"""DHCPINFORM in a tunnel: asked in the background, and what follows from the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import dpkt
import pytest
import trio
from trio.testing import MockClock

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.demo import server as server_module
from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY, serve_intranet
from sstpsocks.errors import ConnectionLost, NetworkUnreachable
from sstpsocks.library import run_tunnel
from sstpsocks.net import dhcp as dhcp_module
from sstpsocks.net.address import LIMITED_BROADCAST
from sstpsocks.net.dhcp import DhcpInformation
from sstpsocks.net.route import Route
from sstpsocks.net.stack import Stack
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.tunnel.datagrams import UdpAcceptor
from sstpsocks.tunnel.inform import ask_dhcp, strict_table
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.steps import Step, StepReport
from sstpsocks.tunnel.streams import Pump
from tests.helpers.demo_site import DemoSite, demo_site
from tests.helpers.dhcp import Option, answer, routes_option
from tests.helpers.socks_client import SocksClient
from tests.helpers.stack_pair import LEFT, RIGHT, StackPair

BRIDGE_OPTIONS: tuple[Option, ...] = (
    (1, bytes((255, 255, 255, 0))),
    (6, GATEWAY.packed),
    (15, b"intranet.demo"),
    routes_option(("172.30.0.0/16", str(GATEWAY))),
)


async def ask(pair: StackPair, host_name: str | None = "client") -> DhcpInformation | None:
    return await ask_dhcp(pair.left, pair, LEFT, SeededEntropy("inform"), host_name=host_name)


async def test_an_answer_comes_back(autojump_clock: MockClock) -> None:
    pair = StackPair()
    server = pair.right.open_udp(local_port=67, allow_broadcast=True)
    found: list[DhcpInformation | None] = []

    async def note() -> None:
        found.append(await ask(pair))

    for destination in (LEFT, LIMITED_BROADCAST):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            await trio.testing.wait_all_tasks_blocked()
            received = server.receive_from()
            assert received is not None
            request, source = received
            assert source == (LEFT, 68)
            server.send_to(b"not an answer", (destination, 68))
            server.send_to(answer(request, [(15, b"lab.test")]), (destination, 68))
            pair.flush()
    assert [information.domain for information in found if information] == ["lab.test", "lab.test"]
    assert trio.current_time() == 0.0, "there was nothing to wait for"
    pair.left.open_udp(local_port=68)  # the port is free again


async def test_nobody_answers(autojump_clock: MockClock) -> None:
    pair = StackPair()
    server = pair.right.open_udp(local_port=67, allow_broadcast=True)
    assert await ask(pair) is None
    assert trio.current_time() == pytest.approx(9.0)
    requests = []
    while (request := server.receive()) is not None:
        requests.append(request)
    assert len(requests) == 3
    assert len(set(requests)) == 1


async def test_noise_does_not_keep_it_alive(autojump_clock: MockClock) -> None:
    pair = StackPair()
    noisy = pair.right.open_udp(local_port=67)

    async def make_noise() -> None:
        while True:
            noisy.send_to(b"noise", (LEFT, 68))
            pair.flush()
            await trio.sleep(0.7)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_noise)
        assert await ask(pair) is None
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(9.0, abs=0.7)


async def test_the_end_of_the_tunnel_ends_it(autojump_clock: MockClock) -> None:
    pair = StackPair()
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(1)
            pair.left.abort_all(ConnectionLost("gone"), pair.now())
            pair.flush()

        nursery.start_soon(end)
        assert await ask(pair) is None
    assert trio.current_time() == pytest.approx(1.0)


async def test_the_host_name_is_told_or_not(autojump_clock: MockClock) -> None:
    pair = StackPair()
    server = pair.right.open_udp(local_port=67, allow_broadcast=True)
    for host_name in ("client", None):
        await ask(pair, host_name)
        request = server.receive()
        assert request is not None
        assert (12 in dict(dpkt.dhcp.DHCP(request).opts)) == (host_name is not None)
        while server.receive() is not None:
            pass


def test_strict_routes_cover_what_was_pushed_and_what_the_tunnel_itself_named() -> None:
    pushed = (Route(IPv4Network("172.30.0.0/16"), RIGHT),)
    name_server = IPv4Address("192.0.2.53")
    table = strict_table(DhcpInformation(routes=pushed, subnet=IPv4Network("10.20.0.0/24")), (name_server,))
    assert table is not None
    for inside in ("172.30.255.1", "10.20.0.77", "192.0.2.53"):
        assert table.lookup(IPv4Address(inside)) is not None
    for outside in ("172.31.0.1", "10.20.1.1", "192.0.2.54"):
        assert table.lookup(IPv4Address(outside)) is None


def test_without_pushed_routes_there_is_nothing_to_be_strict_about() -> None:
    assert strict_table(DhcpInformation(subnet=IPv4Network("10.20.0.0/24")), (RIGHT,)) is None


# Whole sessions, with the demo server


class DhcpServer:
    """Answers in the network behind the demo server."""

    def __init__(self) -> None:
        self.options: Sequence[Option] | None = BRIDGE_OPTIONS
        """None: it stays silent."""
        self.requests: list[bytes] = []

    async def serve(self, acceptor: UdpAcceptor) -> None:
        while True:
            request, _ = await acceptor.receive_from()
            self.requests.append(request)
            if self.options is not None:
                await acceptor.send_to(answer(request, self.options), (LIMITED_BROADCAST, 68))


@pytest.fixture
def dhcp(monkeypatch: pytest.MonkeyPatch) -> DhcpServer:
    server = DhcpServer()

    def serve_both(stack: Stack, pump: Pump) -> Coroutine[object, object, None]:
        # All ports are open on return: the client may be quicker than a task.
        intranet = serve_intranet(stack, pump)
        acceptor = UdpAcceptor(stack.open_udp(local_port=67, allow_broadcast=True), pump)

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, acceptor)
                nursery.start_soon(lambda: intranet)

        return serve()

    monkeypatch.setattr(server_module, "serve_intranet", serve_both)
    return server


@pytest.fixture
async def site(tmp_path: Path, dhcp: DhcpServer) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


class Reports:
    """Remembers the steps, and lets a test wait for the one about DHCP."""

    def __init__(self) -> None:
        self.dhcp: list[str] = []
        self.told = trio.Event()

    def __call__(self, report: StepReport) -> None:
        if report.step is Step.DHCP:
            assert report.done
            self.dhcp.append(report.text)
            self.told.set()

    async def wait(self) -> None:
        with trio.fail_after(15):
            await self.told.wait()


async def test_a_session_learns_routes_and_search_domains(site: DemoSite) -> None:
    reports = Reports()
    settings = site.settings(search_domains=("first.test", "intranet.demo"))
    async with Session(settings, observe=reports) as session:
        await reports.wait()
        assert session.info.routes == (IPv4Network("172.30.0.0/16"),)
        assert session.search_domains == ("first.test", "intranet.demo") == session.info.search
        assert session.dns_servers == (GATEWAY,)
    assert reports.dhcp == [f"routes 172.30.0.0/16; search intranet.demo; DNS {GATEWAY}"]
    assert session.search_domains == ("first.test", "intranet.demo"), "the settings' own are always there"


async def test_a_single_label_name_is_found_in_the_domain_that_was_told(site: DemoSite) -> None:
    reports = Reports()
    async with run_tunnel(site.settings(), observe=reports) as tunnel:
        await reports.wait()
        assert await tunnel.resolve("web") == [GATEWAY]
        stream = await tunnel.open_tcp_stream("web", ECHO_PORT)
        assert stream.remote_address == (GATEWAY, ECHO_PORT)
        await stream.aclose()


async def test_name_servers_of_dhcp_count_when_ipcp_gave_none(site: DemoSite, dhcp: DhcpServer) -> None:
    dhcp.options = [(6, IPv4Address("10.99.0.77").packed)]
    reports = Reports()
    async with Session(site.settings(), observe=reports) as session:
        await reports.wait()
        assert session.dns_servers == (GATEWAY,), "IPCP's"
        connection = session._connection
        assert connection is not None
        assert connection.link_up is not None
        object.__setattr__(connection.link_up, "dns", ())
        assert session.dns_servers == (IPv4Address("10.99.0.77"),)


async def test_strict_routes_let_only_pushed_destinations_through(site: DemoSite) -> None:
    reports = Reports()
    async with run_tunnel(site.settings(strict_routes=True), observe=reports) as tunnel, trio.open_nursery() as nursery:
        await reports.wait()
        with pytest.raises(NetworkUnreachable, match="none of the routes"):
            await tunnel.open_tcp_stream("172.31.0.1", 80)
        with pytest.raises(NetworkUnreachable):
            tunnel.open_udp(IPv4Address("192.0.2.1"), 53)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(ProxyPort(tunnel.dialer, dial_timeout=0.2).serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        for host, reply in (("172.31.0.1", 3), ("172.30.0.1", 6), ("web.intranet.demo", 0)):
            async with await SocksClient.open(port) as client:
                assert await client.connect(host, ECHO_PORT) == reply
        nursery.cancel_scope.cancel()


async def test_routes_bind_nobody_who_did_not_ask_for_it(site: DemoSite) -> None:
    reports = Reports()
    async with Session(site.settings(), observe=reports) as session:
        await reports.wait()
        session.open_udp(IPv4Address("192.0.2.1"), 53).close()


async def test_strict_routes_without_pushed_routes_let_everything_through(site: DemoSite, dhcp: DhcpServer) -> None:
    dhcp.options = [(15, b"intranet.demo")]
    reports = Reports()
    async with Session(site.settings(strict_routes=True), observe=reports) as session:
        await reports.wait()
        session.open_udp(IPv4Address("192.0.2.1"), 53).close()
    assert reports.dhcp == ["search intranet.demo; no routes were pushed, so every destination is let through"]


async def test_a_reconnect_asks_anew(site: DemoSite, dhcp: DhcpServer) -> None:
    reports = Reports()
    async with Session(site.settings(), observe=reports) as session:
        await reports.wait()
        dhcp.options = [(15, b"other.test")]
        reports.told = trio.Event()
        for driver in site.server._drivers:
            driver.close()
        await reports.wait()
        assert session.search_domains == ("other.test",)
        assert session.info.routes == ()


@pytest.mark.parametrize(("dhcp_setting", "asked", "named"), [("auto", 1, 1), ("anonymous", 1, 0), ("never", 0, 0)])
async def test_it_can_be_asked_without_a_name_or_not_at_all(
    site: DemoSite, dhcp: DhcpServer, dhcp_setting: str, asked: int, named: int
) -> None:
    reports = Reports()
    async with Session(site.settings(dhcp=dhcp_setting), observe=reports) as session:
        if asked:
            await reports.wait()
        else:
            stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
            await stream.aclose()
    assert len(dhcp.requests) == asked
    assert sum(12 in dict(dpkt.dhcp.DHCP(request).opts) for request in dhcp.requests) == named


async def test_silence_is_not_worth_a_word_and_keeps_nobody_waiting(site: DemoSite, dhcp: DhcpServer) -> None:
    dhcp.options = None
    reports = Reports()
    with trio.fail_after(2):
        async with Session(site.settings(), observe=reports) as session:
            stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
            await stream.aclose()
            assert session.info.routes == ()
    assert reports.dhcp == []


async def test_strict_routes_without_an_answer_are_told_of(
    site: DemoSite, dhcp: DhcpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dhcp_module, "INTERVAL", 0.02)
    dhcp.options = None
    reports = Reports()
    async with Session(site.settings(strict_routes=True), observe=reports) as session:
        await reports.wait()
        session.open_udp(IPv4Address("192.0.2.1"), 53).close()
    assert reports.dhcp == ["no answer; no routes were pushed, so every destination is let through"]
