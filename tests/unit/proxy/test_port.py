"""The port with several protocols on it: what programs notice of a proxy, row by row, for every version of SOCKS."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
import trio
from python_socks import ProxyError, ProxyType
from python_socks.async_.trio.v2 import Proxy
from socksio import socks4 as peer4
from socksio import socks5 as peer5
from trio.testing import MockClock

from sstpsocks.errors import ConnectionRefused, DialError, HostUnreachable, NetworkUnreachable, TunnelDown
from sstpsocks.proxy.users import NOBODY_ASKED, Users
from tests.helpers.fake_network import FakeNetwork, FakeTunnelStream
from tests.helpers.proxy_port import WEB, serving
from tests.helpers.socks_client import SocksClient

USERS = Users([("alice", "secret"), ("bob", "other")])


@dataclass(frozen=True)
class Version:
    """How a version of SOCKS asks, and how its answers read."""

    name: str
    request: Callable[[str], bytes]
    success: bytes
    """The answer when our end is 10.9.0.2, port 40000."""
    failure: Callable[[int], bytes]
    """The answer for a reply code of SOCKS5."""
    names: bool = True


def ask_5(host: str) -> bytes:
    return b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes((len(host),)) + host.encode() + b"\x00\x50"


def ask_4a(host: str) -> bytes:
    return b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00" + host.encode() + b"\x00"


def ask_4(host: str) -> bytes:
    return b"\x04\x01\x00\x50" + ip_address(host).packed + b"me\x00"


def fail_5(code: int) -> bytes:
    return b"\x05\x00\x05" + bytes((code,)) + b"\x00\x01" + bytes(6)


def fail_4(_code: int) -> bytes:
    return b"\x00\x5b" + bytes(6)


BOUND_PORT = (40000).to_bytes(2, "big")
BOUND_ADDRESS = ip_address("10.9.0.2").packed
SUCCESS_4 = b"\x00\x5a" + BOUND_PORT + BOUND_ADDRESS
SOCKS5 = Version("SOCKS5", ask_5, b"\x05\x00\x05\x00\x00\x01" + BOUND_ADDRESS + BOUND_PORT, fail_5)
SOCKS4 = Version("SOCKS4", ask_4, SUCCESS_4, fail_4, names=False)
SOCKS4A = Version("SOCKS4a", ask_4a, SUCCESS_4, fail_4)


@pytest.fixture(params=[SOCKS5, SOCKS4, SOCKS4A], ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@asynccontextmanager
async def asking(network: FakeNetwork, data: bytes, users: Users = NOBODY_ASKED) -> AsyncIterator[SocksClient]:
    async with serving(network, users) as served, await served.open() as client:
        await client.send(data)
        yield client


# The rows


async def test_the_bound_address_is_ours_in_the_tunnel(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request(WEB)) as client:
        assert await client.read(len(version.success)) == version.success
        await client.send(b"hello")
        assert await client.read(5) == b"hello"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefused("no"), 5),
        (HostUnreachable("no"), 4),
        (NetworkUnreachable("no"), 3),
        (TunnelDown("no"), 1),
    ],
    ids=["refused", "host unreachable", "network unreachable", "tunnel down"],
)
async def test_a_failure_has_its_own_answer(web: FakeNetwork, version: Version, error: DialError, code: int) -> None:
    web.add(WEB, 80, error)
    async with asking(web, version.request(WEB)) as client:
        assert await client.read_all() == version.failure(code)


async def test_a_port_where_nobody_listens_is_refused(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request("10.0.0.9")) as client:
        assert await client.read_all() == version.failure(5)


@pytest.mark.parametrize("version", [SOCKS5, SOCKS4A], ids=lambda version: version.name)
async def test_a_name_that_does_not_exist_is_told(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request("nothing.test")) as client:
        assert await client.read_all() == version.failure(4)


@pytest.mark.parametrize("version", [SOCKS5, SOCKS4A], ids=lambda version: version.name)
async def test_a_name_is_looked_up_in_the_tunnel(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request("web.test")) as client:
        answer = await client.read(len(version.success))
        # Port 40000 was that of the query.
        assert answer == version.success.replace(BOUND_PORT, (40001).to_bytes(2, "big"))
    assert ("web.test", "A", "udp") in web.dns.queries


async def test_this_machine_is_never_dialled(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request("127.0.0.1")) as client:
        assert await client.read_all() == version.failure(2)


async def test_early_data_arrives_and_a_half_close_is_kept(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request(WEB) + b"early") as client:
        assert await client.read(len(version.success)) == version.success
        await client.send(b" and late")
        await client.stream.send_eof()
        assert await client.read_all() == b"early and late"


async def test_early_data_is_sent_on_though_nothing_follows_it(web: FakeNetwork, version: Version) -> None:
    async with asking(web, version.request(WEB) + b"early") as client:
        assert await client.read(len(version.success)) == version.success
        with trio.fail_after(5):
            assert await client.read(5) == b"early"


async def test_a_reset_right_after_the_success_is_passed_on(
    web: FakeNetwork, version: Version, caplog: pytest.LogCaptureFixture
) -> None:
    async def reset(stream: FakeTunnelStream) -> None:
        stream.abort()

    web.add(WEB, 80, reset)
    async with asking(web, version.request(WEB)) as client:
        with pytest.raises(trio.BrokenResourceError):
            await client.read_all()
    assert "this is a bug" not in caplog.text


@pytest.mark.parametrize("said", [1, 6, 9])
async def test_silence_is_cut(web: FakeNetwork, version: Version, clock: MockClock, said: int) -> None:
    async with asking(web, version.request(WEB)[:said]) as client:
        with pytest.raises(trio.BrokenResourceError):
            await client.read(100)
    assert 9 < trio.current_time() < 12


@pytest.mark.parametrize("command", [0, 3, 9])
async def test_an_unknown_command_of_socks4_is_rejected(web: FakeNetwork, command: int) -> None:
    async with asking(web, b"\x04" + bytes((command,)) + ask_4(WEB)[2:]) as client:
        assert await client.read_all() == fail_4(0)


async def test_unknown_methods_are_answered(web: FakeNetwork) -> None:
    async with asking(web, b"\x05\x02\x01\x80") as client:
        assert await client.read_all() == b"\x05\xff"


async def test_tls_and_noise_are_closed_without_an_answer(web: FakeNetwork) -> None:
    for noise in (b"\x16\x03\x01\x02\x00", b"\x00\x00", b"\xff"):
        async with asking(web, noise) as client:
            assert await client.read_all() == b""


async def test_beyond_the_cap_each_protocol_gets_its_own_refusal(web: FakeNetwork, version: Version) -> None:
    async with serving(web, max_connections=1) as served, await served.open() as first:
        assert await first.connect(WEB) == 0
        async with await served.open() as client:
            await client.send(version.request(WEB))
            assert await client.read_all() == version.failure(1)
        async with await served.open() as client:
            await client.send(b"CONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n")
            assert (await client.read_all()).startswith(b"HTTP/1.1 503 ")


# HTTP on the same port


@pytest.mark.parametrize(
    "method", ["CONNECT", "connect", "PROPFIND"], ids=["CONNECT", "in lower case", "a method of WebDAV"]
)
async def test_http_is_recognised_whatever_its_method(web: FakeNetwork, method: str) -> None:
    async with asking(web, f"{method} 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n".encode()) as client:
        assert (await client.read(9)) == b"HTTP/1.1 "


async def test_http_connect_reaches_the_target(web: FakeNetwork) -> None:
    async with asking(web, b"CONNECT web.test:80 HTTP/1.1\r\nHost: web.test:80\r\n\r\n") as client:
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await client.read(1)
        assert answer.startswith(b"HTTP/1.1 200 ")
        await client.send(b"hello")
        assert await client.read(5) == b"hello"


async def test_a_web_page_cannot_speak_to_the_port(web: FakeNetwork) -> None:
    request = (
        b"POST /anything HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nOrigin: http://evil.test\r\nContent-Length: 0\r\n\r\n"
    )
    async with asking(web, request) as client:
        assert (await client.read_all()).split()[1][:1] == b"4"


# Users


@pytest.mark.parametrize("user", [("alice", "secret"), ("bob", "other")], ids=["alice", "bob"])
async def test_every_user_gets_in_with_socks5_and_http(web: FakeNetwork, user: tuple[str, str]) -> None:
    async with serving(web, USERS) as served:
        for kind in (ProxyType.SOCKS5, ProxyType.HTTP):
            proxy = Proxy(
                proxy_type=kind, host="127.0.0.1", port=served.port, username=user[0], password=user[1], rdns=True
            )
            stream = await proxy.connect(dest_host="web.test", dest_port=80)
            await stream.write(b"hello")
            assert await stream.read_exactly(5) == b"hello"
            await stream.close()


@pytest.mark.parametrize("user", [("alice", "other"), ("carol", "secret"), ("alice", "")])
async def test_nobody_else_gets_in(web: FakeNetwork, user: tuple[str, str]) -> None:
    async with serving(web, USERS) as served:
        for kind in (ProxyType.SOCKS5, ProxyType.HTTP, ProxyType.SOCKS4):
            proxy = Proxy(
                proxy_type=kind, host="127.0.0.1", port=served.port, username=user[0], password=user[1], rdns=True
            )
            with pytest.raises(ProxyError):
                await proxy.connect(dest_host="web.test", dest_port=80)
    assert web.streams == []


async def test_no_secret_is_logged(web: FakeNetwork, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with asking(web, ask_4(WEB).replace(b"me", b"userid-of-mine"), USERS) as client:
        assert await client.read_all() == fail_4(0)
    assert "use SOCKS5" in caplog.text
    assert "userid-of-mine" not in caplog.text
    assert "secret" not in repr(USERS)


# Strangers' clients


@pytest.mark.parametrize("host", ["web.test", WEB])
@pytest.mark.parametrize("kind", [ProxyType.SOCKS4, ProxyType.SOCKS5, ProxyType.HTTP])
async def test_python_socks_gets_through(web: FakeNetwork, kind: ProxyType, host: str) -> None:
    async with serving(web) as served:
        stream = await Proxy(proxy_type=kind, host="127.0.0.1", port=served.port, rdns=True).connect(
            dest_host=host, dest_port=80
        )
        await stream.write(b"hello")
        assert await stream.read_exactly(5) == b"hello"
        await stream.close()


async def test_socksio_reads_the_answers_of_socks4_and_socks4a(web: FakeNetwork) -> None:
    requests = (
        peer4.SOCKS4Request.from_address(peer4.SOCKS4Command.CONNECT, (WEB, 80), user_id=b"me"),
        peer4.SOCKS4ARequest.from_address(peer4.SOCKS4Command.CONNECT, ("web.test", 80), user_id=b"me"),
        peer4.SOCKS4Request.from_address(peer4.SOCKS4Command.CONNECT, ("10.0.0.9", 80), user_id=b"me"),
    )
    codes = []
    async with serving(web) as served:
        for request in requests:
            peer = peer4.SOCKS4Connection(user_id=b"me")
            async with await served.open() as client:
                peer.send(request)
                await client.send(peer.data_to_send())
                codes.append(peer.receive_data(await client.read(8)).reply_code)
    granted, rejected = peer4.SOCKS4ReplyCode.REQUEST_GRANTED, peer4.SOCKS4ReplyCode.REQUEST_REJECTED_OR_FAILED
    assert codes == [granted, granted, rejected]


async def test_socksio_reads_the_answers_of_socks5(web: FakeNetwork) -> None:
    async with serving(web, USERS) as served, await served.open() as client:
        peer = peer5.SOCKS5Connection()
        peer.send(peer5.SOCKS5AuthMethodsRequest([peer5.SOCKS5AuthMethod.USERNAME_PASSWORD]))
        await client.send(peer.data_to_send())
        peer.receive_data(await client.read(2))
        peer.send(peer5.SOCKS5UsernamePasswordRequest(b"bob", b"other"))
        await client.send(peer.data_to_send())
        peer.receive_data(await client.read(2))
        peer.send(peer5.SOCKS5CommandRequest.from_address(peer5.SOCKS5Command.CONNECT, ("web.test", 80)))
        await client.send(peer.data_to_send())
        answer = peer.receive_data(await client.read(10))
        assert isinstance(answer, peer5.SOCKS5Reply)
        assert answer.reply_code is peer5.SOCKS5ReplyCode.SUCCEEDED
        assert (answer.addr, answer.port) == ("10.9.0.2", 40001)
