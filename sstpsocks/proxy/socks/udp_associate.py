"""UDP ASSOCIATE: a relay for a client's datagrams that lives as long as its connection (RFC 1928 sections 4 and 7).

Theory of operation
-------------------
The relay's socket is bound to the address at which the client's connection arrived, so that it is reached from no
further than that. Datagrams are taken from the client's address only; its port is the one that the request named, or
that of the first good datagram, which must be from a socket of the client's user where the system tells (Linux).
Everybody else on this machine is a stranger, whose datagrams are dropped and counted.

One task reads the client's datagrams, another waits for the end of its connection. Answers pass in the driver's own
turn, straight from the tunnel's socket to the client's. They are taken from addresses only that the client has sent
to, the DESTINATIONS latest, from whatever port: TFTP answers from another one. Nothing waits anywhere in numbers that
somebody else decides: a datagram that finds no room is dropped, as UDP allows, and LOOKUPS names at most are looked up
at a time.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import trio

from ...errors import (
    DialError,
    HostUnreachable,
    LocalProtocolError,
    RemoteProtocolError,
    TooManyConnections,
    TunnelDown,
)
from ..datagram_counters import DatagramCounters
from ..peer_user import peer_user, sender_user
from ..relay import read
from ..spare_file import OUT_OF_FILES
from .attempt import send_now
from .conversation import SUCCEEDED, AssociateRequested
from .udp_header import RelayedDatagram

if TYPE_CHECKING:
    from ...tunnel.network import IPAddress, SocketAddress
    from ..context import ConnectionContext
    from ..outlet import Datagrams
    from .conversation import SocksConversation

DESTINATIONS = 1024
"""Addresses whose answers are passed on; the one that was used longest ago makes room."""
LOOKUPS = 16
"""Names that one client's datagrams have looked up at a time."""
BATCH = 64
"""Datagrams read from the client before the others have their turn."""
MAX_DATAGRAM = 65535

_logger = logging.getLogger("sstpsocks.proxy")


async def associate(
    client: socket.socket, machine: SocksConversation, request: AssociateRequested, context: ConnectionContext
) -> None:
    """Relay datagrams until the client's connection ends. Raises a DialError before it was answered."""
    send_now(client, machine.data_to_send())
    if client.family not in (socket.AF_INET, socket.AF_INET6):
        # What has come by a Unix socket has no address from which datagrams could be expected.
        raise HostUnreachable("UDP ASSOCIATE needs a client that came by TCP")
    datagrams = context.outlet.open_datagrams()
    try:
        with _bound_like(client) as relay:
            association = Association(relay, client, request, datagrams)
            machine.reply(SUCCEEDED, _address(relay.getsockname()))
            send_now(client, machine.data_to_send())
            _logger.debug("connection %d: relays datagrams", context.number)
            try:
                await association.run(client)
            finally:
                _logger.debug("connection %d: datagrams: %s", context.number, association.counters)
    finally:
        datagrams.notify = datagrams.on_error = None
        datagrams.close()


class Association:
    """The relay of one client."""

    def __init__(
        self, relay: socket.socket, client: socket.socket, request: AssociateRequested, datagrams: Datagrams
    ) -> None:
        """``client``: its connection."""
        self.counters = DatagramCounters()
        self._relay = relay
        self._client = _address(client.getpeername())[0]
        self._user = peer_user(client)
        """Whose program it is, None when that is not to be found: one on another machine, for instance."""
        self._source: tuple[str, int] | None = None
        """The client's socket address as the relay's socket sees it, None until it is known."""
        # RFC 1928 section 7: a client that does not know its address names zeros. One that names another address than
        # it came from is behind a translator, and its port means nothing here.
        named = not isinstance(request.host, str) and (request.host.is_unspecified or request.host == self._client)
        self._port = request.port if named else 0
        self._datagrams = datagrams
        self._destinations: OrderedDict[IPAddress, None] = OrderedDict()
        self._lookups = 0
        self._over = trio.Event()

    def __repr__(self) -> str:
        return f"<Association {self.counters}>"

    async def run(self, client: socket.socket) -> None:
        """Relay until ``client``, its connection, ends, or the tunnel is lost."""
        self._datagrams.notify = self._pass_answers
        self._datagrams.on_error = self._count_error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_client, nursery)
            nursery.start_soon(self._wait_for_end, client)
            await self._over.wait()
            nursery.cancel_scope.cancel()

    async def _wait_for_end(self, client: socket.socket) -> None:
        # RFC 1928 section 7: "A UDP association terminates when the TCP connection that the UDP ASSOCIATE request
        # arrived on terminates." Nothing is said on it any more.
        try:
            while await read(client, 4096):
                pass
        except (OSError, trio.ClosedResourceError):
            pass
        self._over.set()

    # From the client

    async def _read_client(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._relay)
            for _ in range(BATCH):
                try:
                    data, source = self._relay.recvfrom(MAX_DATAGRAM)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    continue  # Windows tells so that an answer found nobody
                self.take(data, source, nursery)
            await trio.lowlevel.checkpoint()

    def take(self, data: bytes, source: tuple[str, int], nursery: trio.Nursery) -> None:
        """Send one datagram from somebody on this machine into the tunnel, or drop it."""
        counters = self.counters
        if not self._is_client(source):
            counters.strangers += 1
            return
        try:
            datagram = RelayedDatagram.parse(data)
        except RemoteProtocolError:
            counters.malformed += 1
            return
        # RFC 1928 section 7: "an implementation that does not support fragmentation MUST drop any datagram whose FRAG
        # field is other than X'00'".
        if datagram.fragment:
            counters.fragments += 1
            return
        self._source = source
        try:
            address = self._datagrams.send_nowait(datagram.payload, datagram.host, datagram.port)
        except (DialError, LocalProtocolError) as error:
            self._refuse(error)
            return
        if address is not None:
            self._sent(address)
        elif self._lookups < LOOKUPS:
            self._lookups += 1
            nursery.start_soon(self._send_slowly, datagram)
        else:
            counters.crowded += 1

    async def _send_slowly(self, datagram: RelayedDatagram) -> None:
        try:
            self._sent(await self._datagrams.send_to(datagram.payload, datagram.host, datagram.port))
        except (DialError, LocalProtocolError) as error:
            self._refuse(error)
        finally:
            self._lookups -= 1
        self._pass_answers()  # one may have been quicker than this task

    def _is_client(self, source: tuple[str, int]) -> bool:
        if self._source is not None:
            return source == self._source
        address, port = _address(source)
        if address != self._client or self._port not in (0, port):
            return False
        return self._user is None or sender_user(self._relay, (source[0], port)) == self._user

    def _sent(self, address: IPAddress) -> None:
        self.counters.sent += 1
        self._destinations[address] = None
        self._destinations.move_to_end(address)
        if len(self._destinations) > DESTINATIONS:
            self._destinations.popitem(last=False)

    def _refuse(self, error: DialError | LocalProtocolError) -> None:
        self.counters.refused += 1
        if isinstance(error, TunnelDown):
            self._pass_answers()  # which finds out whether that is the end

    # From the tunnel

    def _pass_answers(self) -> None:
        """Send the client what has come for it; called in the driver's turn."""
        try:
            while (received := self._datagrams.receive_nowait()) is not None:
                self._pass_answer(*received)
        except (TunnelDown, trio.ClosedResourceError):
            # The client's program learns of it by the end of its connection, and asks again.
            self._over.set()

    def _pass_answer(self, payload: bytes, address: IPAddress, port: int) -> None:
        counters = self.counters
        if self._source is None or address not in self._destinations:
            counters.unexpected += 1
            return
        try:
            self._relay.sendto(RelayedDatagram(address, port, payload).to_bytes(), self._source)
        except OSError:
            counters.crowded += 1  # or too long for a datagram with a header
        else:
            counters.received += 1

    def _count_error(self, _error: DialError, _address: IPAddress, _port: int) -> None:
        self.counters.icmp_errors += 1


def _bound_like(client: socket.socket) -> socket.socket:
    """Return a UDP socket at the address at which the client's connection arrived, at a free port.

    Raises TooManyConnections when no more files may be opened.
    """
    try:
        relay = socket.socket(client.family, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in OUT_OF_FILES:
            raise TooManyConnections("no more files may be opened") from None
        raise
    try:
        relay.setblocking(False)
        here = client.getsockname()
        relay.bind((here[0], 0, *here[2:]))
    except BaseException:
        relay.close()
        raise
    return relay


def _address(name: tuple[str, int]) -> SocketAddress:
    """Return a socket's address and port, an IPv4 address in IPv6 notation as what it is."""
    address = ip_address(name[0].partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address, name[1]
