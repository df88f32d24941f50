"""The private network behind the demo server: a name zone, a web page, a download, an echo, on our own stack."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import h11
import trio

from ..errors import TunnelDown
from ..net.autoconf.advertisement import (
    ROUTER_ADVERTISEMENT,
    PrefixInformation,
    RecursiveServers,
    RouterAdvertisement,
)
from ..net.autoconf.lifetimes import INFINITE
from ..net.autoconf.router import ALL_NODES
from ..net.autoconf.slaac import link_local_address
from ..net.stack import Stack
from ..tunnel.datagrams import UdpAcceptor
from ..tunnel.ipv6 import MIN_MTU as MIN_IPV6_MTU
from ..tunnel.streams import Pump, TcpAcceptor, TcpStream

GATEWAY = IPv4Address("10.99.0.1")
"""The demo server's address in the tunnel; every service of the intranet is there."""

GATEWAY6 = IPv6Address("fd53:5354:5000::1")
"""The same by IPv6, where the server offers it."""
PREFIX6 = IPv6Network("fd53:5354:5000::/64")
"""What clients make their addresses from."""

ZONE = "intranet.demo"
"""Names that resolve: the zone itself and everything below, except what starts with "nx".

What starts with "v6" has only an IPv6 address, everything else only an IPv4 address."""

DNS_PORT = 53
HTTP_PORT = 80
ECHO_PORT = 7
REFUSED_PORT = 81
"""A port where nothing listens: connections are refused."""

DOWNLOAD_SIZE = 16 * 1024 * 1024
_CHUNK_SIZE = 64 * 1024
_TTL = 60

PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>It works</title></head>
<body><h1>Hello from the private network</h1>
<p>This page came through SSTP, PPP and a userspace TCP/IP stack.</p>
<p><a href="/download">A download of 16 MiB</a>, <a href="/download.sha256">its SHA-256</a>.</p>
</body></html>
"""


def download_chunk(index: int) -> bytes:
    """Return the ``index``-th 64 KiB of the download: reproducible and not compressible by repetition."""
    return hashlib.shake_128(f"sstpsocks demo {index}".encode()).digest(_CHUNK_SIZE)


def download_sha256() -> str:
    """Return the SHA-256 of the download in hexadecimal."""
    digest = hashlib.sha256()
    for index in range(DOWNLOAD_SIZE // _CHUNK_SIZE):
        digest.update(download_chunk(index))
    return digest.hexdigest()


def serve_intranet(stack: Stack, pump: Pump) -> Coroutine[object, object, None]:
    """Open the ports of all services on one client's stack, and return what serves them until cancelled.

    The ports are open on return: the client, which knows that the tunnel is up, may be quicker than a task.
    """
    services = ((HTTP_PORT, serve_http), (ECHO_PORT, serve_echo), (DNS_PORT, serve_dns_stream))
    listening = [(TcpAcceptor(stack.listen_tcp(port), pump), handler) for port, handler in services]
    name_server = UdpAcceptor(stack.open_udp(local_port=DNS_PORT), pump)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            for acceptor, handler in listening:
                nursery.start_soon(_serve_tcp, acceptor, handler)
            nursery.start_soon(_serve_dns, name_server)

    return serve()


def offer_ipv6(stack: Stack, identifier: bytes) -> None:
    """Take our IPv6 addresses and advertise ourselves to the client, with its prefix and name server, for good.

    Once is enough: the tunnel loses nothing. Does nothing on a link that is too small for IPv6. ``identifier``: our
    interface identifier by IPV6CP.
    """
    if stack.mtu < MIN_IPV6_MTU:
        return
    own = link_local_address(identifier)
    stack.add_address(own, 64)
    stack.add_address(GATEWAY6, 64)
    advertisement = RouterAdvertisement(
        router_lifetime=9000,
        prefixes=(PrefixInformation(PREFIX6, INFINITE, INFINITE),),
        servers=(RecursiveServers((GATEWAY6,), INFINITE),),
    )
    stack.send_icmp6(own, ALL_NODES, ROUTER_ADVERTISEMENT, 0, advertisement.to_bytes()[4:])


async def _serve_tcp(acceptor: TcpAcceptor, handler: Callable[[TcpStream], Awaitable[None]]) -> None:
    async def serve(stream: TcpStream) -> None:
        try:
            async with stream:
                await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        while True:
            try:
                stream = await acceptor.accept()
            except TunnelDown:
                return
            nursery.start_soon(serve, stream)


async def serve_echo(stream: TcpStream) -> None:
    """Send back what comes (RFC 862), and end when the peer does."""
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


# DNS


async def _serve_dns(udp: UdpAcceptor) -> None:
    while True:
        wire, source = await udp.receive_from()
        answer = answer_query(wire)
        if answer is not None:
            await udp.send_to(answer, source)


async def serve_dns_stream(stream: TcpStream) -> None:
    """Answer queries that come with a length in front (RFC 1035 section 4.2.2)."""
    buffer = bytearray()
    async for data in stream:
        buffer += data
        while len(buffer) >= 2 and len(buffer) >= 2 + (size := int.from_bytes(buffer[:2], "big")):
            answer = answer_query(bytes(buffer[2 : 2 + size]))
            del buffer[: 2 + size]
            if answer is not None:
                await stream.send_all(len(answer).to_bytes(2, "big") + answer)


def answer_query(wire: bytes) -> bytes | None:
    """Return the zone's answer to a query, None when it is no query."""
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None
    if query.flags & dns.flags.QR or len(query.question) != 1:
        return None
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    question = query.question[0]
    zone = dns.name.from_text(ZONE)
    if not question.name.is_subdomain(zone) or question.name.labels[0].startswith(b"nx"):
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(
            dns.rrset.from_text(zone, _TTL, "IN", "SOA", f"ns.{ZONE}. admin.{ZONE}. 1 3600 600 86400 {_TTL}")
        )
        return response.to_wire()
    only_ipv6 = question.name.labels[0].lower().startswith(b"v6")
    if question.rdtype == dns.rdatatype.AAAA and only_ipv6:
        response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", "AAAA", str(GATEWAY6)))
    elif question.rdtype == dns.rdatatype.A and not only_ipv6:
        response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", "A", str(GATEWAY)))
    return response.to_wire()


# HTTP


async def serve_http(stream: TcpStream) -> None:
    """Serve the page and the download (RFC 9112), one request after the other."""
    connection = h11.Connection(h11.SERVER)
    try:
        while await _serve_request(stream, connection):
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await _respond(stream, connection, error.error_status_hint, b"bad request\n")
    await stream.send_eof()


async def _serve_request(stream: TcpStream, connection: h11.Connection) -> bool:
    """Serve one request; return whether another may follow."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            await _answer(stream, connection, request)
            return connection.our_state is h11.DONE and connection.their_state is h11.DONE
        elif isinstance(event, h11.ConnectionClosed):
            return False


async def _answer(stream: TcpStream, connection: h11.Connection, request: h11.Request) -> None:
    path = request.target.split(b"?")[0]
    # RFC 9110 section 9.3.2: "the server MUST NOT send content in the response" to HEAD.
    head = request.method == b"HEAD"
    if request.method not in (b"GET", b"HEAD"):
        await _respond(stream, connection, 405, b"method not allowed\n")
    elif path == b"/":
        await _respond(stream, connection, 200, PAGE, b"text/html; charset=utf-8", head=head)
    elif path == b"/download.sha256":
        await _respond(stream, connection, 200, f"{download_sha256()}  download\n".encode(), head=head)
    elif path == b"/download":
        await _respond_with_download(stream, connection, head=head)
    else:
        await _respond(stream, connection, 404, b"not found\n", head=head)


async def _respond(
    stream: TcpStream,
    connection: h11.Connection,
    status: int,
    body: bytes,
    kind: bytes = b"text/plain",
    *,
    head: bool = False,
) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    answer = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    if not head:
        answer += connection.send(h11.Data(data=body)) or b""
    await stream.send_all(answer + (connection.send(h11.EndOfMessage()) or b""))


async def _respond_with_download(stream: TcpStream, connection: h11.Connection, *, head: bool) -> None:
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % DOWNLOAD_SIZE)]
    await stream.send_all(connection.send(h11.Response(status_code=200, headers=headers)) or b"")
    for index in range(0 if head else DOWNLOAD_SIZE // _CHUNK_SIZE):
        if data := connection.send(h11.Data(data=download_chunk(index))):
            await stream.send_all(data)
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
