"""What a session offers to those who use the network behind it; session.py is its coming and going."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

import trio

from ..errors import ConnectionLost, NetworkUnreachable, TunnelDown
from ..net.stack import Stack
from ..net.tcp.listener import TcpListener
from .connection import ServerConnection
from .datagrams import UdpPort, UdpSocket
from .driver import Driver
from .flow_keeper import FlowKeeper
from .network import IPAddress, is_global_ipv6
from .ping import ping
from .settings import TunnelSettings
from .states import SessionRecord, TunnelInfo
from .streams import TcpAcceptor, TcpStream

# Connections that wait to be accepted by one listening port inside the tunnel.
LISTEN_BACKLOG = 32

# Seconds that a first request waits for a tunnel that is dialled on demand.
DEMAND_LIMIT = 30.0


class SessionNetwork:
    """The network through whichever connection there is now; implements tunnel.network.OpenNetwork."""

    def __init__(self, settings: TunnelSettings) -> None:
        self.settings = settings
        self._server = settings
        """The settings of the server that was used last: these, or an alternative's."""
        self._connection: ServerConnection | None = None
        self._closed = trio.Event()
        """Set when it has ended for good."""
        self._news = trio.lowlevel.ParkingLot()
        """Where those wait who wait for the tunnel."""
        self._used_at = 0.0
        """When somebody last asked for something inside the tunnel."""
        self._listening: list[TcpListener] = []
        """Ports inside the tunnel, some of which may be closed."""
        self._held_until = 0.0
        """Until when somebody waits."""
        self.record = SessionRecord()
        """What it has been through."""
        self._keeper = FlowKeeper(self._note, keeps=settings.reconnect == "auto")

    def _note(self, text: str) -> None:
        """Tell a person what became of open connections."""

    def _want(self) -> None:
        """Have the tunnel dialled, if it is not."""

    @property
    def may_come(self) -> bool:
        """Whether wait_up() may be worth while, when the tunnel is down."""
        return not self._closed.is_set() and (self.settings.on_demand or self.settings.hold > 0)

    async def wait_up(self) -> None:
        """Wait until traffic passes, for as long as the settings say. Raises TunnelDown."""
        self._want()
        now = trio.current_time()
        hold = self.settings.hold
        limit = max(hold, DEMAND_LIMIT) if self.settings.on_demand else hold
        self._held_until = max(self._held_until, now + hold)
        failures = self.record.connect_failures.total()
        with trio.move_on_at(now + limit):
            while not self.up and not self._closed.is_set():
                # On demand, a failed try is the answer, unless requests are to be held.
                if trio.current_time() >= now + hold and self.record.connect_failures.total() != failures:
                    break
                await self._news.park()
        if not self.up:
            why = f": {self.record.last_error}" if self.record.last_error else ""
            raise TunnelDown(f"the tunnel to {self._server.server} is down{why}")

    @property
    def info(self) -> TunnelInfo:
        """What the server assigned last."""
        connection = self._connection
        return TunnelInfo(
            server=self._server.server,
            addresses=connection.addresses if connection is not None else (),
            dns=connection.dns if connection is not None else (),
            mtu=connection.mtu if connection is not None else self.settings.mtu,
            tls_version=connection.tls_version if connection is not None else "",
            correlation_id=connection.correlation_id if connection is not None else "",
            routes=tuple(route.network for route in connection.dhcp.routes) if connection is not None else (),
            search=self.search_domains,
            peer=connection.link_up.peer if connection is not None and connection.link_up is not None else None,
        )

    # Network

    @property
    def up(self) -> bool:
        """Whether traffic passes now."""
        return self._connection is not None and self._connection.stack is not None

    @property
    def stack(self) -> Stack | None:
        """The TCP/IP stack while traffic passes, for whoever shows what it does; another one after a reconnect."""
        return self._connection.stack if self._connection is not None else None

    @property
    def round_trip(self) -> float | None:
        """The round-trip time to the server in seconds, as the kernel measures it; None when it does not tell."""
        driver = self._connection.driver if self._connection is not None else None
        return driver.round_trip() if driver is not None else None

    @property
    def behind(self) -> float:
        """Seconds by which the work of the tunnel is late; much of it means that its driver is stuck."""
        connection = self._connection
        return connection.driver.behind if connection is not None and connection.driver is not None else 0.0

    @property
    def local_addresses(self) -> tuple[IPAddress, ...]:
        """Our addresses in the tunnel; empty while it is down."""
        return self._connection.addresses if self._connection is not None and self.up else ()

    @property
    def dns_servers(self) -> tuple[IPAddress, ...]:
        """The name servers that the tunnel gave; empty while it is down."""
        return self.info.dns if self.up else ()

    @property
    def search_domains(self) -> tuple[str, ...]:
        """The domains in which single-label names are looked for: the settings' own, then what the network told."""
        told = self._connection.search_domains if self._connection is not None and self.up else ()
        return tuple(dict.fromkeys((*self.settings.search_domains, *told)))

    async def connect_tcp(self, address: IPAddress, port: int) -> TcpStream:
        """Open a TCP connection. Raises a DialError."""
        stream = self.begin_connect(address, port)
        try:
            await stream.wait_connected()
        except BaseException as error:
            stream.abort()
            if isinstance(error, ConnectionLost):
                raise TunnelDown(f"{error}, while the connection was opened") from error
            raise
        return stream

    def begin_connect(self, address: IPAddress, port: int) -> TcpStream:
        """Begin to open a TCP connection. Raises TunnelDown, NetworkUnreachable or TooManyConnections."""
        driver, stack = self._require(address)
        # The stream may outlive the driver.
        stream = TcpStream(stack.connect_tcp(address, port, driver.now()), self._keeper.pump)
        driver.flush()
        return stream

    def open_udp(self, address: IPAddress, port: int) -> UdpSocket:
        """Open a UDP socket connected to one peer. Raises TunnelDown or NetworkUnreachable."""
        driver, stack = self._require(address)
        return UdpSocket(stack.open_udp(address, port), (address, port), driver)

    def listen_tcp(self, port: int = 0, *, peer: IPAddress | None = None) -> TcpAcceptor:
        """Take TCP connections from inside the tunnel at ``port``, 0 for a random free one.

        ``peer``: who is expected, which decides which of our addresses the acceptor names; anybody may connect all the
        same. Raises TunnelDown, NetworkUnreachable, LocalProtocolError for a port in use, TooManyConnections.
        """
        _driver, stack = self._require(peer)
        address = stack.source_for(peer) if peer is not None else None
        listener = stack.listen_tcp(port, backlog=LISTEN_BACKLOG)
        self._listening = [*(one for one in self._listening if not one.closed), listener]
        return TcpAcceptor(listener, self._keeper.pump, address)

    def open_udp_port(self, port: int = 0) -> UdpPort:
        """Open a UDP port that is connected to nobody, 0 for a random one.

        Raises TunnelDown, LocalProtocolError for a port in use, or TooManyConnections.
        """
        driver, stack = self._require(None)
        return UdpPort(stack.open_udp(local_port=port or None), driver, self._require)

    def together(self, action: Callable[[], None]) -> None:
        """Run ``action``, which may send on many flows, and hand all of it to the server at once behind it."""
        done = False

        def act() -> None:
            nonlocal done
            done = True
            action()

        if self._connection is not None and self._connection.driver is not None:
            self._connection.driver.act(act)
        if not done:
            action()

    async def ping(self, address: IPAddress, size: int = 84, limit: float = 5.0, *, df: bool = False) -> float:
        """Send an echo request of ``size`` octets, IP header included, and return the seconds until its reply.

        ``df``: nobody may fragment it. Raises ConnectTimedOut when none comes, what ICMP said, TunnelDown, or
        LocalProtocolError for a size that is none.
        """
        driver, stack = self._require(address)
        return await ping(stack, driver, address, size=size, limit=limit, dont_fragment=df)

    def _require(self, address: IPAddress | None) -> tuple[Driver, Stack]:
        """Return what carries packets. Raises TunnelDown, NetworkUnreachable for an address that is not reached."""
        self._used_at = trio.current_time()
        connection = self._connection
        if connection is None or connection.driver is None or connection.stack is None:
            self._want()
            hint = "" if self._closed.is_set() else "it is being dialled again"
            raise TunnelDown(f"the tunnel to {self._server.server} is down", hint=hint)
        if isinstance(address, IPv6Address):
            if not any(map(is_global_ipv6, connection.addresses)):
                raise NetworkUnreachable(f"{address}: the tunnel carries no IPv6")
        elif (
            address is not None
            and connection.strict_table is not None
            and connection.strict_table.lookup(address) is None
        ):
            raise NetworkUnreachable(
                f"{address}: none of the routes that the server pushed leads there", hint="--strict-routes is on"
            )
        return connection.driver, connection.stack
