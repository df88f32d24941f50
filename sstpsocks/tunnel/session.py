"""A tunnel that stays: the first connect, the network it offers, and dialling again when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self
from weakref import WeakSet

import trio

from ..base.entropy import Entropy, random_below
from ..errors import NetworkUnreachable, SstpsocksError, TunnelDown, TunnelError
from ..net.stack import Stack
from .connection import ServerConnection
from .datagrams import UdpSocket
from .driver import Driver
from .entropy_source import SystemEntropy
from .network import IPAddress
from .settings import TunnelSettings
from .steps import StepObserver, ignore_steps
from .streams import TcpStream
from .taps import PcapTap

# A lost tunnel is dialled again quickly while people wait, and gently once it is plain that the server stays away.
EAGER_PERIOD = 300.0
EAGER_DELAY = 1.0
PATIENT_DELAY = 30.0


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


class Session:
    """A tunnel to one server as an async context manager; implements tunnel.network.Network while it is entered.

    Entering sets the tunnel up and raises the TunnelError of the step that failed. Leaving ends PPP and SSTP in
    order. In between a lost tunnel is dialled again, unless the settings say never; while it is down dialling raises
    TunnelDown.
    """

    def __init__(
        self,
        settings: TunnelSettings,
        *,
        observe: StepObserver = ignore_steps,
        on_state: StateObserver = ignore_states,
        entropy: Entropy | None = None,
    ) -> None:
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
        self._tap: PcapTap | None = None
        self._datagrams: WeakSet[UdpSocket] = WeakSet()

    async def __aenter__(self) -> Self:
        """Connect. Raises TunnelError, or ConfigError when the credentials or the capture file cannot be had."""
        if self.settings.pcap_file is not None:
            self._tap = PcapTap(self.settings.pcap_file)
        self._nursery = await self._nursery_manager.__aenter__()
        self._on_state(TunnelState(TunnelStatus.CONNECTING, f"connecting to {self.settings.server}"))
        try:
            connection = await self._connect()
        except BaseException:
            await self._leave()
            raise
        self._nursery.start_soon(self._supervise, connection)
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
        up = connection.link_up if connection is not None else None
        return TunnelInfo(
            server=self.settings.server,
            addresses=(up.local,) if up is not None else (),
            dns=up.dns if up is not None else (),
            mtu=connection.mtu if connection is not None else self.settings.mtu,
            tls_version=connection.tls_version if connection is not None else "",
            correlation_id=connection.correlation_id if connection is not None else "",
        )

    # Network

    @property
    def up(self) -> bool:
        """Whether traffic passes now."""
        return self._connection is not None and self._connection.stack is not None

    @property
    def local_addresses(self) -> tuple[IPAddress, ...]:
        """Our addresses in the tunnel; empty while it is down."""
        return self.info.addresses if self.up else ()

    @property
    def dns_servers(self) -> tuple[IPAddress, ...]:
        """The name servers that the server gave; empty while the tunnel is down."""
        return self.info.dns if self.up else ()

    async def connect_tcp(self, address: IPAddress, port: int) -> TcpStream:
        """Open a TCP connection. Raises a DialError."""
        address, driver, stack = self._require(address)
        stream = TcpStream(stack.connect_tcp(address, port, driver.now()), driver)
        driver.flush()
        try:
            await stream.wait_connected()
        except BaseException:
            stream.abort()
            raise
        return stream

    def open_udp(self, address: IPAddress, port: int) -> UdpSocket:
        """Open a UDP socket connected to one peer. Raises TunnelDown or NetworkUnreachable."""
        address, driver, stack = self._require(address)
        udp = UdpSocket(stack.open_udp(address, port), (address, port), driver)
        self._datagrams.add(udp)
        return udp

    def _require(self, address: IPAddress) -> tuple[IPv4Address, Driver, Stack]:
        connection = self._connection
        if connection is None or connection.driver is None or connection.stack is None:
            raise TunnelDown(f"the tunnel to {self.settings.server} is down", hint="it is being dialled again")
        if not isinstance(address, IPv4Address):
            raise NetworkUnreachable(f"{address}: the tunnel carries no IPv6")
        return address, connection.driver, connection.stack

    # Coming and going

    async def _connect(self) -> ServerConnection:
        connection = ServerConnection(
            self.settings, entropy=self._entropy, observe=self._observe, nursery=self._nursery, tap=self._tap
        )
        await connection.connect()
        self._connection = connection
        addresses = ", ".join(map(str, self.info.addresses))
        self._on_state(TunnelState(TunnelStatus.UP, f"tunnel to {self.settings.server} is up as {addresses}"))
        return connection

    async def _supervise(self, connection: ServerConnection | None) -> None:
        while connection is not None:
            await connection.ending.wait()
            error = connection.error
            if error is None:
                return
            self._fail_datagrams()
            await connection.down.wait()
            connection = await self._reconnect(error)

    async def _reconnect(self, error: TunnelError) -> ServerConnection | None:
        """Dial until the tunnel is up again; return None when that is not wanted or makes no sense."""
        lost_at = trio.current_time()
        attempt = 0
        reason: SstpsocksError = error
        while True:
            if self.settings.reconnect == "never" or not error.may_retry:
                self._end(reason)
                return None
            delay = retry_delay(trio.current_time() - lost_at, attempt, self._entropy)
            again = f"dialling again in {delay:.1f} s" if delay else "dialling again"
            self._on_state(TunnelState(TunnelStatus.RECONNECTING, f"{reason}; {again}"))
            await trio.sleep(delay)
            attempt += 1
            try:
                return await self._connect()
            except TunnelError as failed:
                reason = error = failed
            except SstpsocksError as failed:
                self._end(failed)
                return None

    def _end(self, error: SstpsocksError) -> None:
        self.failure = error
        self._on_state(TunnelState(TunnelStatus.CLOSED, str(error)))
        self._closed.set()

    def _fail_datagrams(self) -> None:
        for udp in list(self._datagrams):
            udp.fail(TunnelDown(f"the tunnel to {self.settings.server} is down"))
        self._datagrams.clear()

    async def _leave(self) -> None:
        if self._connection is not None:
            with trio.CancelScope(shield=True):
                await self._connection.close()
        self._fail_datagrams()
        self._nursery.cancel_scope.cancel()
        try:
            await self._nursery_manager.__aexit__(None, None, None)
        finally:
            if self._tap is not None:
                self._tap.close()
            self._closed.set()
