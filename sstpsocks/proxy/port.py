"""The local port: accepts programs' connections and hands each to whoever serves its protocol.

One task per connection recognises the protocol by the first byte and goes through handshake, dial and relay; what the
target's answers and downloads need is done in the driver's turn (socks/attempt.py, relay.py). Sockets are read and
written first and waited for only when that was too early, since each wait is a pass of the event loop, and behind a
bulk transfer each pass is a turn of the driver.

Up to ``max_connections`` are served, and of each client up to ``max_per_client``; those beyond get a proper handshake
and a refusal, a bounded number of them at a time, so that a program never hangs on a full proxy. Those that come when
no more files may be opened are told so one after the other.

Log lines carry a connection's number; names of targets appear at DEBUG only, payload never.
"""

from __future__ import annotations

import itertools
import logging
import socket
from collections.abc import Iterator

import trio

from ..base.log_context import CONNECTION
from .context import ConnectionContext, Pages, no_pages
from .http.server import serve_http
from .outlet import Outlet
from .overdue import Overdue
from .peer_user import is_own_user
from .per_client import Client, ClientPlaces, CountedLogin, client_of
from .relay import read, reset_socket
from .socks.server import serve_socks
from .spare_file import OUT_OF_FILES, SpareFile
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
    ``numbers``: what connections are called in the log, for several ports that share them.
    ``max_per_client``: connections of one client (per_client.py), None for as many as there are.
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
        max_per_client: int | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._outlet = outlet
        self._users = users
        self.max_connections = max_connections
        self._dial_timeout = dial_timeout
        self._pages = pages
        self._only_own_user = only_own_user
        self._places = ClientPlaces(max_per_client)
        self._spare = SpareFile()
        self._overdue = Overdue(handshake_timeout)
        self._overdue_refusers = Overdue(min(REFUSER_TIMEOUT, handshake_timeout))
        self._numbers = numbers if numbers is not None else itertools.count(1)
        self._place_freed = trio.lowlevel.ParkingLot()
        self.accepted = 0
        """Connections so far, those that were refused among them."""
        self.active = 0
        """Connections being served now."""
        self.refusing = 0
        """Connections beyond the cap that are being told so now."""
        self.refused_for_connections = 0
        """Connections that were told no because as many as may be were being served."""
        self.refused_for_files = 0
        """The same because no more files could be opened."""
        self.refused_for_user = 0
        """Connections that were cut because they were not of a program of our own user."""
        self.cut_overdue = 0
        """Connections that were cut because they did not say in time what they want."""

    @property
    def refused(self) -> int:
        """Connections that were told no, whichever bound it was."""
        return self.refused_for_connections + self.refused_for_client + self.refused_for_files

    @property
    def refused_for_client(self) -> int:
        """Connections that were told no because their client had as many as it may."""
        return self._places.refused

    def __repr__(self) -> str:
        return f"<ProxyPort {self.active} of {self.max_connections} connections>"

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
        self._spare.close()

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
                        if error.errno in OUT_OF_FILES and self._refuse_one(raw, address, nursery):
                            continue
                        if not short:
                            _logger.warning("cannot accept connections for the moment: %s", error.strerror or error)
                        short = True
                        await trio.sleep(ACCEPT_PAUSE)
                    else:
                        short = False

    @property
    def _full(self) -> bool:
        return self.active >= self.max_connections and self.refusing >= MAX_REFUSERS

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
                self.refused_for_user += 1
                _cut(client)
                continue
            whose: Client | None = None
            if self.active >= self.max_connections:
                self.refused_for_connections += 1
            elif self._places.most is None or self._users.required or self._places.take(whose := client_of(client)):
                # Those who log in are known only then.
                self.active += 1
                nursery.start_soon(self._handle, client, address, nursery, True, whose)
                continue
            self._refuse(client, address, nursery)

    def _refuse(self, client: socket.socket, address: tuple[str, int] | str, nursery: trio.Nursery) -> None:
        """Have a connection told that it is one too many."""
        if self.refusing >= MAX_REFUSERS:
            _cut(client)  # one client has too many, and the others must not wait for it
            return
        self.refusing += 1
        nursery.start_soon(self._handle, client, address, nursery, False)

    def _refuse_one(self, listener: socket.socket, address: tuple[str, int] | str, nursery: trio.Nursery) -> bool:
        """Accept one connection in place of the spare file, to tell it no; False when that was not possible."""
        if not self._spare.spend():
            return False
        try:
            client, _peer = listener.accept()
        except OSError:
            self._spare.refill()
            return False
        self.refused_for_files += 1
        self._refuse(client, address, nursery)
        return True

    # One connection

    async def _handle(
        self,
        client: socket.socket,
        address: tuple[str, int] | str,
        nursery: trio.Nursery,
        served: bool,
        whose: Client | None = None,
    ) -> None:
        """Serve a connection, or tell it no. ``whose``: who has taken a place for it already."""
        overdue = self._overdue if served else self._overdue_refusers
        number = next(self._numbers)
        self.accepted += 1
        CONNECTION.set(number)
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
        login: CountedLogin | None = None
        if self._places.most is not None and self._users.required:
            context.users = login = CountedLogin(self._users, self._places, context.refuse)
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
                self.cut_overdue += 1
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
            self._spare.refill()
            if whose is not None:
                self._places.give_back(whose)
            if login is not None:
                login.give_back()
            if served:
                self.active -= 1
            else:
                self.refusing -= 1
            self._place_freed.unpark_all()


def _cut(client: socket.socket) -> None:
    client.setblocking(False)
    reset_socket(client)


def _begins_http(first: bytes) -> bool:
    """Whether it is not SOCKS but text: an HTTP request begins with its method, or with an empty line before it."""
    return first[:1].isalpha() or first[:1] in (b"\r", b"\n")


def _address_of(listener: socket.socket) -> tuple[str, int] | str:
    address = listener.getsockname()
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else str(address)
