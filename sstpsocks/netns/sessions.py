"""UDP of the namespace: a port of the outlet for each port of a program, as RFC 4787 wants of a translator.

Each program's address and port has one port outside, whoever it sends to (REQ-1), so that servers see one and the same
peer. What comes there is handed in only if it comes from an address and port that the program has sent to lately
(REQ-8 allows that; the tunnel's network is nobody's business but the program's). A session ends when nothing was sent
or received for five minutes (REQ-5), or when room is needed, the one that was silent longest first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ..errors import DialError, SstpsocksError
from ..net.gateway import DatagramArrived, Gateway
from ..proxy.outlet import Datagrams, Outlet
from ..tunnel.network import IPAddress, SocketAddress
from ..tunnel.streams import Pump

IDLE = 300.0  # seconds
MAX_SESSIONS = 1024
MAX_PEERS = 1024
"""Whom one session hears; beyond, the one that was sent to longest ago is forgotten."""
_LOOK = 30.0

_logger = logging.getLogger("sstpsocks.netns")


class Sessions:
    """All sessions of one gateway."""

    def __init__(self, gateway: Gateway, pump: Pump, outlet: Outlet, nursery: trio.Nursery) -> None:
        self._gateway = gateway
        self._pump = pump
        self._outlet = outlet
        self._nursery = nursery
        self._sessions: dict[SocketAddress, Session] = {}
        """By the program's address and port, the one that was silent longest first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def send(self, arrived: DatagramArrived) -> None:
        """Send on what a program sent."""
        session = self._sessions.pop(arrived.source, None)
        if session is None:
            try:
                datagrams = self._outlet.open_datagrams()
            except SstpsocksError as error:
                self._gateway.refuse_datagram(arrived.source, arrived.target, error)
                return
            while len(self._sessions) >= MAX_SESSIONS:
                next(iter(self._sessions.values())).close()
            session = Session(arrived.source, datagrams, self._gateway, self._pump, self._used, self._closed)
        self._sessions[arrived.source] = session
        session.send(arrived, self._nursery)

    async def end_idle(self) -> None:
        """End what is silent for long; until cancelled."""
        while True:
            await trio.sleep(_LOOK)
            oldest = self._pump.now() - IDLE
            for session in list(self._sessions.values()):
                if session.used_at > oldest:
                    break
                session.close()

    def close(self) -> None:
        """End all."""
        for session in list(self._sessions.values()):
            session.close()

    def _used(self, session: Session) -> None:
        self._sessions[session.source] = self._sessions.pop(session.source)

    def _closed(self, session: Session) -> None:
        self._sessions.pop(session.source, None)


class Session:
    """One port of a program, and its port outside. ``on_use`` and ``on_end`` tell the keeper."""

    def __init__(
        self,
        source: SocketAddress,
        datagrams: Datagrams,
        gateway: Gateway,
        pump: Pump,
        on_use: Callable[[Session], None],
        on_end: Callable[[Session], None],
    ) -> None:
        self.source = source
        self.used_at = pump.now()
        self._datagrams = datagrams
        self._gateway = gateway
        self._pump = pump
        self._on_use = on_use
        self._on_end = on_end
        self._closed = False
        self._peers: dict[SocketAddress, None] = {}
        """The one that was sent to longest ago first."""
        datagrams.notify = self._receive
        datagrams.on_error = self._tell

    def send(self, arrived: DatagramArrived, nursery: trio.Nursery) -> None:
        """Send a datagram of the program's."""
        self.used_at = self._pump.now()
        target = arrived.target
        self._peers.pop(target, None)
        self._peers[target] = None
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]
        try:
            if self._datagrams.send_nowait(arrived.payload, *target) is None:
                nursery.start_soon(self._send_later, arrived)
        except (trio.ClosedResourceError, SstpsocksError) as error:
            self._failed(arrived, error)

    async def _send_later(self, arrived: DatagramArrived) -> None:
        try:
            await self._datagrams.send_to(arrived.payload, *arrived.target)
        except (trio.ClosedResourceError, SstpsocksError) as error:
            self._failed(arrived, error)

    def _failed(self, arrived: DatagramArrived, error: Exception) -> None:
        _logger.debug("UDP from port %s was not sent: %s", arrived.source[1], error)
        if isinstance(error, SstpsocksError):
            self._gateway.refuse_datagram(arrived.source, arrived.target, error)
            self._pump.flush()

    def _receive(self) -> None:
        """Hand in what has come; called in the tunnel's turn."""
        count = 0
        try:
            while not self._closed and (received := self._datagrams.receive_nowait()) is not None:
                payload, address, port = received
                if (address, port) in self._peers:
                    self._gateway.send_datagram(payload, (address, port), self.source)
                    count += 1
        except (trio.ClosedResourceError, SstpsocksError):
            self.close()  # the tunnel is gone; with the next datagram begins another session
        if count:
            self.used_at = self._pump.now()
            if not self._closed:
                self._on_use(self)
            self._pump.flush()

    def _tell(self, error: DialError, address: IPAddress, port: int) -> None:
        self._gateway.refuse_datagram(self.source, (address, port), error)
        self._pump.flush()

    def close(self) -> None:
        """End it."""
        if not self._closed:
            self._closed = True
            self._datagrams.notify = None
            self._datagrams.on_error = None
            self._datagrams.close()
            self._on_end(self)
