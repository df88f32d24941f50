"""Serves SOCKS5 to local programs.

One task per connection goes through handshake, dial and relay. Up to ``max_connections`` are served; those beyond get a
proper handshake and the reply "general failure", a bounded number of them at a time, so that a program never hangs on
a full proxy. Log lines carry a connection's number; names of targets appear at DEBUG only, payload never.
"""

from __future__ import annotations

import itertools
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from ...errors import (
    ConnectTimedOut,
    DialError,
    RemoteProtocolError,
    SstpsocksError,
    TooManyConnections,
    TunnelDown,
)
from ...tunnel.network import Network, TunnelStream
from ..dial import Dialer
from ..relay import relay, reset_on_close
from .machine import SUCCEEDED, ConnectRequested, Refused, SocksMachine

DEFAULT_MAX_CONNECTIONS = 1024
MAX_REFUSERS = 64  # connections beyond the cap that are told so at a time; the next wait in the kernel's queue
REFUSER_TIMEOUT = 2.0  # seconds a client beyond the cap has for its handshake, so that the queue moves
HANDSHAKE_READ = 2048  # bytes; more than the longest handshake, and a client that says more waits
EARLY_DATA_LIMIT = 65536  # bytes taken from a client before its connection stands
LINGER_TIME = 1.0  # seconds a refused client has to read its answer
LINGER_BYTES = 65536
ACCEPT_PAUSE = 0.1  # seconds; files or memory ran out, and closing connections will give some back

Relay = Callable[[trio.SocketStream, TunnelStream, bytes], Awaitable[None]]

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
        relay: Relay = relay,
    ) -> None:
        self._dialer = dialer
        self._network = network
        self._credentials = credentials
        self._max_connections = max_connections
        self._handshake_timeout = handshake_timeout
        self._dial_timeout = math.inf if dial_timeout is None else dial_timeout
        self._relay = relay
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
        """Serve until cancelled; closes the listeners. Connections are reset when it is cancelled."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            task_status.started()

    # Accepting

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        short = False
        async with listener:
            while True:
                while self.active >= self._max_connections and self.refusing >= MAX_REFUSERS:
                    await self._place_freed.park()
                try:
                    local = await listener.accept()
                except trio.ClosedResourceError:
                    return
                except OSError as error:
                    if not short:
                        _logger.warning("cannot accept connections for the moment: %s", error.strerror or error)
                    short = True
                    await trio.sleep(ACCEPT_PAUSE)
                    continue
                short = False
                nursery.start_soon(self._handle, local, next(self._numbers), self._take_place())

    def _take_place(self) -> bool:
        """Count a new connection, and return whether it is to be served rather than refused."""
        served = self.active < self._max_connections
        if served:
            self.active += 1
        else:
            self.refusing += 1
        return served

    @contextmanager
    def _place(self, *, served: bool) -> Iterator[None]:
        try:
            yield
        finally:
            if served:
                self.active -= 1
            else:
                self.refusing -= 1
            self._place_freed.unpark_all()

    # One connection

    async def _handle(self, local: trio.SocketStream, number: int, served: bool) -> None:
        with self._place(served=served):
            try:
                await self._converse(local, number, served=served)
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
                _reset(local)

    async def _converse(self, local: trio.SocketStream, number: int, *, served: bool) -> None:
        _logger.debug("connection %d: accepted", number)
        machine = SocksMachine(self._credentials)
        try:
            request = await self._handshake(local, machine, served=served)
        except RemoteProtocolError as error:
            _logger.info("connection %d: %s", number, error)
            request = None
        except trio.TooSlowError:
            _logger.info("connection %d: cut, it did not say in time what it wants", number)
            return
        if isinstance(request, Refused):
            _logger.info("connection %d: refused, %s", number, request.reason)
        if not isinstance(request, ConnectRequested):
            await _finish(local, machine)
            return
        try:
            if not served:
                raise TooManyConnections(f"more than {self._max_connections} connections")
            stream = await self._dial(local, machine, request)
        except DialError as error:
            _logger.info("connection %d: refused, %s (reply %d)", number, type(error).__name__, error.socks_reply)
            _logger.debug("connection %d: %s", number, error)
            machine.reply(error.socks_reply)
            await _finish(local, machine)
            return
        _logger.debug("connection %d: open to %s port %d", number, request.host, request.port)
        await self._connected(local, machine, stream, number)

    async def _handshake(
        self, local: trio.SocketStream, machine: SocksMachine, *, served: bool
    ) -> ConnectRequested | Refused:
        """Return what the client wants. Raises TooSlowError or RemoteProtocolError."""
        limit = self._handshake_timeout if served else min(REFUSER_TIMEOUT, self._handshake_timeout)
        with trio.fail_after(limit):
            while True:
                machine.receive_data(bytes(await local.receive_some(HANDSHAKE_READ)))
                event = machine.next_event()
                if event is not None:
                    return event
                if answer := machine.data_to_send():
                    await local.send_all(answer)

    async def _dial(self, local: trio.SocketStream, machine: SocksMachine, request: ConnectRequested) -> TunnelStream:
        """Open the connection while watching the client, whose end ends the dial (BrokenResourceError)."""
        if not self._network.up:
            raise TunnelDown("the tunnel is down")
        # A method for which 00 was chosen is still to be confirmed when all came at once.
        await local.send_all(machine.data_to_send())
        stream: TunnelStream | None = None
        failure: DialError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, local, machine, nursery.cancel_scope)
                try:
                    with trio.fail_after(self._dial_timeout):
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

    async def _watch(self, local: trio.SocketStream, machine: SocksMachine, scope: trio.CancelScope) -> None:
        """Keep what the client sends early, and cancel the dial when it goes away.

        A client that sent something and then ended its direction may still wait for the answer (half-close).
        """
        while (room := EARLY_DATA_LIMIT - machine.early_data_size) > 0:
            try:
                data = bytes(await local.receive_some(room))
            except trio.BrokenResourceError:
                scope.cancel()
                return
            if not data:
                if not machine.early_data_size:
                    scope.cancel()
                return
            machine.receive_data(data)

    async def _connected(
        self, local: trio.SocketStream, machine: SocksMachine, stream: TunnelStream, number: int
    ) -> None:
        """Tell the client and relay. An abnormal end on either side is a reset on the other."""
        whole = False
        try:
            machine.reply(SUCCEEDED, stream.local_address)
            await local.send_all(machine.data_to_send())
            await self._relay(local, stream, machine.take_early_data())
            whole = stream.failure is None
        except (SstpsocksError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _logger.debug("connection %d: cut, %s", number, error)
        finally:
            if not whole:
                stream.abort()
        if whole:
            await stream.aclose()
            await _close(local)
        _logger.debug("connection %d: %s", number, "closed" if whole else "reset")


async def _finish(local: trio.SocketStream, machine: SocksMachine) -> None:
    """Send the last answer and close so that it arrives.

    Closing with unread data resets the connection, and a reset can overtake the answer (RFC 2525 2.17); so the rest
    of what the client says is read for a moment.
    """
    with trio.move_on_after(LINGER_TIME):
        await local.send_all(machine.data_to_send())
        await local.send_eof()
        taken = 0
        while taken < LINGER_BYTES and (data := await local.receive_some(4096)):
            taken += len(data)
    await _close(local)


async def _close(local: trio.SocketStream) -> None:
    """Close in order, unless the relay has done so."""
    if local.socket.fileno() >= 0:
        await local.aclose()


def _reset(local: trio.SocketStream) -> None:
    """Close with a reset what was not closed in order."""
    if local.socket.fileno() >= 0:
        raw = socket.socket(fileno=local.socket.detach())
        reset_on_close(raw)
        trio.lowlevel.notify_closing(raw)
        raw.close()
