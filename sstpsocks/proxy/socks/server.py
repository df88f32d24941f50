"""Serves SOCKS5 to local programs.

One task per connection goes through handshake, dial and relay; what the target's answers and downloads need is done in
the driver's turn (attempt.py, ../relay.py). Sockets are read and written first and waited for only when that was too
early, since each wait is a pass of the event loop, and behind a bulk transfer each pass is a turn of the driver.

Up to ``max_connections`` are served; those beyond get a proper handshake and the reply "general failure", a bounded
number of them at a time, so that a program never hangs on a full proxy. Log lines carry a connection's number; names of
targets appear at DEBUG only, payload never.
"""

from __future__ import annotations

import itertools
import logging
import math
import socket

import trio

from ...errors import (
    ConnectTimedOut,
    DialError,
    RemoteProtocolError,
    TooManyConnections,
    TunnelDown,
)
from ...tunnel.network import Network, TunnelStream
from ..dial import Dialer
from ..relay import Relay, close_socket, read, reset_socket
from .attempt import EARLY_DATA_LIMIT, Attempt, send_now
from .machine import SUCCEEDED, ConnectRequested, Refused, SocksMachine
from .overdue import Overdue

DEFAULT_MAX_CONNECTIONS = 1024
MAX_REFUSERS = 64  # connections beyond the cap that are told so at a time; the next wait in the kernel's queue
REFUSER_TIMEOUT = 2.0  # seconds a client beyond the cap has for its handshake, so that the queue moves
HANDSHAKE_READ = 2048  # bytes; more than the longest handshake, and a client that says more waits
LINGER_TIME = 1.0  # seconds a refused client has to read its answer
LINGER_BYTES = 65536
ACCEPT_BATCH = 64  # connections taken before the others have their turn
ACCEPT_PAUSE = 0.1  # seconds; files or memory ran out, and closing connections will give some back

_logger = logging.getLogger("sstpsocks.proxy")


class SocksServer:
    """A SOCKS5 server (RFC 1928, RFC 1929) in front of a tunnel.

    ``credentials``: user name and password that clients must send; None: clients that send none.
    ``handshake_timeout``: seconds a client has to say what it wants. ``dial_timeout``: seconds a connection may take to
    open, names included, None for as long as the tunnel's own limits.
    """

    def __init__(
        self,
        dialer: Dialer,
        network: Network,
        *,
        credentials: tuple[str, str] | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        handshake_timeout: float = 10.0,
        dial_timeout: float | None = None,
    ) -> None:
        self._dialer = dialer
        self._network = network
        self._credentials = credentials
        self._max_connections = max_connections
        self._dial_timeout = dial_timeout
        self._overdue = Overdue(handshake_timeout)
        self._overdue_refusers = Overdue(min(REFUSER_TIMEOUT, handshake_timeout))
        self._numbers = itertools.count(1)
        self._place_freed = trio.lowlevel.ParkingLot()
        self.active = 0
        """Connections being served now."""
        self.refusing = 0
        """Connections beyond the cap that are being told so now."""

    def __repr__(self) -> str:
        return f"<SocksServer {self.active} of {self._max_connections} connections>"

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, or until somebody closes the listeners; closes them.

        Connections are reset when it is cancelled.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._overdue.run)
            nursery.start_soon(self._overdue_refusers.run)
            async with trio.open_nursery() as connections:
                for listener in listeners:
                    connections.start_soon(self._accept, listener, connections)
                task_status.started()
            nursery.cancel_scope.cancel()

    # Accepting

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        # trio's own accept() takes one connection for each pass of the event loop.
        raw = socket.socket(fileno=listener.socket.dup().detach())
        short = False
        async with listener:
            with raw:
                while True:
                    while self._full:
                        await self._place_freed.park()
                    try:
                        await trio.lowlevel.wait_readable(listener.socket)
                    except trio.ClosedResourceError:
                        return
                    try:
                        self._accept_waiting(raw, nursery)
                    except OSError as error:
                        if not short:
                            _logger.warning("cannot accept connections for the moment: %s", error.strerror or error)
                        short = True
                        await trio.sleep(ACCEPT_PAUSE)
                    else:
                        short = False

    @property
    def _full(self) -> bool:
        return self.active >= self._max_connections and self.refusing >= MAX_REFUSERS

    def _accept_waiting(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        """Take the connections that are waiting. Raises OSError when files or memory ran out."""
        for _ in range(ACCEPT_BATCH):
            if self._full:
                return
            try:
                client, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # it has gone away already
            served = self.active < self._max_connections
            if served:
                self.active += 1
            else:
                self.refusing += 1
            nursery.start_soon(self._handle, client, next(self._numbers), served, nursery)

    # One connection

    async def _handle(self, client: socket.socket, number: int, served: bool, nursery: trio.Nursery) -> None:
        overdue = self._overdue if served else self._overdue_refusers
        try:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            overdue.watch(client)
            opened = await self._open(client, number, overdue, nursery, served=served)
            if opened is not None:
                relay, early_data = opened
                whole = await relay.run(early_data, look=True)
                _logger.debug("connection %d: %s", number, "closed" if whole else "reset")
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            _logger.debug("connection %d: the local program went away", number)
        except Exception as error:
            # One connection must not take the others with it. The traceback is a detail, as everywhere.
            details = _logger.isEnabledFor(logging.DEBUG)
            cause = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            _logger.error("connection %d failed: %s, this is a bug", number, type(cause).__name__, exc_info=details)
        finally:
            overdue.forget(client)
            reset_socket(client)
            if served:
                self.active -= 1
            else:
                self.refusing -= 1
            self._place_freed.unpark_all()

    async def _open(
        self, client: socket.socket, number: int, overdue: Overdue, nursery: trio.Nursery, *, served: bool
    ) -> tuple[Relay, bytes] | None:
        """Return the relay that has started and what the client sent early, None when the client was told no."""
        _logger.debug("connection %d: accepted", number)
        machine = SocksMachine(self._credentials)
        request: ConnectRequested | Refused | None = None
        try:
            request = await self._handshake(client, machine)
        except RemoteProtocolError as error:
            _logger.info("connection %d: %s", number, error)
        except (OSError, trio.ClosedResourceError):
            if client.fileno() >= 0:
                raise
            _logger.info("connection %d: cut, it did not say in time what it wants", number)
            return None
        overdue.forget(client)
        if isinstance(request, Refused):
            _logger.info("connection %d: refused, %s", number, request.reason)
        if not isinstance(request, ConnectRequested):
            await _finish(client, machine)
            return None
        try:
            if not served:
                raise TooManyConnections(f"more than {self._max_connections} connections")
            relay = await self._dial(client, machine, request, nursery)
        except DialError as error:
            _logger.info("connection %d: refused, %s (reply %d)", number, type(error).__name__, error.socks_reply)
            _logger.debug("connection %d: %s", number, error)
            machine.reply(error.socks_reply)
            await _finish(client, machine)
            return None
        _logger.debug("connection %d: open to %s port %d", number, request.host, request.port)
        return relay, machine.take_early_data()

    async def _handshake(self, client: socket.socket, machine: SocksMachine) -> ConnectRequested | Refused:
        """Return what the client wants. Raises RemoteProtocolError, OSError, and ClosedResourceError when overdue."""
        while True:
            machine.receive_data(await read(client, HANDSHAKE_READ))
            event = machine.next_event()
            if event is not None:
                return event
            send_now(client, machine.data_to_send())

    async def _dial(
        self, client: socket.socket, machine: SocksMachine, request: ConnectRequested, nursery: trio.Nursery
    ) -> Relay:
        """Open the connection while watching the client, whose end ends the dial (BrokenResourceError)."""
        if not self._network.up:
            raise TunnelDown("the tunnel is down")
        # A method for which 00 was chosen is still to be confirmed when all came at once.
        send_now(client, machine.data_to_send())
        if self._dial_timeout is None:
            stream = self._dialer.begin(request.host, request.port)
            if stream is not None:
                return await Attempt(client, machine, stream, nursery).run()
        stream = await self._dial_slowly(client, machine, request)
        try:
            machine.reply(SUCCEEDED, stream.local_address)
            send_now(client, machine.data_to_send())
        except BaseException:
            stream.abort()
            raise
        relay = Relay(client, stream, nursery)
        relay.start()
        return relay

    async def _dial_slowly(
        self, client: socket.socket, machine: SocksMachine, request: ConnectRequested
    ) -> TunnelStream:
        """Open a connection for which a name has to be looked up, several addresses to be tried, or time is short."""
        stream: TunnelStream | None = None
        failure: DialError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, client, machine, nursery.cancel_scope)
                try:
                    with trio.fail_after(math.inf if self._dial_timeout is None else self._dial_timeout):
                        stream = await self._dialer.open_tcp_stream(request.host, request.port)
                except DialError as error:
                    failure = error
                except trio.TooSlowError:
                    failure = ConnectTimedOut(f"{request.host} did not answer in {self._dial_timeout:g} s")
                nursery.cancel_scope.cancel()
        except BaseException:
            # The server was cancelled in the moment in which the connection stood.
            if stream is not None:
                stream.abort()
            raise
        if failure is not None:
            raise failure
        if stream is None:
            raise trio.BrokenResourceError("the client went away")
        return stream

    async def _watch(self, client: socket.socket, machine: SocksMachine, scope: trio.CancelScope) -> None:
        """Keep what the client sends early, and cancel the dial when it goes away.

        A client that sent something and then ended its direction may still wait for the answer (half-close).
        """
        while (room := EARLY_DATA_LIMIT - machine.early_data_size) > 0:
            try:
                data = await read(client, room)
            except OSError:
                scope.cancel()
                return
            if not data:
                if not machine.early_data_size:
                    scope.cancel()
                return
            machine.receive_data(data)


async def _finish(client: socket.socket, machine: SocksMachine) -> None:
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
