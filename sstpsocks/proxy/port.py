"""The local port: accepts programs' connections and hands each to whoever serves its protocol.

One task per connection recognises the protocol by the first byte and goes through handshake, dial and relay; what the
target's answers and downloads need is done in the driver's turn (socks/attempt.py, relay.py). Sockets are read and
written first and waited for only when that was too early, since each wait is a pass of the event loop, and behind a
bulk transfer each pass is a turn of the driver.

Up to ``max_connections`` are served; those beyond get a proper handshake and a refusal, a bounded number of them at a
time, so that a program never hangs on a full proxy. Log lines carry a connection's number; names of targets appear at
DEBUG only, payload never.
"""

from __future__ import annotations

import itertools
import logging
import socket

import trio

from .context import ConnectionContext, Pages, no_pages
from .http.server import serve_http
from .outlet import Outlet
from .overdue import Overdue
from .peer_user import is_own_user
from .relay import read, reset_socket
from .socks.server import serve_socks
from .users import NOBODY_ASKED, Users

DEFAULT_MAX_CONNECTIONS = 1024
MAX_REFUSERS = 64  # connections beyond the cap that are told so at a time; the next wait in the kernel's queue
REFUSER_TIMEOUT = 2.0  # seconds a client beyond the cap has for its handshake, so that the queue moves
FIRST_READ = 2048  # bytes; more than the longest SOCKS handshake, and a client that says more waits
ACCEPT_BATCH = 64  # connections taken before the others have their turn
ACCEPT_PAUSE = 0.1  # seconds; files or memory ran out, and closing connections will give some back

_logger = logging.getLogger("sstpsocks.proxy")


class ProxyPort:
    """The proxy in front of a tunnel, on any number of listening sockets: SOCKS5, SOCKS4, SOCKS4a and HTTP.

    ``users``: who may use it; without any, everybody who reaches it. ``handshake_timeout``: seconds a client has to say
    what it wants. ``dial_timeout``: seconds a connection may take to open, names included, None for as long as the
    tunnel's own limits. ``pages``: what it answers to a web browser that asks the port itself. ``only_own_user``: cut
    connections of other users of this machine, and of other machines, before they say anything (Linux).
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        users: Users = NOBODY_ASKED,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        handshake_timeout: float = 10.0,
        dial_timeout: float | None = None,
        pages: Pages = no_pages,
        only_own_user: bool = False,
    ) -> None:
        self._outlet = outlet
        self._users = users
        self._max_connections = max_connections
        self._dial_timeout = dial_timeout
        self._pages = pages
        self._only_own_user = only_own_user
        self._overdue = Overdue(handshake_timeout)
        self._overdue_refusers = Overdue(min(REFUSER_TIMEOUT, handshake_timeout))
        self._numbers = itertools.count(1)
        self._place_freed = trio.lowlevel.ParkingLot()
        self.active = 0
        """Connections being served now."""
        self.refusing = 0
        """Connections beyond the cap that are being told so now."""

    def __repr__(self) -> str:
        return f"<ProxyPort {self.active} of {self._max_connections} connections>"

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
        address = _address_of(raw)
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
                        self._accept_waiting(raw, address, nursery)
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

    def _accept_waiting(self, listener: socket.socket, address: tuple[str, int] | str, nursery: trio.Nursery) -> None:
        """Take the connections that are waiting. Raises OSError when files or memory ran out."""
        for _ in range(ACCEPT_BATCH):
            if self._full:
                return
            try:
                client, _peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # it has gone away already
            if self._only_own_user and not is_own_user(client):
                _logger.warning("connection refused: it is not from a program of this user")
                client.setblocking(False)
                reset_socket(client)
                continue
            served = self.active < self._max_connections
            if served:
                self.active += 1
            else:
                self.refusing += 1
            nursery.start_soon(self._handle, client, address, served, nursery)

    # One connection

    async def _handle(
        self, client: socket.socket, address: tuple[str, int] | str, served: bool, nursery: trio.Nursery
    ) -> None:
        overdue = self._overdue if served else self._overdue_refusers
        number = next(self._numbers)
        context = ConnectionContext(
            number,
            self._outlet,
            self._users,
            nursery,
            self._dial_timeout,
            served,
            address,
            self._pages,
            client,
            overdue,
        )
        try:
            client.setblocking(False)
            if isinstance(address, tuple):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            overdue.watch(client)
            _logger.debug("connection %d: accepted", number)
            first = await read(client, FIRST_READ)
            serve = serve_http if _begins_http(first) else serve_socks
            await serve(client, first, context)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            if context.awaited and client.fileno() < 0:
                _logger.info("connection %d: cut, it did not say in time what it wants", number)
            else:
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


def _begins_http(first: bytes) -> bool:
    """Whether it is not SOCKS but text: an HTTP request begins with its method, or with an empty line before it."""
    return first[:1].isalpha() or first[:1] in (b"\r", b"\n")


def _address_of(listener: socket.socket) -> tuple[str, int] | str:
    address = listener.getsockname()
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else str(address)
