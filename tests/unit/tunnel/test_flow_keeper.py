"""Connections of programs over a reconnect: they go on with the same address, and end with another."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import SupportsIndex

import pytest
import trio

from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY
from sstpsocks.demo.server import FIRST_CLIENT
from sstpsocks.errors import ConnectionLost, TunnelDown
from sstpsocks.tunnel import flow_keeper
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from sstpsocks.tunnel.steps import Step, StepReport
from tests.helpers.demo_site import DemoSite, demo_site
from tests.helpers.lasting_demo import LastingIntranet, cut


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> AsyncIterator[DemoSite]:
    LastingIntranet(monkeypatch, nursery)
    async with demo_site(tmp_path) as site:
        site.server._free = OneAddress([FIRST_CLIENT])
        yield site


class OneAddress(list[IPv4Address]):
    """A pool of addresses that never gives another."""

    def pop(self, _index: SupportsIndex = -1) -> IPv4Address:
        return self[0]

    def append(self, _address: IPv4Address) -> None:
        pass


async def until_up(session: Session, connects: int) -> None:
    with trio.fail_after(10):
        while session.record.connects < connects or not session.up:
            await session._news.park()


async def test_a_transfer_goes_on_octet_by_octet_over_two_losses(site: DemoSite) -> None:
    told: list[str] = []

    def observe(report: StepReport) -> None:
        if report.step is Step.FLOWS:
            told.append(report.text)

    payload = random.Random(7).randbytes(3_000_000)
    received = bytearray()
    async with Session(site.settings(), observe=observe) as session:
        stream = await session.connect_tcp(GATEWAY, ECHO_PORT)

        async def send() -> None:
            for start in range(0, len(payload), 100_000):
                await stream.send_all(payload[start : start + 100_000])
            await stream.send_eof()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                losses = 0
                while data := await stream.receive_some():
                    received += data
                    if losses < 2 and len(received) > (losses + 1) * 800_000:
                        losses += 1
                        cut(site)
        await stream.aclose()
        assert session.record.reconnects == 2
        assert session.record.losses.total() == 2
    assert bytes(received) == payload
    assert told == ["1 open connection goes on: the tunnel is back with the same address"] * 2


async def test_what_is_sent_while_the_tunnel_is_down_arrives_later(site: DemoSite) -> None:
    down = trio.Event()

    def on_state(state: TunnelState) -> None:
        if state.status is TunnelStatus.RECONNECTING:
            down.set()

    async with Session(site.settings(), on_state=on_state) as session:
        stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
        cut(site)
        with trio.fail_after(10):
            await down.wait()
            await stream.send_all(b"while it was down")
            assert await stream.receive_some() == b"while it was down"
        await stream.aclose()


async def test_another_address_resets_them_and_says_so(site: DemoSite) -> None:
    told: list[str] = []

    def observe(report: StepReport) -> None:
        if report.step is Step.FLOWS:
            told.append(report.text)

    async with Session(site.settings(), observe=observe) as session:
        stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
        site.server._free = OneAddress([FIRST_CLIENT + 5])
        cut(site)
        with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(10):
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionLost)
        await stream.aclose()
    assert told == [f"1 open connection was reset: the tunnel is back, but its address is {FIRST_CLIENT + 5} now"]


async def test_datagrams_and_listening_ports_do_not_wait(site: DemoSite) -> None:
    async with Session(site.settings()) as session:
        udp = session.open_udp(GATEWAY, 9)
        listener = session.listen_tcp()
        cut(site)
        with trio.fail_after(10):
            with pytest.raises(TunnelDown):
                await udp.receive()
            with pytest.raises(TunnelDown):
                await listener.accept()
        udp.close()
        listener.close()


async def test_nobody_waits_for_longer_than_five_minutes(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_keeper, "LONGEST_OUTAGE", 0.2)
    async with Session(site.settings()) as session:
        stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
        await site.stop()
        with pytest.raises(trio.BrokenResourceError, match="in time"), trio.fail_after(10):
            await stream.receive_some()
        await stream.aclose()


async def test_they_end_with_the_session(site: DemoSite) -> None:
    async with Session(site.settings()) as session:
        stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
        await site.stop()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()


async def test_the_record_counts_what_happened(site: DemoSite) -> None:
    dials: list[float] = []
    session = Session(site.settings())
    session.record.on_dial = dials.append
    async with session:
        assert session.state.status is TunnelStatus.UP
        cut(site)
        await until_up(session, 2)
        assert (session.record.connects, session.record.reconnects) == (2, 1)
        assert session.record.losses == {"TunnelClosed": 1}
        assert len(dials) == 2
        await site.stop()
        with trio.fail_after(10):
            while not session.record.connect_failures:
                await session._news.park()
        assert session.record.connect_failures["TCP"] >= 1
        assert session.record.last_error
