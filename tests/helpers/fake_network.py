"""An in-memory Network: targets are handlers in a nursery, and its DNS server answers from a dictionary."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from sstpsocks.errors import ConnectionLost, ConnectionRefused, TunnelDown
from sstpsocks.tunnel.network import IPAddress, SocketAddress, TunnelStream
from tests.helpers.fake_ports import FakeListener, FakeUdpPort

LOCAL_ADDRESS = IPv4Address("10.9.0.2")
DNS_SERVER = IPv4Address("10.9.0.53")
CAPACITY = 65536


class Direction:
    """One direction of an in-memory connection: a bounded buffer."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.failure: Exception | None = None
        self.reader_gone = False
        self.changed = trio.lowlevel.ParkingLot()
        self.callback: Callable[[], None] | None = None

    def notify(self) -> None:
        self.changed.unpark_all()
        if self.callback is not None:
            self.callback()


class FakeTunnelStream(TunnelStream):
    """One end of an in-memory connection with the whole interface of TunnelStream."""

    connected = True

    def __init__(self, incoming: Direction, outgoing: Direction, local: SocketAddress, remote: SocketAddress) -> None:
        self._incoming = self.incoming = incoming
        self._outgoing = outgoing
        self._addresses = (local, remote)
        self._closed = False
        self._sending = False
        self._receiving = False
        self.aborted = False

    @property
    def local_address(self) -> SocketAddress:
        return self._addresses[0]

    @property
    def remote_address(self) -> SocketAddress:
        return self._addresses[1]

    @property
    def closed(self) -> bool:
        return self._closed

    def _check_sendable(self) -> None:
        if self._closed or self._outgoing.ended:
            raise trio.ClosedResourceError
        if self._outgoing.failure is not None:
            raise trio.BrokenResourceError from self._outgoing.failure
        if self._outgoing.reader_gone:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._sending:
            raise trio.BusyResourceError
        self._sending = True
        try:
            self._check_sendable_or_room()
            while len(self._outgoing.buffer) >= CAPACITY:
                await self._outgoing.changed.park()
                self._check_sendable_or_room()
        finally:
            self._sending = False

    def _check_sendable_or_room(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        self._check_sendable()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            rest = memoryview(data)
            while len(rest):
                sent = self.send_nowait(rest)
                rest = rest[sent:]
                if len(rest):
                    await self._outgoing.changed.park()
                    self._check_sendable()
        finally:
            self._sending = False

    def send_nowait(self, data: bytes | memoryview) -> int:
        self._check_sendable()
        count = min(len(data), CAPACITY - len(self._outgoing.buffer))
        if count > 0:
            self._outgoing.buffer += data[:count]
            self._outgoing.notify()
        return max(count, 0)

    async def send_eof(self) -> None:
        if self._sending:
            raise trio.BusyResourceError
        await trio.lowlevel.checkpoint()
        self.send_eof_nowait()

    def send_eof_nowait(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        self._outgoing.ended = True
        self._outgoing.notify()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        if self._receiving:
            raise trio.BusyResourceError
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError
                if self._incoming.failure is not None:
                    raise trio.BrokenResourceError from self._incoming.failure
                if self._incoming.buffer or self._incoming.ended:
                    data = bytes(self._incoming.buffer[: max_bytes or CAPACITY])
                    self.consume(len(data))
                    return data
                await self._incoming.changed.park()
        finally:
            self._receiving = False

    def set_readable_callback(self, callback: Callable[[], None] | None) -> None:
        self._incoming.callback = callback

    def readable_pieces(self) -> list[memoryview]:
        return [memoryview(bytes(self._incoming.buffer))] if self._incoming.buffer else []

    def consume(self, count: int) -> None:
        del self._incoming.buffer[:count]
        if count:
            self._incoming.changed.unpark_all()

    @property
    def at_eof(self) -> bool:
        return self._incoming.failure is None and self._incoming.ended and not self._incoming.buffer

    @property
    def failure(self) -> Exception | None:
        return self._incoming.failure

    def abort(self) -> None:
        self.aborted = True
        self._closed = True
        self._fail(ConnectionLost("the peer reset the connection"))

    def break_connection(self, error: Exception | None = None) -> None:
        """As if the tunnel had gone away: both ends see a failure, nothing is closed."""
        self._fail(error or ConnectionLost("the tunnel went away"))

    def _fail(self, error: Exception) -> None:
        for direction in (self._incoming, self._outgoing):
            direction.failure = error
            direction.notify()

    async def aclose(self) -> None:
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def close_nowait(self) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.ended = True
            self._incoming.reader_gone = True
            self._outgoing.notify()
            self._incoming.notify()


def stream_pair(client: SocketAddress, server: SocketAddress) -> tuple[FakeTunnelStream, FakeTunnelStream]:
    """Two connected ends."""
    upward, downward = Direction(), Direction()
    return FakeTunnelStream(downward, upward, client, server), FakeTunnelStream(upward, downward, server, client)


class FakeDatagrams:
    """A UDP socket connected to a DNS server."""

    def __init__(self, answer: Callable[[bytes], list[bytes]], local: SocketAddress, remote: SocketAddress) -> None:
        self._answer = answer
        self._addresses = (local, remote)
        self._queue: deque[bytes | Exception] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self.closed = False

    @property
    def local_address(self) -> SocketAddress:
        return self._addresses[0]

    @property
    def remote_address(self) -> SocketAddress:
        return self._addresses[1]

    async def send(self, payload: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        try:
            self._queue.extend(self._answer(payload))
        except Exception as error:
            # What ICMP would report comes to the reader.
            self._queue.append(error)
        self._changed.unpark_all()

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self.closed:
                raise trio.ClosedResourceError
            if self._queue:
                item = self._queue.popleft()
                if isinstance(item, Exception):
                    raise item
                return item
            await self._changed.park()

    def close(self) -> None:
        self.closed = True
        self._changed.unpark_all()


Responder = Callable[[dns.message.Message, str], "dns.message.Message | list[bytes] | None"]
"""Gets a query and "udp" or "tcp"; gives the response, raw messages, or None for silence."""


@dataclass
class FakeDns:
    """A DNS server: ``records[("web.test", "A")] = ["10.0.0.1"]``, names that are not there do not exist."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ttl: int = 300
    soa: tuple[int, int] | None = (300, 60)
    """TTL and MINIMUM of the SOA in negative answers, None for answers without one."""
    rcode: dns.rcode.Rcode | None = None
    truncate: bool = False
    silent: bool = False
    lose: int = 0
    """How many queries to lose before answering."""
    responder: Responder | None = None
    queries: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, type and transport of each query that arrived."""
    ids: list[int] = field(default_factory=list)
    sockets: list[FakeDatagrams] = field(default_factory=list)

    def answer(self, wire: bytes, transport: str) -> list[bytes]:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.queries.append((name, dns.rdatatype.to_text(question.rdtype), transport))
        self.ids.append(query.id)
        if self.silent:
            return []
        if self.lose > 0:
            self.lose -= 1
            return []
        if self.responder is not None:
            given = self.responder(query, transport)
            if given is None:
                return []
            return given if isinstance(given, list) else [given.to_wire()]
        if self.truncate and transport == "udp":
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC
            return [response.to_wire()]
        return [self.respond(query).to_wire(max_size=65535)]

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        if self.rcode is not None:
            response.set_rcode(self.rcode)
            return response
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True).lower()
        for _ in range(32):
            found = self.records.get((name, kind))
            if found is not None:
                # One set for each: dnspython shuffles the members of a set when it writes one.
                response.answer += [dns.rrset.from_text(name + ".", self.ttl, "IN", kind, text) for text in found]
                return response
            alias = self.records.get((name, "CNAME"))
            if alias is None:
                break
            response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self.soa is not None:
            ttl, minimum = self.soa
            text = f"ns.test. admin.test. 1 3600 600 86400 {minimum}"
            response.authority.append(dns.rrset.from_text(".", ttl, "IN", "SOA", text))
        return response


Handler = Callable[[FakeTunnelStream], Awaitable[None]]


class FakeNetwork:
    """A tunnel that is up, with one DNS server and the targets that were put into ``targets``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ports = itertools.count(40000)
        self.up = True
        self.local_addresses: tuple[IPAddress, ...] = (LOCAL_ADDRESS,)
        self.dns = FakeDns()
        self.dns_hosts: dict[IPAddress, FakeDns] = {DNS_SERVER: self.dns}
        self.dns_servers: tuple[IPAddress, ...] = (DNS_SERVER,)
        self.search_domains: tuple[str, ...] = ()
        self.targets: dict[SocketAddress, Handler | Exception | None] = {}
        """A handler serves, an exception is raised by connect_tcp, None never answers. Not listed: refused."""
        self.dialled: list[SocketAddress] = []
        self.dials_cancelled = 0
        self.streams: list[FakeTunnelStream] = []
        self.listeners: list[FakeListener] = []
        self.udp_ports: list[FakeUdpPort] = []

    def add(self, address: str, port: int, target: Handler | Exception | None) -> None:
        self.targets[(ip_address(address), port)] = target

    async def connect_tcp(self, address: IPAddress, port: int) -> FakeTunnelStream:
        await trio.lowlevel.checkpoint()
        target = self._dial(address, port)
        if target is None:
            try:
                await trio.sleep_forever()
            finally:
                self.dials_cancelled += 1
        if isinstance(target, Exception):
            raise target
        assert target is not None
        ours, theirs = stream_pair((LOCAL_ADDRESS, next(self._ports)), (address, port))
        self.streams.append(ours)
        self._nursery.start_soon(self._serve, target, theirs)
        return ours

    def begin_connect(self, address: IPAddress, port: int) -> FakeTunnelStream:
        target = self._dial(address, port)
        ours, theirs = stream_pair((LOCAL_ADDRESS, next(self._ports)), (address, port))
        ours.connected = False
        self._nursery.start_soon(self._answer, target, ours, theirs)
        return ours

    def _dial(self, address: IPAddress, port: int) -> Handler | Exception | None:
        if not self.up:
            raise TunnelDown("the tunnel is down")
        self.dialled.append((address, port))
        if port == 53 and address in self.dns_hosts:
            return self._dns_over_tcp(self.dns_hosts[address])
        return self.targets.get((address, port), ConnectionRefused(f"{address} port {port} refused"))

    async def _answer(
        self, target: Handler | Exception | None, ours: FakeTunnelStream, theirs: FakeTunnelStream
    ) -> None:
        """Let a connection that was begun stand or fail, or wait until it is given up."""
        await trio.lowlevel.checkpoint()
        if isinstance(target, Exception):
            ours.break_connection(target)
        elif target is None:
            while ours.failure is None:
                await ours.incoming.changed.park()
            self.dials_cancelled += 1
        else:
            ours.connected = True
            self.streams.append(ours)
            ours.incoming.notify()
            await self._serve(target, theirs)

    async def _serve(self, handler: Handler, stream: FakeTunnelStream) -> None:
        try:
            await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await stream.aclose()

    def open_udp(self, address: IPAddress, port: int) -> FakeDatagrams:
        if not self.up:
            raise TunnelDown("the tunnel is down")
        assert port == 53
        server = self.dns_hosts[address]
        local = (LOCAL_ADDRESS, next(self._ports))
        datagrams = FakeDatagrams(lambda wire: server.answer(wire, "udp"), local, (address, port))
        server.sockets.append(datagrams)
        return datagrams

    def listen_tcp(self, port: int = 0, *, peer: IPAddress | None = None) -> FakeListener:
        if not self.up:
            raise TunnelDown("the tunnel is down")
        listener = FakeListener((LOCAL_ADDRESS, port or next(self._ports)), peer)
        self.listeners.append(listener)
        return listener

    def open_udp_port(self, port: int = 0) -> FakeUdpPort:
        if not self.up:
            raise TunnelDown("the tunnel is down")
        opened = FakeUdpPort((LOCAL_ADDRESS, port or next(self._ports)))
        self.udp_ports.append(opened)
        return opened

    def _dns_over_tcp(self, server: FakeDns) -> Handler:
        async def serve(stream: FakeTunnelStream) -> None:
            received = b""
            while data := await stream.receive_some():
                received += data
                if len(received) >= 2 and len(received) >= 2 + int.from_bytes(received[:2], "big"):
                    messages = server.answer(received[2:], "tcp")
                    for message in messages:
                        await stream.send_all(len(message).to_bytes(2, "big") + message)
                    if messages:
                        return
                    received = b""

        return serve


async def echo(stream: FakeTunnelStream) -> None:
    """A target that sends back what it gets, and ends when its peer ends."""
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.send_eof()
