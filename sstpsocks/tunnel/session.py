"""A tunnel that stays: the first connect, the network it offers, and dialling again when it is lost."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self

import trio

from ..base.entropy import Entropy
from ..errors import ConnectionLost, LocalProtocolError, SstpsocksError, TunnelClosed, TunnelError
from ..ppp.auth import Credentials
from .alternatives import KeptCredentials, in_order, moves_on, none_reached
from .capture_file import FLUSH_INTERVAL
from .connection import ServerConnection
from .eap_login import EapLogin
from .entropy_source import SystemEntropy
from .flow_keeper import in_use
from .lifecycle import Lifecycle, ReconnectPolicy
from .reach import Dial, connect_transport
from .session_network import SessionNetwork
from .settings import CredentialRequest, TunnelSettings
from .states import StateObserver, TunnelState, TunnelStatus, ignore_states
from .steps import Step, StepObserver, StepReport, ignore_steps
from .tap import Tap, open_tap
from .wake import LOOK_INTERVAL, PROBE_LIMIT, Change, Clocks, ClockWatch, WayWatch, read_clocks

# Sources that know the answer give it sooner.
ASKING_TAKES = 0.5


class Session(SessionNetwork):
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
        clocks: Clocks = read_clocks,
    ) -> None:
        """``dial`` connects to the server. ``clocks``: what tells that this machine has slept."""
        self._clocks = clocks
        super().__init__(settings)
        self.state = TunnelState(TunnelStatus.CONNECTING, "")
        """What it is doing now."""
        self.since = 0.0
        """When that began, by trio's clock."""
        self.failure: SstpsocksError | None = None
        """Why the session ended by itself, None while it did not."""
        self._observe = observe
        self._on_state = on_state
        self._entropy = entropy if entropy is not None else SystemEntropy()
        policy = ReconnectPolicy(
            reconnect=settings.reconnect == "auto", budget=settings.reconnect_budget, on_demand=settings.on_demand
        )
        self._life = Lifecycle(policy, self._entropy)
        self._demand = trio.Event()
        """Set when somebody wants the tunnel."""
        self._awoken = trio.Event()
        """Set when dialling must not be waited for any longer."""
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery
        self._entered = False
        self._tap: Tap | None = None
        self._credentials = KeptCredentials(self._ask)
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
            connection = await self._first_connect()
        except BaseException:
            await self._leave()
            raise
        self._nursery.start_soon(self._supervise, connection)
        self._nursery.start_soon(self._watch_machine)
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

    # Coming and going

    async def _first_connect(self) -> ServerConnection | None:
        self.since = trio.current_time()
        if self.settings.on_demand:
            self._enter(f"{self.settings.server} is dialled when somebody wants it")
            return None
        self._enter(f"connecting to {self.settings.server}")
        try:
            return await self._connect()
        except SstpsocksError as error:
            self._life.failed(error, trio.current_time())
            raise

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
        begun = trio.current_time()
        try:
            await connection.connect()
        except SstpsocksError as error:
            self.record.failed(connection.step.value, error)
            if not isinstance(error, TunnelError):
                raise
            if connection.driver is None:
                self._credentials.keep()
            if not self._eap.try_otherwise(connection.method, error):
                raise
            text = f"{error}; dialling again, with another crypto binding"
            self._enter(text)
            connection = self._new_connection(settings)
            await connection.connect()
        self._eap.worked()
        self._connection, self._server = connection, settings
        self.record.connected(trio.current_time() - begun, again=self.record.connects > 0)
        self._life.connected(trio.current_time())
        addresses = ", ".join(map(str, self.info.addresses))
        self._enter(f"tunnel to {settings.server} is up as {addresses}")
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
            keeper=self._keeper,
            on_suspicion=self._suspect,
        )

    async def _ask(self, request: CredentialRequest) -> Credentials:
        """Ask the source of the settings; when that takes a moment, somebody is being waited for."""
        asking = trio.CancelScope()
        self._nursery.start_soon(self._tell_waiting, asking)
        try:
            return await self.settings.credentials(request)
        finally:
            asking.cancel()
            if self._life.status is TunnelStatus.WAITING:
                self._life.given()
                self._enter(f"connecting to {request.server}")

    async def _tell_waiting(self, asking: trio.CancelScope) -> None:
        with asking:
            await trio.sleep(ASKING_TAKES)
            if self._life.dialling:
                self._life.asking()
                self._enter(f"waiting for the credentials for {self._server.server}")

    def _suspect(self, suspected: bool) -> None:
        if not self._life.standing:
            return
        if suspected:
            self._life.suspected()
            self._enter(f"{self._server.server} does not answer; it is given up if it stays silent")
        else:
            self._life.answered()
            self._enter(f"{self._server.server} answers again")

    def _note(self, text: str) -> None:
        self._observe(StepReport(Step.FLOWS, True, text))

    async def _supervise(self, connection: ServerConnection | None) -> None:
        """Do what the machine says until it stops; end the last connection in order when nobody wants it any more."""
        try:
            while True:
                if connection is not None:
                    connection = await self._until_over(connection)
                elif self._life.dialling:
                    connection = await self._try()
                elif self._life.status is TunnelStatus.IDLE:
                    await self._demand.wait()
                    self._life.wanted(trio.current_time())
                    self._enter(f"connecting to {self._server.server}")
                else:
                    return
        finally:
            if self._connection is not None:
                await self._connection.close()
            self._keeper.forget(ConnectionLost("it was closed"), trio.current_time())

    async def _until_over(self, connection: ServerConnection) -> ServerConnection | None:
        """Wait for the end of a connection; return it when it was not one that makes the machine go on."""
        if self.settings.on_demand:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_use, connection, scope)
                    await connection.ending.wait()
                    nursery.cancel_scope.cancel()
            if not connection.ending.is_set():
                await connection.close()
                self._life.unused()
                self._demand = trio.Event()
                self._enter(f"not used for {self.settings.idle_timeout:g} s; dialled again when somebody wants it")
                return None
        else:
            await connection.ending.wait()
        error = connection.error
        if error is None:
            self._life.end()  # the driver broke, and its error is on the way
            return None
        self._count(connection)
        self.record.lost(error)
        await connection.close()
        self._life.lost(error, trio.current_time())
        self._go_on(error)
        return None

    async def _try(self) -> ServerConnection | None:
        """Dial when it is time to; return the connection, None when that failed."""
        self._awoken = trio.Event()
        with trio.move_on_at(self._life.dial_at):
            await self._awoken.wait()
        try:
            return await self._connect()
        except SstpsocksError as error:
            now = trio.current_time()
            self._keeper.forget_old(now)
            self._life.failed(error, now, wanted=now < self._held_until or self._keeper.waiting > 0)
            self._go_on(error)
            return None

    def _go_on(self, error: SstpsocksError) -> None:
        """Tell what a loss or a failed try has led to."""
        if self._life.status is TunnelStatus.STOPPED:
            self.failure = error
            self._keeper.forget(error, trio.current_time())
            self._enter(str(error))
            self._closed.set()
            self._news.unpark_all()
            return
        self._demand = trio.Event()
        delay = self._life.dial_at - trio.current_time()
        again = f"dialling again in {delay:.1f} s" if delay > 0 else "dialling again"
        if self._life.status is TunnelStatus.IDLE:
            again = "dialled again when somebody wants it"
        self._enter(f"{error}; {again}")

    async def _watch_use(self, connection: ServerConnection, over: trio.CancelScope) -> None:
        """Cancel ``over`` when no connection was open and nobody has asked for anything for long."""
        last = trio.current_time()
        while trio.current_time() - last < self.settings.idle_timeout:
            await trio.sleep(min(1.0, self.settings.idle_timeout / 4))
            last = max(last, self._used_at)
            listening = any(not one.closed for one in self._listening)
            if listening or (connection.stack is not None and in_use(connection.stack)):
                last = trio.current_time()
        over.cancel()

    def _want(self) -> None:
        self._demand.set()

    def _count(self, connection: ServerConnection) -> None:
        if connection.driver is not None:
            self.record.octets_received += connection.driver.bytes_received
            self.record.octets_sent += connection.driver.bytes_sent

    def _enter(self, text: str) -> None:
        status = self._life.status
        if status is not self.state.status:
            self.since = trio.current_time()
        self.state = TunnelState(status, text)
        self._news.unpark_all()
        self._on_state(self.state)

    async def _watch_machine(self) -> None:
        """Notice within two seconds that this machine has slept or that its network is another one."""
        clocks = ClockWatch(*self._clocks())
        way = WayWatch()
        while True:
            await trio.sleep(LOOK_INTERVAL)
            slept = clocks.look(*self._clocks())
            if slept:
                self._life.hurry(trio.current_time())
                self._awoken.set()
            connection = self._connection
            driver = connection.driver if connection is not None and self._life.standing else None
            if connection is None or driver is None or connection.ending.is_set():
                continue
            self.record.round_trip = driver.link.echo_seconds
            change = way.look(driver.endpoints())
            if change is Change.ADDRESS_GONE:
                driver.give_up(TunnelClosed("the address of this machine that the tunnel used is gone"))
            elif slept or change is Change.OTHER_WAY:
                driver.probe(PROBE_LIMIT)

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
