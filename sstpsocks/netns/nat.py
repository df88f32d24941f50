"""Opens outside what programs in the namespace ask for: each connection, datagram and echo request through the outlet.

So the same rules hold as for the proxy, and nothing takes another way: what no rule leads out is refused. Names are
answered at the gateway's address, by the desk that answers them everywhere.
"""

from __future__ import annotations

import logging
from functools import partial
from ipaddress import ip_address
from typing import Protocol

import trio

from ..dns.desk import Desk
from ..dns.listener import MAX_CONNECTIONS, DnsConnection
from ..errors import ConnectTimedOut, NetworkUnreachable, SstpsocksError, TunnelDown
from ..net.config import StackConfig
from ..net.gateway import DatagramArrived, EchoArrived, Gateway, GatewayEvent, Opening
from ..net.udp import UdpEndpoint
from ..proxy.outlet import Outlet, PacketOutlet
from ..tunnel.entropy_source import SystemEntropy
from ..tunnel.network import TunnelStream
from ..tunnel.streams import TcpAcceptor, TcpStream
from .plan import DNS_PORT, GATEWAY, GATEWAY6
from .pump import TunPump
from .sessions import Sessions
from .splice import Splice

MAX_ECHOES = 256
"""Echo requests that wait for replies; more are dropped."""
QUIET = 0.5
"""Seconds without anything to deliver after which those that have ended are taken to have said all."""
_LOOK = 0.01
_HEADERS = {4: 20, 6: 40}


class NatOutlet(Outlet, PacketOutlet, Protocol):
    """What leads out: connections and datagrams by address, and what only networks of packets have."""


_logger = logging.getLogger("sstpsocks.netns")


class Nat:
    """Serves one device until cancelled, or until its namespace is gone."""

    def __init__(self, outlet: NatOutlet, desk: Desk, nursery: trio.Nursery, *, max_connections: int) -> None:
        self._outlet = outlet
        self._desk = desk
        self._nursery = nursery
        # On a link where nothing is lost or late, what is over need not be remembered for long.
        config = StackConfig(max_connections=max_connections, msl=1.0, icmp_errors_per_second=1000.0)
        self.gateway = Gateway(GATEWAY, GATEWAY6, entropy=SystemEntropy(), config=config)
        self._splices: set[Splice] = set()
        self._echoes = 0
        self._questions: set[DatagramArrived] = set()

    async def serve(self, descriptor: int, mtu: int) -> None:
        """Serve a device, whose descriptor is closed at the end."""
        gateway = self.gateway
        self._pump = pump = TunPump(descriptor, gateway, mtu, self._decide, self._outlet.together)
        self._sessions = Sessions(gateway, pump, self._outlet, self._nursery)
        self._names = gateway.open_udp(local_port=DNS_PORT)
        self._names.notify = self._take_questions
        acceptor = TcpAcceptor(gateway.listen_tcp(DNS_PORT), pump)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sessions.end_idle)
                nursery.start_soon(self._answer_by_tcp, acceptor)
                await pump.run()
                nursery.cancel_scope.cancel()
        finally:
            pump.close()
            for splice in list(self._splices):
                splice.abort()
            self._sessions.close()

    @property
    def connections(self) -> int:
        """TCP connections of programs that stand."""
        return len(self._splices)

    async def drain(self) -> None:
        """Wait until what programs have sent by TCP is delivered; not for those that live on and say nothing.

        The kernel goes on sending for a program that has ended, and a connection that has ended for us may still have
        octets on the way.
        """
        quiet_since = trio.current_time()
        before: dict[Splice, int] = {}
        while not all(splice.delivered for splice in self._splices):
            now = trio.current_time()
            waiting = {splice: splice.waiting for splice in self._splices if not splice.delivered}
            if waiting != before or any(waiting.values()):
                quiet_since = now
            if now - quiet_since > QUIET:
                return
            before = waiting
            await trio.sleep(_LOOK)

    def _decide(self, event: GatewayEvent) -> None:
        if isinstance(event, Opening):
            self._open(event)
        elif isinstance(event, DatagramArrived):
            self._sessions.send(event)
        elif self._echoes < MAX_ECHOES:
            self._echoes += 1
            self._nursery.start_soon(self._answer_echo, event)

    # TCP

    def _open(self, opening: Opening) -> None:
        try:
            stream = self._outlet.begin(*opening.target)
        except SstpsocksError as error:
            self._refuse(opening, error)
            return
        if stream is None:
            self._nursery.start_soon(self._dial, opening)
        else:
            stream.set_readable_callback(partial(self._settled, opening, stream))
            self._settled(opening, stream)

    async def _dial(self, opening: Opening) -> None:
        try:
            stream = await self._outlet.open_tcp_stream(*opening.target)
        except SstpsocksError as error:
            self._refuse(opening, error)
        else:
            self._join(opening, stream)
        self._pump.flush()

    def _settled(self, opening: Opening, stream: TunnelStream) -> None:
        """Look what became of a connection that was begun; called in the tunnel's turn."""
        if stream.failure is not None:
            stream.set_readable_callback(None)
            stream.abort()
            failure = stream.failure
            self._refuse(opening, failure if isinstance(failure, SstpsocksError) else NetworkUnreachable(str(failure)))
        elif stream.connected:
            self._join(opening, stream)
        self._pump.flush()

    def _refuse(self, opening: Opening, error: SstpsocksError) -> None:
        _logger.debug("%s port %s: %s", *opening.target, error)
        self.gateway.refuse(opening, error)

    def _join(self, opening: Opening, stream: TunnelStream) -> None:
        connection = self.gateway.accept(opening, self._pump.now())
        if connection is None:
            stream.abort()
            return
        splice = Splice(TcpStream(connection, self._pump), stream, self._nursery, self._splices.discard)
        self._splices.add(splice)
        splice.start()

    # ICMP

    async def _answer_echo(self, request: EchoArrived) -> None:
        address = ip_address(request.target)
        try:
            await self._outlet.ping(address, _HEADERS[address.version] + len(request.message))
        except ConnectTimedOut:
            return
        except SstpsocksError as error:
            self.gateway.refuse_echo(request, error)
        else:
            self.gateway.answer_echo(request)
        finally:
            self._echoes -= 1
        self._pump.flush()

    # Names

    def _take_questions(self) -> None:
        while (received := self._names.receive_from()) is not None:
            payload, source = received
            question = DatagramArrived(source, (GATEWAY, DNS_PORT), payload)
            # A program that asks again while the first question is under way gets one answer.
            if question not in self._questions:
                self._questions.add(question)
                self._nursery.start_soon(self._answer, question, self._names)

    async def _answer(self, question: DatagramArrived, names: UdpEndpoint) -> None:
        try:
            reply = await self._desk.respond(question.payload, question.source, udp=True)
            if reply is not None and not names.closed:
                names.send_to(reply, question.source)
                self._pump.flush()
        finally:
            self._questions.discard(question)

    async def _answer_by_tcp(self, acceptor: TcpAcceptor) -> None:
        room = trio.CapacityLimiter(MAX_CONNECTIONS)
        while True:
            client = object()
            await room.acquire_on_behalf_of(client)
            try:
                stream = await acceptor.accept()
            except TunnelDown:
                return  # the namespace is gone
            self._nursery.start_soon(self._serve_names, stream, client, room)

    async def _serve_names(self, stream: TcpStream, client: object, room: trio.CapacityLimiter) -> None:
        try:
            async with stream:
                await DnsConnection(stream, self._desk, client).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _logger.debug("a DNS connection ended: %s", error)
        finally:
            room.release_on_behalf_of(client)
