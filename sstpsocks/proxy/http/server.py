"""Serves HTTP to one local program: CONNECT, requests to be forwarded, one after the other, and this port's own pages.

A connection to a server is kept for the next request of the same client connection, never for another: what logged one
program in must not serve another one. Log lines carry the connection's number; names of targets appear at DEBUG only.
"""

from __future__ import annotations

import logging
import socket
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import trio

from ...errors import DialError, TooManyConnections
from ..relay import Relay, reset_socket
from ..socks.attempt import Attempt
from ..waiting import open_while_watching
from .answers import Answer, answer_to_dial_error, answer_to_message_error, status_line
from .client import READ_SIZE, Client
from .conversation import ConnectConversation
from .exchange import Exchange, Outcome, ServerConnection
from .forwarding import ForwardRequest
from .head import MessageError, write_head
from .machine import ClientEnded, ConnectRequested, Event, PageRequested, ProxyMachine, Refused, State
from .target import Authority

if TYPE_CHECKING:
    from ...tunnel.network import TunnelStream
    from ..context import ConnectionContext

KEEP_ALIVE_IDLE = 60.0
"""Seconds a client may be silent between two requests."""
HEAD_TIME = 10.0
"""Seconds a client has for the head of a request that is not its first, from its first byte on."""
CERTAIN_FOR = 2.0
"""Seconds for which a server is trusted not to end an idle connection; common servers do after 5 or more."""

_logger = logging.getLogger("sstpsocks.proxy")


async def serve_http(client: socket.socket, first: bytes, context: ConnectionContext) -> None:
    """Serve a client, whose socket does not block and who sent ``first`` already, until it or we are done.

    Closes the socket, except when it raises: OSError, BrokenResourceError or ClosedResourceError: the client is gone.
    """
    machine = ProxyMachine(context.users.check if context.users.required else None, _own_address(client))
    if first:
        machine.receive_data(first)
    session = _Session(Client(client, machine), context)
    try:
        await session.run()
    finally:
        session.drop_server(in_order=True)


class _Session:
    """One client's connection."""

    def __init__(self, client: Client, context: ConnectionContext) -> None:
        self._client = client
        self._context = context
        self._server: ServerConnection | None = None
        self._requests = 0

    def drop_server(self, *, in_order: bool) -> None:
        """End the connection to the server: ``in_order``, or by a reset, so that half a request is not taken for it."""
        if self._server is not None:
            if in_order:
                self._server.stream.close_nowait()
            else:
                self._server.stream.abort()
            self._server = None

    async def run(self) -> None:
        """Serve request after request."""
        client, number = self._client, self._context.number
        while True:
            try:
                event = await self._next_event()
            except MessageError as error:
                _logger.info("connection %d: refused, %s", number, error)
                await client.finish(answer_to_message_error(error).to_bytes())
                return
            self._context.forget_overdue()
            self._requests += 1
            if not await self._serve(event):
                return

    async def _next_event(self) -> Event | None:
        """Return what the client wants next, None when it wanted nothing for long."""
        client = self._client
        if not self._requests:
            return await client.next_event()  # whoever accepts connections looks at the clock
        machine = client.machine
        with trio.move_on_after(HEAD_TIME if machine.started else KEEP_ALIVE_IDLE) as scope:
            while (event := machine.next_event()) is None:
                silent = not machine.started
                await client.read()
                if silent and machine.started:
                    scope.deadline = trio.current_time() + HEAD_TIME
            return event
        if machine.started:
            raise MessageError("the request did not come in time", status=408)
        return None

    async def _serve(self, event: Event | None) -> bool:
        """Serve one request; return whether another one may follow."""
        client, number = self._client, self._context.number
        if event is None or isinstance(event, ClientEnded):
            await client.finish()
        elif isinstance(event, Refused):
            _logger.info("connection %d: refused, status %d", number, event.answer.status)
            return await self._answer(event.answer, head_only=event.head_only, keep_alive=event.keep_alive)
        elif not self._context.served:
            await self._refuse(TooManyConnections("too many connections at once"))
        elif isinstance(event, PageRequested):
            await self._page(event)
        elif isinstance(event, ConnectRequested):
            await self._connect(event.authority)
        elif isinstance(event, ForwardRequest):
            return await self._forward(event)
        return False

    async def _answer(self, answer: Answer, *, head_only: bool = False, keep_alive: bool = False) -> bool:
        data = answer.to_bytes(head_only=head_only, keep_alive=keep_alive)
        if keep_alive:
            await self._client.send(data)
            self._client.machine.next_request()
        else:
            await self._client.finish(data)
        return keep_alive

    async def _refuse(self, error: DialError, request: ForwardRequest | None = None) -> bool:
        answer = answer_to_dial_error(error)
        _logger.info(
            "connection %d: refused, %s (status %d)", self._context.number, type(error).__name__, answer.status
        )
        _logger.debug("connection %d: %s", self._context.number, error)
        return await self._answer_request(answer, request)

    async def _answer_request(self, answer: Answer, request: ForwardRequest | None) -> bool:
        if request is None:
            return await self._answer(answer)
        keep_alive = request.keep_alive and self._client.machine.state is State.DONE and self._context.served
        return await self._answer(answer, head_only=request.head.method == b"HEAD", keep_alive=keep_alive)

    async def _page(self, event: PageRequested) -> None:
        # Behind a Unix socket the name says nothing: no browser's script can lead there.
        by_network = isinstance(self._context.listen_address, tuple)
        page = self._context.pages(event.path, event.asked if by_network else "")
        if page is None:
            await self._answer(Answer(404, "sstpsocks: there is no such page here."), head_only=event.head_only)
            return
        head = write_head(
            status_line(200),
            [
                (b"Content-Type", page.content_type.encode("ascii")),
                # A web page that loads this as a script, to read the names in it, is not given it.
                (b"X-Content-Type-Options", b"nosniff"),
                (b"Cross-Origin-Resource-Policy", b"same-origin"),
                (b"Cache-Control", b"no-cache"),
                (b"Content-Length", b"%d" % len(page.body)),
                (b"Connection", b"close"),
            ],
        )
        await self._client.finish(head if event.head_only else head + page.body)

    # CONNECT

    async def _connect(self, authority: Authority) -> None:
        """Open a connection, tell the client, and relay."""
        client, context = self._client, self._context
        conversation = ConnectConversation(client.machine.take_rest())
        try:
            relay = await self._open_relay(authority, conversation)
        except DialError as error:
            await self._refuse(error)
            return
        _logger.debug("connection %d: open to %s", context.number, authority)
        whole = await relay.run(conversation.take_early_data(), look=True)
        _logger.debug("connection %d: %s", context.number, "closed" if whole else "reset")

    async def _open_relay(self, authority: Authority, conversation: ConnectConversation) -> Relay:
        client, context = self._client, self._context
        if context.dial_timeout is None:
            stream = context.outlet.begin(authority.host, authority.port)
            if stream is not None:
                return await Attempt(client.socket, conversation, stream, context.nursery).run()
        stream = await self._dial(authority)
        conversation.receive_data(client.machine.take_rest())
        relay = Relay(client.socket, stream, context.nursery)
        try:
            conversation.reply(0)
            await client.send(conversation.data_to_send())
            relay.start()
        except BaseException:
            stream.abort()
            raise
        return relay

    async def _dial(self, authority: Authority) -> TunnelStream:
        """Open a connection, while keeping what the client sends and watching whether it is still there.

        Raises a DialError, or BrokenResourceError when the client went away.
        """
        return await open_while_watching(
            self._watch,
            lambda: self._context.outlet.open_tcp_stream(authority.host, authority.port),
            limit=self._context.dial_timeout,
            overdue=f"{authority.host} did not answer",
        )

    async def _watch(self, scope: trio.CancelScope) -> None:
        machine = self._client.machine
        while machine.buffered < READ_SIZE and not machine.client_ended:
            try:
                await self._client.read()
            except (OSError, trio.ClosedResourceError):
                scope.cancel()
                return
        if machine.client_ended and machine.state is State.TUNNEL and not machine.buffered:
            scope.cancel()  # it will get nothing out of a connection on which it said nothing

    # Forwarding

    async def _forward(self, request: ForwardRequest) -> bool:
        """Pass a request on and its response back; return whether another one may follow."""
        client, number = self._client, self._context.number
        while True:
            server = self._server
            reused = server is not None and server.fits(request, CERTAIN_FOR)
            if server is None or not reused:
                self.drop_server(in_order=True)
                try:
                    server = self._server = ServerConnection(await self._dial(request.authority), request.authority)
                except DialError as error:
                    return await self._refuse(error, request)
                _logger.debug("connection %d: open to %s", number, request.authority)
            exchange = Exchange(client, server, request)
            outcome = Outcome.BROKEN
            try:
                outcome = await exchange.run()
            finally:
                if outcome is not Outcome.SWITCHED and not exchange.reusable:
                    answered = outcome in (Outcome.ANSWERED, Outcome.LAST)
                    self.drop_server(in_order=answered and client.machine.state is State.DONE)
            if not (outcome is Outcome.UNANSWERED and reused and request.repeatable):
                break
        if outcome is Outcome.SWITCHED:
            await self._relay(server)
            return False
        if outcome in (Outcome.UNANSWERED, Outcome.REFUSED):
            _logger.info("connection %d: refused, %s", number, exchange.answer.text)
            return await self._answer_request(exchange.answer, request)
        if outcome is Outcome.ANSWERED:
            client.machine.next_request()
            return True
        if outcome is Outcome.LAST:
            await client.finish()
        else:
            _logger.debug("connection %d: reset", number)
            reset_socket(client.socket)
        return False

    async def _relay(self, server: ServerConnection) -> None:
        """What both sides say now is not HTTP."""
        self._server = None
        relay = Relay(self._client.socket, server.stream, self._context.nursery)
        relay.start()
        whole = await relay.run(self._client.machine.take_rest(), look=True)
        _logger.debug("connection %d: %s", self._context.number, "closed" if whole else "reset")


def _own_address(client: socket.socket) -> str:
    """Return the address that a client reached, an empty text for a Unix socket."""
    name = client.getsockname()
    if not isinstance(name, tuple):
        return ""
    address = ip_address(name[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
