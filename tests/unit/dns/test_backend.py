from __future__ import annotations

import socket

import dns.asyncquery
import dns.exception
import dns.message
import pytest
import trio

from sstpsocks.dns.backend import TunnelBackend, TunnelDatagramSocket, TunnelStreamSocket
from sstpsocks.errors import LocalProtocolError, TunnelDown
from tests.helpers.fake_network import DNS_SERVER, LOCAL_ADDRESS, FakeNetwork

SERVER = (str(DNS_SERVER), 53)


async def test_dnspython_asks_by_udp_through_the_tunnel(network: FakeNetwork) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    query = dns.message.make_query("web.test", "A")
    response = await dns.asyncquery.udp(query, str(DNS_SERVER), backend=TunnelBackend(network))
    assert response.answer[0][0].to_text() == "10.0.0.1"
    assert network.dns.sockets[0].closed


async def test_dnspython_asks_by_tcp_through_the_tunnel(network: FakeNetwork) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    network.dns.truncate = True
    query = dns.message.make_query("web.test", "A")
    response, tcp = await dns.asyncquery.udp_with_fallback(query, str(DNS_SERVER), backend=TunnelBackend(network))
    assert tcp
    assert response.answer[0][0].to_text() == "10.0.0.1"
    assert network.streams[0].closed


async def test_silence_is_dnspythons_timeout(network: FakeNetwork, autojump_clock: trio.testing.MockClock) -> None:
    network.dns.silent = True
    query = dns.message.make_query("web.test", "A")
    with pytest.raises(dns.exception.Timeout):
        await dns.asyncquery.udp(query, str(DNS_SERVER), timeout=5.0, backend=TunnelBackend(network))
    assert trio.current_time() == pytest.approx(5.0, abs=0.5)
    with pytest.raises(dns.exception.Timeout):
        await dns.asyncquery.tcp(query, str(DNS_SERVER), timeout=5.0, backend=TunnelBackend(network))


async def test_each_operation_keeps_its_time(network: FakeNetwork, autojump_clock: trio.testing.MockClock) -> None:
    backend = TunnelBackend(network)
    network.dns.silent = True
    datagrams = await backend.make_socket(socket.AF_INET, socket.SOCK_DGRAM, destination=SERVER)
    assert isinstance(datagrams, TunnelDatagramSocket)
    with pytest.raises(dns.exception.Timeout):
        await datagrams.recvfrom(512, 2.0)
    assert trio.current_time() == pytest.approx(2.0)
    network.add("10.0.0.9", 53, None)
    with pytest.raises(dns.exception.Timeout):
        await backend.make_socket(socket.AF_INET, socket.SOCK_STREAM, destination=("10.0.0.9", 53), timeout=3.0)
    assert trio.current_time() == pytest.approx(5.0)
    with pytest.raises(dns.exception.Timeout):
        await backend.wait_for(trio.Event().wait(), 1.0)
    await backend.sleep(1.0)
    assert trio.current_time() == pytest.approx(7.0)
    made = await backend.wait_for(backend.make_socket(socket.AF_INET, socket.SOCK_DGRAM, 0, None, SERVER), None)
    assert isinstance(made, TunnelDatagramSocket)


async def test_sockets_know_their_addresses(network: FakeNetwork) -> None:
    backend = TunnelBackend(network)
    assert backend.name() == "sstpsocks"
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        made = await backend.make_socket(socket.AF_INET, kind, destination=SERVER, timeout=1.0)
        assert isinstance(made, TunnelDatagramSocket | TunnelStreamSocket)
        assert await made.getpeername() == SERVER
        assert (await made.getsockname())[0] == str(LOCAL_ADDRESS)
        await made.close()


async def test_what_a_tunnel_cannot_do_is_refused(network: FakeNetwork) -> None:
    backend = TunnelBackend(network)
    with pytest.raises(LocalProtocolError):
        await backend.make_socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(LocalProtocolError):
        await backend.make_socket(socket.AF_INET, socket.SOCK_DGRAM, source=("10.0.0.1", 53), destination=SERVER)
    network.up = False
    with pytest.raises(TunnelDown):
        await backend.make_socket(socket.AF_INET, socket.SOCK_DGRAM, destination=SERVER)
