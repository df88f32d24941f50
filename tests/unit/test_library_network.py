"""What a program can do with a tunnel besides dialling: datagrams, a listening port, echo requests, names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import sstpsocks
from sstpsocks.demo.intranet import DNS_PORT, GATEWAY
from sstpsocks.errors import DeniedByRule, LocalProtocolError, NameNotFound, TunnelDown
from sstpsocks.library import Tunnel
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site

QUERY = bytes.fromhex("123401000001000000000000") + b"\x03www\x08intranet\x04demo\0\0\x01\0\x01"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Tunnel, DemoSite]]:
    with trio.fail_after(20):
        async with demo_site(folder) as site, sstpsocks.open_tunnel(
            "127.0.0.1",
            port=site.port,
            username="alice",
            password=PASSWORD,
            server_name=SERVER_NAME,
            ca_file=str(site.ca_file),
            dhcp="never",
        ) as tunnel:  # fmt: skip
            yield tunnel, site


async def test_datagrams_by_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as (tunnel, _):
        udp = tunnel.open_udp_socket()
        assert udp.local_address[0] in tunnel.info.addresses
        assert await udp.send_to(QUERY, "ns.intranet.demo", DNS_PORT) == GATEWAY
        answer, address, port = await udp.receive_from()
        assert (answer[:2], address, port) == (QUERY[:2], GATEWAY, DNS_PORT)
        await udp.send_to(b"nobody is there", GATEWAY, 4000)
        while not udp.icmp_errors:  # noqa: ASYNC110  # a counter has no event
            await trio.sleep(0.01)
        with pytest.raises(DeniedByRule):
            await udp.send_to(b"", "127.0.0.1", 53)
        with pytest.raises(LocalProtocolError, match="in use"):
            tunnel.open_udp_socket(udp.local_address[1])
        udp.close()
        with pytest.raises(trio.ClosedResourceError):
            await udp.receive_from()
    with pytest.raises(TunnelDown):
        tunnel.open_udp_socket()


async def test_somebody_inside_connects_to_us(tmp_path: Path) -> None:
    async with opened(tmp_path) as (tunnel, site):
        listener = tunnel.listen_tcp()
        (driver,) = site.server._drivers
        assert driver.stack is not None
        theirs = TcpStream(driver.stack.connect_tcp(*listener.local_address, driver.now()), driver)
        driver.flush()
        async with await listener.accept() as ours:
            assert ours.remote_address[0] == GATEWAY
            await theirs.send_all(b"knock knock")
            assert await ours.receive_some() == b"knock knock"
        listener.close()


async def test_echo_requests_take_names_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as (tunnel, _):
        assert await tunnel.resolve("www.intranet.demo") == [GATEWAY]
        for host in ("www.intranet.demo", "10.99.0.1", GATEWAY):
            assert 0 < await tunnel.ping(host, df=True) < 5
        with pytest.raises(NameNotFound):
            await tunnel.ping("nx.intranet.demo")
        with pytest.raises(DeniedByRule):
            await tunnel.ping("127.0.0.1")
        with pytest.raises(LocalProtocolError, match="MTU"):
            await tunnel.ping(GATEWAY, size=1401, df=True)
