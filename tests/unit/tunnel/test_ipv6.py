"""IPv6 in a tunnel: configured in the background, used beside IPv4, and gone without taking IPv4 along."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import dpkt
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY, GATEWAY6, HTTP_PORT, PREFIX6, ZONE
from sstpsocks.errors import ConnectionLost, ConnectionRefused, NetworkUnreachable
from sstpsocks.library import run_tunnel
from sstpsocks.link import Ipv6Down
from sstpsocks.net.autoconf.advertisement import PrefixInformation, RecursiveServers, RouterAdvertisement
from sstpsocks.net.autoconf.dhcpv6_message import Dhcpv6Message, IaAddress, IaNa, MessageType
from sstpsocks.net.icmp6 import Icmp6Message
from sstpsocks.net.ip import PROTOCOL_UDP
from sstpsocks.net.ip6 import PROTOCOL_ICMP6, build_packet
from sstpsocks.net.stack import Stack
from sstpsocks.net.udp import UdpDatagram
from sstpsocks.tunnel.ipv6 import Ipv6Host
from sstpsocks.tunnel.network import IPAddress
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.states import TunnelState
from sstpsocks.tunnel.steps import Step, StepReport
from tests.helpers.demo_site import DemoSite, demo_site

# A session against the demo server.


class Reports:
    """Collects what is said of IPv6, and lets a test wait for it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ups = 0
        self._lot = trio.lowlevel.ParkingLot()

    def __call__(self, report: StepReport) -> None:
        if report.step is Step.IPV6:
            self.said.append(report.text)
            self._lot.unpark_all()

    def on_state(self, state: TunnelState) -> None:
        self.ups += state.up
        self._lot.unpark_all()

    async def wait(self, count: int = 1, *, ups: int = 0) -> None:
        with trio.fail_after(10):
            while len(self.said) < count or self.ups < ups:
                await self._lot.park()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path, ipv6=True) as site:
        yield site


def ipv6_addresses(session: Session) -> list[IPv6Address]:
    return [address for address in session.local_addresses if isinstance(address, IPv6Address)]


async def echoes(session: Session, address: IPAddress) -> bool:
    stream = await session.connect_tcp(address, ECHO_PORT)
    async with stream:
        await stream.send_all(b"are you there?")
        return await stream.receive_some() == b"are you there?"


async def test_both_versions_carry_traffic(site: DemoSite) -> None:
    reports = Reports()
    async with Session(site.settings(), observe=reports) as session:
        assert isinstance(session.local_addresses[0], IPv4Address), "IPv4 first"
        await reports.wait()
        (address,) = ipv6_addresses(session)
        assert address in PREFIX6
        assert session.dns_servers == (GATEWAY, GATEWAY6)
        assert session.info.addresses == session.local_addresses
        assert reports.said == [f"{address}, DNS {GATEWAY6}"]
        assert await echoes(session, GATEWAY6)
        assert await echoes(session, GATEWAY)
        with pytest.raises(ConnectionRefused):
            await session.connect_tcp(GATEWAY6, 81)
    assert session.local_addresses == ()


async def test_names_with_ipv6_addresses_only(site: DemoSite) -> None:
    reports = Reports()
    async with run_tunnel(site.settings(), observe=reports) as tunnel:
        await reports.wait()
        stream = await tunnel.open_tcp_stream(f"v6.{ZONE}", HTTP_PORT)
        assert stream.remote_address == (GATEWAY6, HTTP_PORT)
        assert stream.local_address[0] in tunnel.network.local_addresses
        await stream.aclose()


@pytest.mark.parametrize(("setting", "value"), [("ipv6", "never"), ("mtu", 1279)])
async def test_ipv6_that_is_not_wanted_or_does_not_fit(site: DemoSite, setting: str, value: object) -> None:
    async with Session(site.settings(credentials=None, **{setting: value})) as session:
        assert await echoes(session, GATEWAY)
        assert ipv6_addresses(session) == []
        with pytest.raises(NetworkUnreachable, match="no IPv6"):
            await session.connect_tcp(GATEWAY6, ECHO_PORT)
        with pytest.raises(NetworkUnreachable, match="no IPv6"):
            session.open_udp(GATEWAY6, 53)


async def test_a_server_without_ipv6(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as site, Session(site.settings()) as session:
        assert await echoes(session, GATEWAY)
        assert ipv6_addresses(session) == []
        with pytest.raises(NetworkUnreachable, match="no IPv6"):
            await session.connect_tcp(GATEWAY6, ECHO_PORT)


async def test_a_reconnect_brings_the_same_address(site: DemoSite) -> None:
    reports = Reports()
    async with Session(site.settings(), observe=reports, on_state=reports.on_state) as session:
        await reports.wait()
        site.server.disconnect_all()
        await reports.wait(2, ups=2)
        assert reports.said[0] == reports.said[1]
        assert await echoes(session, GATEWAY6)


async def test_an_address_is_stable_with_the_same_secret_and_otherwise_not(site: DemoSite) -> None:
    found = []
    for secret in (bytes(16), bytes(16), None, None):
        reports = Reports()
        async with Session(site.settings(identifier_secret=secret), observe=reports) as session:
            await reports.wait()
            found += ipv6_addresses(session)
    assert found[0] == found[1]
    assert len(set(found)) == 3


async def test_the_end_of_ipv6_breaks_its_connections_and_no_others(site: DemoSite) -> None:
    reports = Reports()
    async with Session(site.settings(), observe=reports) as session:
        await reports.wait()
        four = await session.connect_tcp(GATEWAY, ECHO_PORT)
        six = await session.connect_tcp(GATEWAY6, ECHO_PORT)
        connection = session._connection
        assert connection is not None
        assert connection.driver is not None
        connection.driver.act(lambda: connection._on_event(Ipv6Down("the server ended IPV6CP")))
        with pytest.raises(trio.BrokenResourceError) as caught:
            await six.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionLost)
        assert reports.said[-1] == "none any more: the server ended IPV6CP"
        assert ipv6_addresses(session) == []
        assert session.dns_servers == (GATEWAY,)
        with pytest.raises(NetworkUnreachable, match="no IPv6"):
            await session.connect_tcp(GATEWAY6, ECHO_PORT)
        await four.send_all(b"still here")
        assert await four.receive_some() == b"still here"
        await trio.aclose_forcefully(four)
        await trio.aclose_forcefully(six)


# One stack, in virtual time: the test is the other end of the link.

ROUTER = IPv6Address("fe80::1")
OURS = IPv6Address("fe80::7")
DHCP_SERVERS = IPv6Address("ff02::1:2")
PREFIX = IPv6Network("2001:db8:1:2::/64")


class OtherEnd:
    """Takes what the stack sends, and answers."""

    def __init__(self) -> None:
        self.stack = Stack(IPv4Address("10.9.0.2"), mtu=1400, entropy=SeededEntropy("stack"))
        self.sent: list[dpkt.ip6.IP6] = []
        self.changes = 0
        self.host = Ipv6Host(
            self.stack,
            self,
            SeededEntropy("host"),
            identifier=bytes(7) + b"\x07",
            secret=bytes(16),
            network=b"vpn.example.com",
            on_change=self._on_change,
        )

    def _on_change(self) -> None:
        self.changes += 1

    def now(self) -> float:
        return trio.current_time()

    def flush(self) -> None:
        self.sent += map(dpkt.ip6.IP6, self.stack.packets_to_send(self.now(), 1 << 20))

    def act(self, action: Callable[[], None]) -> None:
        action()
        for flow in self.stack.take_dirty():
            if flow.notify is not None:
                flow.notify()
        self.flush()

    async def settle(self) -> list[dpkt.ip6.IP6]:
        """Let the tasks run, and return the packets that have come since."""
        await wait_all_tasks_blocked()
        self.act(lambda: None)
        sent, self.sent = self.sent, []
        return sent

    def receive(self, protocol: int, payload: bytes, *, hop_limit: int = 255) -> None:
        packet = build_packet(ROUTER.packed, OURS.packed, protocol, payload, hop_limit=hop_limit)
        self.act(lambda: self.stack.receive_packet(packet, self.now()))

    def advertise(self, *, hop_limit: int = 255, **fields: object) -> None:
        message = RouterAdvertisement(router_lifetime=1800, **fields).to_bytes()  # type: ignore[arg-type]  # the test's own
        icmp = Icmp6Message(message[0], 0, message[4:])
        self.receive(PROTOCOL_ICMP6, icmp.to_bytes(ROUTER.packed, OURS.packed), hop_limit=hop_limit)

    def reply(self, request: Dhcpv6Message, **fields: object) -> None:
        reply = Dhcpv6Message(
            type=MessageType.REPLY,
            transaction_id=request.transaction_id,
            client_id=request.client_id,
            server_id=b"server",
            **fields,  # type: ignore[arg-type]  # the test's own
        )
        datagram = UdpDatagram(547, 546, reply.to_bytes())
        self.receive(PROTOCOL_UDP, datagram.to_bytes(ROUTER.packed, OURS.packed))


def dhcp_requests(packets: list[dpkt.ip6.IP6]) -> list[Dhcpv6Message]:
    """The DHCPv6 messages among packets, which must all go from our link-local address to the servers' group."""
    found = []
    for packet in packets:
        if packet.p == dpkt.ip.IP_PROTO_UDP:
            assert (packet.src, packet.dst) == (OURS.packed, DHCP_SERVERS.packed)
            assert (packet.data.sport, packet.data.dport) == (546, 547)
            found.append(Dhcpv6Message.parse(packet.data.data))
    return found


@pytest.fixture
async def end(autojump_clock: MockClock, nursery: trio.Nursery) -> OtherEnd:
    end = OtherEnd()
    nursery.start_soon(end.host.run)
    return end


async def test_a_router_is_asked_for_three_times(end: OtherEnd, autojump_clock: MockClock) -> None:
    await trio.sleep(30)
    solicitations = await end.settle()
    assert len(solicitations) == 3
    for packet in solicitations:
        assert (packet.src, packet.dst, packet.hlim) == (OURS.packed, IPv6Address("ff02::2").packed, 255)
        assert (packet.data.type, packet.data.code) == (dpkt.icmp6.ND_ROUTER_SOLICIT, 0)
        # dpkt recomputes a checksum that is zero.
        written, packet.data.sum = packet.data.sum, 0
        assert dpkt.ip6.IP6(bytes(packet)).data.sum == written
    assert end.stack.local_addresses == (IPv4Address("10.9.0.2"), OURS)


async def test_an_advertisement_brings_addresses_and_time_takes_them(end: OtherEnd, autojump_clock: MockClock) -> None:
    dns = IPv6Address("2001:db8::53")
    end.advertise(mtu=1300, prefixes=(PrefixInformation(PREFIX, 600, 300),), servers=(RecursiveServers((dns,), 700),))
    address = IPv6Address("2001:db8:1:2::7")
    assert list(end.host.addresses) == [address]
    assert address in end.stack.local_addresses
    assert end.stack.ipv6_mtu == 1300
    assert end.host.configured is not None
    assert end.host.configured.dns_servers == (dns,)
    await trio.sleep(599)
    assert list(end.host.addresses) == [address], "deprecated, but valid"
    await trio.sleep(2)
    assert list(end.host.addresses) == []
    assert address not in end.stack.local_addresses
    assert end.changes == 3


async def test_a_forged_advertisement_is_dropped_and_counted(end: OtherEnd, autojump_clock: MockClock) -> None:
    end.advertise(hop_limit=254, prefixes=(PrefixInformation(PREFIX, 600, 300),))
    assert list(end.host.addresses) == []
    assert end.stack.counters.icmp_in_errors == 1


async def test_an_address_by_dhcp(end: OtherEnd, autojump_clock: MockClock) -> None:
    end.advertise(managed=True)
    await trio.sleep(1.5)
    (solicit,) = dhcp_requests(await end.settle())[:1]
    assert solicit.type == MessageType.SOLICIT
    leased = IPv6Address("2001:db8:9::5")
    lease = IaNa(1, addresses=(IaAddress(leased, 300, 600),))
    end.reply(solicit, rapid_commit=True, associations=(lease,), dns_servers=(IPv6Address("2001:db8::53"),))
    assert end.host.addresses == (leased,)
    await trio.sleep(160)
    renewals = dhcp_requests(await end.settle())
    assert [message.type for message in renewals][-1] == MessageType.RENEW


async def test_an_address_that_no_host_can_have_is_not_taken(end: OtherEnd, autojump_clock: MockClock) -> None:
    end.advertise(managed=True)
    await trio.sleep(1.5)
    (solicit,) = dhcp_requests(await end.settle())[:1]
    lease = IaNa(1, addresses=(IaAddress(IPv6Address("::ffff:10.0.0.1"), 300, 600),))
    end.reply(solicit, rapid_commit=True, associations=(lease,))
    assert list(end.host.addresses) == []


async def test_nonsense_at_the_dhcp_port_is_dropped(end: OtherEnd, autojump_clock: MockClock) -> None:
    end.advertise(other=True)
    end.receive(PROTOCOL_UDP, UdpDatagram(547, 546, b"\x07abcnonsense").to_bytes(ROUTER.packed, OURS.packed))
    assert end.changes == 0


async def test_the_end_of_the_tunnel_ends_the_task(autojump_clock: MockClock) -> None:
    end = OtherEnd()
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end.host.run)
            await wait_all_tasks_blocked()
            end.act(lambda: end.stack.abort_all(ConnectionLost("the tunnel ended"), end.now()))


async def test_closing_gives_everything_up(end: OtherEnd, autojump_clock: MockClock) -> None:
    end.advertise(prefixes=(PrefixInformation(PREFIX, 600, 300),))
    end.host.close()
    assert end.stack.local_addresses == (IPv4Address("10.9.0.2"),)
    assert end.host.configured is None
    end.advertise(prefixes=(PrefixInformation(PREFIX, 600, 300),))
    await trio.sleep(100)
    assert await end.settle() == []
