"""What a web page can have a browser send to this machine's ports, and that nothing comes of it.

A page can make the browser that shows it connect to 127.0.0.1 at any port, with a method of GET, HEAD or POST, a path
and a body of the page's choice, but always as to a web server (origin-form), or begin TLS there. By DNS rebinding it
can do that under its own name, and then read what is answered.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import pytest
import trio

from sstpsocks.dns.desk import Desk
from sstpsocks.dns.listener import open_dns_listener
from sstpsocks.dns.replies import make_reply
from sstpsocks.dns.resolver import Resolver
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.proxy.routing.pac import PAC_TYPE
from tests.helpers.fake_network import FakeNetwork, echo

WEB = "10.0.0.1"
CONNECT_TO_WEB = b"\x05\x01\x00" + b"\x05\x01\x00\x01" + bytes((10, 0, 0, 1)) + b"\x00\x50"
"""All that a SOCKS5 client says to be connected."""
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


class SomePage:
    content_type = PAC_TYPE
    body = b"function FindProxyForURL() { return 'PROXY intranet names'; }"


@asynccontextmanager
async def serving(network: FakeNetwork) -> AsyncIterator[int]:
    port = ProxyPort(
        Dialer(network, Resolver(network)), pages=lambda path, _asked: SomePage() if path == "/proxy.pac" else None
    )
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(port.serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
async def web(network: FakeNetwork) -> FakeNetwork:
    network.dns.records["web.test", "A"] = [WEB]
    network.add(WEB, 80, echo)
    return network


async def say(port: int, data: bytes) -> bytes:
    """Send it all and return what comes until the other side ends."""
    answer = b""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(data)
            try:
                while more := await stream.receive_some(65536):
                    answer += bytes(more)
            except trio.BrokenResourceError:
                pass  # a reset ends it as well
    return answer


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{line} HTTP/1.1", *fields, *length, "", "")).encode() + body


PAGE_REQUESTS = {
    "an image": request("GET /logo.png", "Host: 127.0.0.1:1080", "Sec-Fetch-Site: cross-site"),
    "a form": request(
        "POST /", "Host: 127.0.0.1:1080", "Origin: http://evil.test", "Content-Type: text/plain", body=CONNECT_TO_WEB
    ),
    "a form of an old browser": request("POST /", "Host: 127.0.0.1:1080", body=CONNECT_TO_WEB),
    "a form whose body is a request to a proxy": request(
        "POST /", "Host: 127.0.0.1:1080", body=b"\r\n\r\nGET http://10.0.0.1/ HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"
    ),
    "a form whose body is CONNECT": request(
        "POST /", "Host: 127.0.0.1:1080", body=b"\r\nCONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n"
    ),
    "a form in chunks": request("POST /", "Host: 127.0.0.1:1080", "Transfer-Encoding: chunked")
    + b"5\r\nhello\r\n0\r\n\r\nCONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path that looks like an address": request("GET /http://10.0.0.1/", "Host: 127.0.0.1:1080"),
    "a request of HTTP/1.0 without Host": b"GET / HTTP/1.0\r\n\r\n" + CONNECT_TO_WEB,
    "a WebSocket": request(
        "GET /socket", "Host: 127.0.0.1:1080", "Origin: http://evil.test", "Upgrade: websocket", "Connection: Upgrade"
    ),
    "a preflight": request(
        "OPTIONS /",
        "Host: 127.0.0.1:1080",
        "Origin: http://evil.test",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Private-Network: true",
    ),
}


@pytest.mark.parametrize("what", PAGE_REQUESTS)
async def test_a_page_cannot_reach_the_network_through_the_port(web: FakeNetwork, what: str) -> None:
    async with serving(web) as port:
        answer = await say(port, PAGE_REQUESTS[what])
    assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Access-Control-Allow" not in answer
    assert web.streams == []
    assert web.dns.queries == []


async def test_a_page_cannot_talk_socks_within_tls(web: FakeNetwork) -> None:
    async with serving(web) as port:
        answer = await say(port, TLS_HELLO + CONNECT_TO_WEB)
    assert answer == b""
    assert web.streams == []


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:1080", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1"]
)
async def test_a_rebound_name_does_not_read_the_pac_file(web: FakeNetwork, host: str) -> None:
    async with serving(web) as port:
        answer = await say(port, request("GET /proxy.pac", f"Host: {host}"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"intranet" not in answer


@pytest.mark.parametrize(
    "field", ["Origin: http://evil.test", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
)
async def test_another_site_does_not_read_the_pac_file(web: FakeNetwork, field: str) -> None:
    async with serving(web) as port:
        answer = await say(port, request("GET /proxy.pac", "Host: 127.0.0.1", field))
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_the_pac_file_is_no_script_for_another_site(web: FakeNetwork) -> None:
    async with serving(web) as port:
        answer = await say(port, request("GET /proxy.pac", "Host: 127.0.0.1"))
    assert b"intranet" in answer
    assert b"X-Content-Type-Options: nosniff" in answer
    assert b"Cross-Origin-Resource-Policy: same-origin" in answer


# The DNS port, by TCP


class Asked:
    def __init__(self) -> None:
        self.names: list[str] = []

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        self.names.append(str(query.question[0].name))
        return make_reply(query, dns.rcode.NOERROR)


@pytest.fixture
async def dns_port(nursery: trio.Nursery) -> AsyncIterator[tuple[int, Asked]]:
    asked = Asked()
    listener = await open_dns_listener("127.0.0.1", 0)
    nursery.start_soon(listener.serve, Desk(asked))
    yield listener.address[1], asked
    nursery.cancel_scope.cancel()
    listener.close()


def framed(query: dns.message.Message) -> bytes:
    wire = query.to_wire()
    return struct.pack("!H", len(wire)) + wire


@pytest.mark.parametrize("begin", ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "HEAD /x HTTP/1.1\r\n", "OPTIONS * H"])
async def test_a_page_asks_the_dns_port_nothing_by_http(dns_port: tuple[int, Asked], begin: str) -> None:
    """The first two octets are taken for a length; the page knows it, and puts a question of its own behind that."""
    port, asked = dns_port
    head = begin.encode() + b"Host: 127.0.0.1\r\nContent-Length: 99999\r\n\r\n"
    length = 2 + int.from_bytes(head[:2], "big")
    body = bytes(length - len(head)) + framed(dns.message.make_query("secret.evil.test", "A"))
    await say(port, head + body)
    assert asked.names == []
    # What a program asks is answered, also twice on a connection.
    query = framed(dns.message.make_query("web.test", "A"))
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(query + query)
        await stream.send_eof()
        with trio.fail_after(5):
            while await stream.receive_some(4096):
                pass
    assert asked.names == ["web.test.", "web.test."]


async def test_a_page_asks_the_dns_port_nothing_by_tls(dns_port: tuple[int, Asked]) -> None:
    port, asked = dns_port
    length = 2 + int.from_bytes(TLS_HELLO[:2], "big")
    hello = TLS_HELLO + bytes(length - len(TLS_HELLO))
    await say(port, hello + framed(dns.message.make_query("secret.evil.test", "A")))
    assert asked.names == []
