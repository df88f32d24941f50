"""A tunnel that stays: the first connect, the network it offers, and dialling again when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Network, IPv6Address
from types import TracebackType
from typing import Self

import trio

from ..base.entropy import Entropy, random_below
from ..errors import ConnectionLost, LocalProtocolError, NetworkUnreachable, SstpsocksError, TunnelDown, TunnelError
from ..net.stack import Stack
from ..ppp.auth import Credentials
from .alternatives import KeptCredentials, in_order, moves_on, none_reached
from .capture_file import FLUSH_INTERVAL
from .connection import ServerConnection
from .datagrams import UdpPort, UdpSocket
from .driver import Driver
from .eap_login import EapLogin
from .entropy_source import SystemEntropy
from .network import IPAddress, is_global_ipv6
from .ping import ping
from .reach import Dial, connect_transport
from .settings import TunnelSettings
from .steps import Step, StepObserver, StepReport, ignore_steps
from .streams import TcpAcceptor, TcpStream
from .tap import Tap, open_tap

# A lost tunnel is dialled again quickly while people wait, and gently once it is plain that the server stays away.
EAGER_PERIOD = 300.0
EAGER_DELAY = 1.0
PATIENT_DELAY = 30.0

# A tunnel that did not stand that long counts as another failed try: a server that ends each tunnel at once is not
# dialled, and logged in to, without a pause.
STABLE_PERIOD = 10.0

# Connections that wait to be accepted by one listening port inside the tunnel.
LISTEN_BACKLOG = 32


class TunnelStatus(Enum):
    """What a session is doing."""

    CONNECTING = "connecting"
    UP = "up"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TunnelState:
    """A change that is worth a line in the log."""

    status: TunnelStatus
    text: str
    """One line for a person, without secrets."""

    @property
    def up(self) -> bool:
        """Whether traffic passes."""
        return self.status is TunnelStatus.UP


@dataclass(frozen=True, slots=True)
class TunnelInfo:
    """What the server assigned."""

    server: str
    """The server as "host:port"."""
    addresses: tuple[IPAddress, ...]
    dns: tuple[IPAddress, ...]
    mtu: int
    """The largest IP packet we send, in octets."""
    tls_version: str
    correlation_id: str
    """The SSTPCORRELATIONID, by which the server's administrator finds this connection."""
    routes: tuple[IPv4Network, ...] = ()
    """What the network pushed routes to; empty while, or when, it did not."""
    search: tuple[str, ...] = ()
    """The domains in which single-label names are looked for: the settings' own, then what the network told."""
    peer: IPAddress | None = None
    """The server's own address in the tunnel, if it told."""


StateObserver = Callable[[TunnelState], None]


def ignore_states(_state: TunnelState) -> None:
    """Observe nothing."""


def retry_delay(elapsed: float, attempt: int, entropy: Entropy) -> float:
    """Return how long to wait before try number ``attempt`` (from 0), ``elapsed`` seconds after the loss.

    The first try comes at once, later ones after 0.5 to 1 s; after five minutes after 15 to 30 s. The jitter keeps
    many clients of one server from returning in step.
    """
    if attempt == 0:
        return 0.0
    longest = EAGER_DELAY if elapsed < EAGER_PERIOD else PATIENT_DELAY
    return longest * (0.5 + random_below(entropy, 1000) / 2000)


class _Backoff:
    """How long to wait before the next try, over all tries since the tunnel was last stable."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._lost_at: float | None = None
        self._attempt = 0

    def lost(self, up_since: float, now: float) -> None:
        """A tunnel that was up from ``up_since`` on was lost."""
        if self._lost_at is None or now - up_since >= STABLE_PERIOD:
            self._lost_at = now
            self._attempt = 0

    def next_delay(self, now: float) -> float:
        """Return the seconds to wait before the next try, and count it."""
        delay = retry_delay(now - (self._lost_at or 0.0), self._attempt, self._entropy)
        self._attempt += 1
        return delay


class Session:
    """A tunnel to one server as an async context manager; implements tunnel.network.Network while it is entered.

    Entering sets the tunnel up and raises the TunnelError of the step that failed. Leaving ends PPP and SSTP in
    order. In between a lost tunnel is dialled again, unless the settings say never; while it is down dialling raises
    TunnelDown. A session is entered once.
    """

    def __init__(
        self,
        settings: TunnelSettings,
        *,
        observe: StepObserver = ignore_steps,
        on_state: StateObserver = ignore_states,
        entropy: Entropy | None = None,
        dial: Dial = connect_transport,
    ) -> None:
        """``dial`` connects to the server."""
        self.settings = settings
        self.failure: SstpsocksError | None = None
        """Why the session ended by itself, None while it did not."""
        self._observe = observe
        self._on_state = on_state
        self._entropy = entropy if entropy is not None else SystemEntropy()
        self._connection: ServerConnection | None = None
        self._closed = trio.Event()
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery
        self._entered = False
        self._tap: Tap | None = None
        self._server = settings
        """The settings of the server that was used last: these, or an alternative's."""
        self._credentials = KeptCredentials(settings.credentials)
        self._dial = dial
        self._refused: set[Credentials] = set()
        self._eap = EapLogin(settings)
        # One for all connections of the session, so that a reconnect brings the same IPv6 address back.
        self._secret = settings.identifier_secret or self._entropy.random_bytes(16)

    async def __aenter__(self) -> Self:
        """Connect. Raises TunnelError, or ConfigError when the credentials or the capture file cannot be had."""
        if self._entered:
            raise LocalProtocolError("a session is entered once; make another one", layer="tunnel")
        self._entered = True
        self._tap = open_tap(self.settings)
        self._nursery = await self._nursery_manager.__aenter__()
        try:
            self._on_state(TunnelState(TunnelStatus.CONNECTING, f"connecting to {self.settings.server}"))
            connection = await self._connect()
        except BaseException:
            await self._leave()
            raise
        self._nursery.start_soon(self._supervise, connection)
        if self._tap is not None:
            self._nursery.start_soon(self._keep_flushed, self._tap)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End PPP and SSTP in order, within a grace period, and leave nothing running."""
        await self._leave()

    async def wait_closed(self) -> None:
        """Wait until the session has ended by itself, and raise why."""
        await self._closed.wait()
        if self.failure is not None:
            raise self.failure

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
        stream = TcpStream(stack.connect_tcp(address, port, driver.now()), driver)
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
        driver, stack = self._require(peer)
        address = stack.source_for(peer) if peer is not None else None
        return TcpAcceptor(stack.listen_tcp(port, backlog=LISTEN_BACKLOG), driver, address)

    def open_udp_port(self, port: int = 0) -> UdpPort:
        """Open a UDP port that is connected to nobody, 0 for a random one.

        Raises TunnelDown, LocalProtocolError for a port in use, or TooManyConnections.
        """
        driver, stack = self._require(None)
        return UdpPort(stack.open_udp(local_port=port or None), driver, self._require)

    async def ping(self, address: IPAddress, size: int = 84, limit: float = 5.0, *, df: bool = False) -> float:
        """Send an echo request of ``size`` octets, IP header included, and return the seconds until its reply.

        ``df``: nobody may fragment it. Raises ConnectTimedOut when none comes, what ICMP said, TunnelDown, or
        LocalProtocolError for a size that is none.
        """
        driver, stack = self._require(address)
        return await ping(stack, driver, address, size=size, limit=limit, dont_fragment=df)

    def _require(self, address: IPAddress | None) -> tuple[Driver, Stack]:
        """Return what carries packets. Raises TunnelDown, NetworkUnreachable for an address that is not reached."""
        connection = self._connection
        if connection is None or connection.driver is None or connection.stack is None:
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

    # Coming and going

    async def _connect(self) -> ServerConnection:
        """Connect to the first server that can be reached, beginning with the one that was used last."""
        servers = in_order(self.settings, self._server)
        failures: list[TunnelError] = []
        self._credentials.forget()
        for number, settings in enumerate(servers, 1):
            try:
                return await self._connect_to(settings)
            except TunnelError as error:
                if len(servers) == 1 or not moves_on(error):
                    raise
                failures.append(error)
                if number < len(servers):
                    text = f"{error}; trying server {servers[number].server}"
                    self._observe(StepReport(Step.TCP, True, text, failed=True))
        raise none_reached(failures)

    async def _connect_to(self, settings: TunnelSettings) -> ServerConnection:
        connection = self._new_connection(settings)
        try:
            await connection.connect()
        except TunnelError as error:
            if connection.driver is None:
                self._credentials.keep()
            if not self._eap.try_otherwise(connection.method, error):
                raise
            text = f"{error}; dialling again, with another crypto binding"
            self._on_state(TunnelState(TunnelStatus.CONNECTING, text))
            connection = self._new_connection(settings)
            await connection.connect()
        self._eap.worked()
        self._connection, self._server = connection, settings
        addresses = ", ".join(map(str, self.info.addresses))
        self._on_state(TunnelState(TunnelStatus.UP, f"tunnel to {settings.server} is up as {addresses}"))
        return connection

    def _new_connection(self, settings: TunnelSettings) -> ServerConnection:
        return ServerConnection(
            replace(settings, credentials=self._credentials),
            entropy=self._entropy,
            observe=self._observe,
            nursery=self._nursery,
            refused=self._refused,
            secret=self._secret,
            unasked=self._connection.unasked if self._connection is not None else frozenset(),
            eap=self._eap,
            dial=self._dial,
            tap=self._tap,
        )

    async def _supervise(self, connection: ServerConnection) -> None:
        """Dial again each time the tunnel is lost; end the last connection in order when that is no longer wanted."""
        backoff = _Backoff(self._entropy)
        try:
            while True:
                up_since = trio.current_time()
                await connection.ending.wait()
                if connection.error is None:
                    return  # the driver broke, and its error is on the way
                await connection.close()
                backoff.lost(up_since, trio.current_time())
                again = await self._reconnect(connection.error, backoff)
                if again is None:
                    return
                connection = again
        finally:
            if self._connection is not None:
                await self._connection.close()

    async def _reconnect(self, error: SstpsocksError, backoff: _Backoff) -> ServerConnection | None:
        """Dial until the tunnel is up again; return None when that is not wanted or makes no sense."""
        while True:
            # Other errors than a TunnelError are about the settings and the password, which will not get better.
            if self.settings.reconnect == "never" or not isinstance(error, TunnelError) or not error.may_retry:
                self._end(error)
                return None
            delay = backoff.next_delay(trio.current_time())
            again = f"dialling again in {delay:.1f} s" if delay else "dialling again"
            self._on_state(TunnelState(TunnelStatus.RECONNECTING, f"{error}; {again}"))
            await trio.sleep(delay)
            try:
                return await self._connect()
            except SstpsocksError as failed:
                error = failed

    def _end(self, error: SstpsocksError) -> None:
        self.failure = error
        self._on_state(TunnelState(TunnelStatus.CLOSED, str(error)))
        self._closed.set()

    async def _keep_flushed(self, tap: Tap) -> None:
        while True:
            await trio.sleep(FLUSH_INTERVAL)
            tap.flush(trio.current_time())

    async def _leave(self) -> None:
        # The supervisor and a connect in progress end their connections in order when they are cancelled.
        self._nursery.cancel_scope.cancel()
        try:
            # Nothing is told of the exception that is on its way: it comes out as it is, not in a group.
            await self._nursery_manager.__aexit__(None, None, None)
        finally:
            if self._tap is not None:
                self._tap.close()
            self._closed.set()
