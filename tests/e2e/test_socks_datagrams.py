"""UDP ASSOCIATE and BIND through a whole tunnel: port, stack, PPP, SSTP and TLS to the demo server."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest
import trio

import sstpsocks
from sstpsocks.demo.intranet import DNS_PORT, GATEWAY
from sstpsocks.library import Tunnel
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.proxy.socks.udp_header import RelayedDatagram
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site
from tests.helpers.socks_client import SocksClient


@asynccontextmanager
async def running(folder: Path, host: str) -> AsyncIterator[tuple[Tunnel, DemoSite, int]]:
    """A tunnel to a demo server, and the port of a proxy in front of it."""
    with trio.fail_after(20):
        async with demo_site(folder) as site, sstpsocks.open_tunnel(
            "127.0.0.1",
            port=site.port,
            username="alice",
            password=PASSWORD,
            server_name=SERVER_NAME,
            ca_file=str(site.ca_file),
            dhcp="never",
        ) as tunnel, trio.open_nursery() as nursery:  # fmt: skip
            try:
                listeners = await trio.open_tcp_listeners(0, host=host)
            except OSError:
                pytest.skip("no IPv6 here")
            await nursery.start(ProxyPort(tunnel.dialer).serve, listeners)
            yield tunnel, site, listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("target", [GATEWAY, "ns.intranet.demo"])
async def test_a_name_server_is_asked_by_udp(tmp_path: Path, family: int, host: str, target: str | IPv4Address) -> None:
    query = dns.message.make_query("www.intranet.demo", dns.rdatatype.A)
    async with running(tmp_path, host) as (_, _, port):
        async with SocksClient(await trio.open_tcp_stream(host, port)) as control:
            await control.greet()
            await control.send(b"\x05\x03\x00\x01" + bytes(6))
            head = await control.read(4)
            assert head[:3] == b"\x05\x00\x00"
            assert (await control.read(16 if head[3] == 4 else 4)) == socket.inet_pton(family, host)
            relay = (host, struct.unpack("!H", await control.read(2))[0])
            with trio.socket.socket(family, socket.SOCK_DGRAM) as udp:
                await udp.sendto(RelayedDatagram(target, DNS_PORT, query.to_wire()).to_bytes(), relay)
                answer = RelayedDatagram.parse(await udp.recv(4096))
        assert (answer.host, answer.port) == (GATEWAY, DNS_PORT)
        response = dns.message.from_wire(answer.payload)
        assert query.is_response(response)
        assert [str(record) for record in response.answer[0]] == [str(GATEWAY)]


async def test_somebody_inside_calls_back(tmp_path: Path) -> None:
    async with running(tmp_path, "127.0.0.1") as (tunnel, site, port), await SocksClient.open(port) as client:
        await client.greet()
        await client.send(b"\x05\x02\x00\x01" + GATEWAY.packed + b"\x00\x15")
        first = await client.read(10)
        assert first[:4] == b"\x05\x00\x00\x01"
        address, listening = IPv4Address(first[4:8]), int.from_bytes(first[8:], "big")
        assert address in tunnel.info.addresses
        (driver,) = site.server._drivers
        assert driver.stack is not None
        theirs = TcpStream(driver.stack.connect_tcp(address, listening, driver.now()), driver)
        driver.flush()
        await theirs.wait_connected()
        second = await client.read(10)
        assert second == b"\x05\x00\x00\x01" + GATEWAY.packed + theirs.local_address[1].to_bytes(2, "big")
        await theirs.send_all(b"a listing")
        await theirs.send_eof()
        assert await client.read_all() == b"a listing"
        await client.send(b"thanks")
        assert await theirs.receive_some() == b"thanks"
