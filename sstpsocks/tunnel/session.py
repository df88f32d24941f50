"""A tunnel that stays: the first connect, the network it offers, and dialling again when it is lost."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self

import trio

from ..base.entropy import Entropy, random_below
from ..errors import LocalProtocolError, SstpsocksError, TunnelError
from ..ppp.auth import Credentials
from .alternatives import KeptCredentials, in_order, moves_on, none_reached
from .capture_file import FLUSH_INTERVAL
from .connection import ServerConnection
from .eap_login import EapLogin
from .entropy_source import SystemEntropy
from .reach import Dial, connect_transport
from .session_network import SessionNetwork
from .settings import TunnelSettings
from .states import SessionRecord, StateObserver, TunnelState, TunnelStatus, ignore_states
from .steps import Step, StepObserver, StepReport, ignore_steps
from .tap import Tap, open_tap

# A lost tunnel is dialled again quickly while people wait, and gently once it is plain that the server stays away.
EAGER_PERIOD = 300.0
EAGER_DELAY = 1.0
PATIENT_DELAY = 30.0

# A tunnel that did not stand that long counts as another failed try: a server that ends each tunnel at once is not
# dialled, and logged in to, without a pause.
STABLE_PERIOD = 10.0


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
    ) -> None:
        """``dial`` connects to the server."""
        super().__init__(settings)
        self.record = SessionRecord()
        """What it has been through."""
        self.state = TunnelState(TunnelStatus.CONNECTING, f"connecting to {settings.server}")
        """What it is doing now."""
        self.since = 0.0
        """When that began, by trio's clock."""
        self.failure: SstpsocksError | None = None
        """Why the session ended by itself, None while it did not."""
        self._observe = observe
        self._on_state = on_state
        self._entropy = entropy if entropy is not None else SystemEntropy()
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery
        self._entered = False
        self._tap: Tap | None = None
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
            self._enter(TunnelStatus.CONNECTING, f"connecting to {self.settings.server}")
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
            self._enter(TunnelStatus.CONNECTING, text)
            connection = self._new_connection(settings)
            await connection.connect()
        self._eap.worked()
        self._connection, self._server = connection, settings
        self.record.connected(trio.current_time() - begun, again=self.record.connects > 0)
        addresses = ", ".join(map(str, self.info.addresses))
        self._enter(TunnelStatus.UP, f"tunnel to {settings.server} is up as {addresses}")
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
                self.record.lost(connection.error)
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
            self._enter(TunnelStatus.RECONNECTING, f"{error}; {again}")
            await trio.sleep(delay)
            try:
                return await self._connect()
            except SstpsocksError as failed:
                error = failed

    def _end(self, error: SstpsocksError) -> None:
        self.failure = error
        self._enter(TunnelStatus.STOPPED, str(error))
        self._closed.set()

    def _enter(self, status: TunnelStatus, text: str) -> None:
        if status is not self.state.status or self.since == 0.0:
            self.since = trio.current_time()
        self.state = TunnelState(status, text)
        self._on_state(self.state)

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
