"""Serves SOCKS to one local program, from its first bytes to the end of its connection."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import trio

from ...errors import DialError, RemoteProtocolError, TooManyConnections
from ..relay import Relay, close_socket, read
from .attempt import Attempt, send_now
from .bind import bind
from .conversation import (
    SUCCEEDED,
    AssociateRequested,
    BindRequested,
    ConnectRequested,
    Event,
    Refused,
    SocksConversation,
)
from .machine import SocksMachine
from .socks4 import VERSION as SOCKS4_VERSION
from .socks4 import Socks4Machine
from .udp_associate import associate
from .waiting import wait_for_stream

if TYPE_CHECKING:
    from ..context import ConnectionContext

HANDSHAKE_READ = 2048  # bytes; more than the longest handshake, and a client that says more waits
LINGER_TIME = 1.0  # seconds a refused client has to read its answer
LINGER_BYTES = 65536

_logger = logging.getLogger("sstpsocks.proxy")


async def serve_socks(client: socket.socket, first: bytes, context: ConnectionContext) -> None:
    """Serve a client, whose socket does not block and who has sent ``first``, until it is done.

    Raises OSError, BrokenResourceError or ClosedResourceError when the client is gone.
    """
    users = context.users
    machine: SocksConversation
    if first[:1] == bytes((SOCKS4_VERSION,)):
        machine = Socks4Machine(users_required=users.required)
    else:
        machine = SocksMachine(users.check if users.required else None)
    opened = await _open(client, first, machine, context)
    if opened is not None:
        relay, early_data = opened
        whole = await relay.run(early_data, look=True)
        _logger.debug("connection %d: %s", context.number, "closed" if whole else "reset")


async def _open(
    client: socket.socket, first: bytes, machine: SocksConversation, context: ConnectionContext
) -> tuple[Relay, bytes] | None:
    """Return the relay that has started and what the client sent early, None when the client was told no."""
    number = context.number
    request: Event | None = None
    try:
        request = await _handshake(client, first, machine)
    except RemoteProtocolError as error:
        _logger.info("connection %d: %s", number, error)
    context.forget_overdue()
    if isinstance(request, Refused):
        _logger.info("connection %d: refused, %s", number, request.reason)
    if request is None or isinstance(request, Refused):
        await _finish(client, machine)
        return None
    try:
        if not context.served:
            raise TooManyConnections("there are too many connections")
        if isinstance(request, AssociateRequested):
            await associate(client, machine, request, context)
            return None
        if isinstance(request, BindRequested):
            relay = await bind(client, machine, request, context)
        else:
            relay = await _dial(client, machine, request, context)
    except DialError as error:
        _logger.info("connection %d: refused, %s (reply %d)", number, type(error).__name__, error.socks_reply)
        _logger.debug("connection %d: %s", number, error)
        machine.reply(error.socks_reply)
        await _finish(client, machine)
        return None
    _logger.debug("connection %d: open to %s port %d", number, request.host, request.port)
    return relay, machine.take_early_data()


async def _handshake(client: socket.socket, data: bytes, machine: SocksConversation) -> Event:
    """Return what the client wants. Raises RemoteProtocolError, OSError, and ClosedResourceError when overdue."""
    while True:
        machine.receive_data(data)
        event = machine.next_event()
        if event is not None:
            return event
        send_now(client, machine.data_to_send())
        data = await read(client, HANDSHAKE_READ)


async def _dial(
    client: socket.socket, machine: SocksConversation, request: ConnectRequested, context: ConnectionContext
) -> Relay:
    """Open the connection while watching the client, whose end ends the dial (BrokenResourceError)."""
    # A method for which 00 was chosen is still to be confirmed when all came at once.
    send_now(client, machine.data_to_send())
    if context.dial_timeout is None:
        stream = context.outlet.begin(request.host, request.port)
        if stream is not None:
            return await Attempt(client, machine, stream, context.nursery).run()
    stream = await wait_for_stream(
        client,
        machine,
        lambda: context.outlet.open_tcp_stream(request.host, request.port),
        limit=context.dial_timeout,
        overdue=f"{request.host} did not answer",
    )
    try:
        machine.reply(SUCCEEDED, stream.local_address)
        send_now(client, machine.data_to_send())
    except BaseException:
        stream.abort()
        raise
    relay = Relay(client, stream, context.nursery)
    relay.start()
    return relay


async def _finish(client: socket.socket, machine: SocksConversation) -> None:
    """Send the last answer and close so that it arrives.

    Closing with unread data resets the connection, and a reset can overtake the answer (RFC 2525 2.17); so the rest
    of what the client says is read for a moment.
    """
    with trio.move_on_after(LINGER_TIME):
        send_now(client, machine.data_to_send())
        client.shutdown(socket.SHUT_WR)
        taken = 0
        while taken < LINGER_BYTES and (data := await read(client, 4096)):
            taken += len(data)
    close_socket(client)
