"""``sstpsocks connect``: the port, the tunnel, the signals, and an orderly end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import trio

from ..dns.listener import DnsListener
from ..errors import ConfigError
from ..library import Tunnel, run_tunnel
from ..proxy.context import Pages, no_pages
from ..proxy.listen import Listeners as Listeners
from ..proxy.listen import name_of, open_all
from ..proxy.outlet import Outlet
from ..proxy.port import ProxyPort
from ..proxy.routing.table import RuleTable
from ..proxy.users import Users
from ..tunnel.session import StateObserver, TunnelState, TunnelStatus
from ..tunnel.settings import CredentialReason, CredentialRequest, TunnelSettings
from ..tunnel.steps import LATER_STEPS, StepObserver, StepReport
from .config import Configuration, ListenSettings
from .credentials import PasswordSource
from .dns_port import open_dns_port, serve_dns_port, tell_leaks
from .failures import EXIT_OK
from .forward_ports import ForwardPorts
from .limits import allow_open_files
from .messages import Display
from .pac import pac_pages
from .prompts import set_before_prompts
from .readyfile import Ready, ReadyFile
from .reload import Reload
from .rules_config import UNNAMED
from .signals import leave_at_once, run_until_signalled
from .values import host_port

# Files beside those of the connections: the tunnel's socket, listeners, the event loop's own, log and capture.
SPARE_FILES = 128

Serve = Callable[[Tunnel, ListenSettings, Listeners], Awaitable[None]]


class OpenTunnel(Protocol):
    """What library.run_tunnel() is."""

    def __call__(
        self, settings: TunnelSettings, *, observe: StepObserver, on_state: StateObserver
    ) -> AbstractAsyncContextManager[Tunnel]:
        """Open the tunnel."""
        ...


async def serve_socks(tunnel: Tunnel, listen: ListenSettings, listeners: Listeners) -> None:
    """Serve SOCKS and HTTP until cancelled."""
    pages = pac_pages(lambda: RuleTable((), UNNAMED), tuple(map(name_of, listeners)))
    await serve_port(tunnel.dialer, listen, listeners, pages)


async def serve_port(outlet: Outlet, listen: ListenSettings, listeners: Listeners, pages: Pages = no_pages) -> None:
    """Serve SOCKS and HTTP until cancelled, with a way out and the pages that the port itself answers."""
    server = ProxyPort(
        outlet,
        pages=pages,
        users=listen.in_force if listen.in_force is not None else Users(listen.all_users),
        max_connections=listen.max_connections,
        only_own_user=listen.same_user,
    )
    await server.serve(listeners)


async def open_port(listen: ListenSettings) -> Listeners:
    """Listen wherever the settings say. Raises ConfigError."""
    return await open_all(listen.addresses, open_to_all=listen.open_to_all)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the command drives; tests put their own here."""

    open_tunnel: OpenTunnel = run_tunnel
    open_listeners: Callable[[ListenSettings], Awaitable[Listeners]] = open_port
    serve: Serve = serve_socks
    leave_at_once: Callable[[], None] = leave_at_once


async def run_connect(configuration: Configuration, display: Display, engine: Engine | None = None) -> int:
    """Connect, serve until a signal ends it, and return the exit code 0.

    Raises SstpsocksError (possibly inside an exception group) when the tunnel cannot be set up or is lost for good.
    """
    if configuration.others or configuration.rules:
        # Never one tunnel in silence where several were asked for, nor past the rules.
        raise ConfigError("this command takes one tunnel and no rules", hint="Leave out --rule, choose with --profile")
    command = _Connect(configuration, display, engine if engine is not None else Engine())
    return await command.run()


class _Connect:
    """One run of the command."""

    def __init__(self, configuration: Configuration, display: Display, engine: Engine) -> None:
        self._configuration = configuration
        self._display = display
        self._engine = engine
        self._changed = trio.Event()
        """Set when the tunnel is up again or the network told more, for the task that keeps the ready file."""
        path = configuration.output.ready_file
        self._dns: list[DnsListener] = []
        self._ready_file = ReadyFile(path) if path is not None else None
        self._listeners = Listeners()
        self._forwards = ForwardPorts(configuration.forwards)
        self._reload = Reload(configuration, display)

    async def run(self) -> int:
        return await run_until_signalled(
            self._session,
            on_first=self._display.ending,
            on_second=self._leave_at_once,
            on_hang_up=self._reload.run if self._reload.possible else None,
        )

    def _leave_at_once(self) -> None:
        if self._ready_file is not None:
            self._ready_file.remove()
        self._listeners.remove_files()
        self._forwards.remove_files()
        self._engine.leave_at_once()

    async def _session(self) -> int:
        listen = self._configuration.listen
        if self._ready_file is not None:
            self._ready_file.claim()
        allowed = allow_open_files(listen.max_connections + SPARE_FILES)
        # Beyond what may be open a program would wait in the kernel's queue; beyond the cap it is told.
        most = max(min(listen.max_connections, allowed - SPARE_FILES), 1)
        listen = replace(listen, max_connections=most, in_force=self._reload.users_of())
        # Before dialling: a port that is taken is better told before a password is asked for.
        listeners = self._listeners = await self._engine.open_listeners(listen)
        try:
            self._dns = await open_dns_port(self._configuration.dns_listen)
            await self._forwards.open()
            for tunnel_settings in self._configuration.tunnels:
                tell_leaks(tunnel_settings.settings.names, self._display.warning)
            await self._prepare_password()
            settings = self._configuration.tunnel
            async with self._engine.open_tunnel(
                settings, observe=self._on_step, on_state=self._on_state
            ) as tunnel, trio.open_nursery() as nursery:  # fmt: skip
                nursery.start_soon(self._engine.serve, tunnel, listen, listeners)
                if self._configuration.forwards:
                    nursery.start_soon(self._forwards.serve, tunnel.dialer, listen)
                if self._dns and tunnel.answers is not None:
                    nursery.start_soon(serve_dns_port, self._dns, tunnel.answers)
                self._reload.tunnels[self._configuration.name] = tunnel
                await self._announce(tunnel, listeners)
                self._reload.ready = True
                if self._ready_file is not None:
                    nursery.start_soon(self._keep_ready_file, tunnel, listeners, self._ready_file)
                await tunnel.wait_closed()
                nursery.cancel_scope.cancel()
        finally:
            if self._ready_file is not None:
                self._ready_file.remove()
            with trio.CancelScope(shield=True):  # closing a listening socket does not wait
                await listeners.aclose()
                await self._forwards.aclose()
                for dns_listener in self._dns:
                    dns_listener.close()
        return EXIT_OK

    async def _prepare_password(self) -> None:
        settings, password = self._configuration.tunnel, self._configuration.password
        password.tell = self._display.warning
        set_before_prompts(self._configuration, self._display.interrupt)
        await self._prepare_proxy_passwords()
        await password.prepare(CredentialRequest(CredentialReason.LOGIN, settings.username, settings.server))

    async def _prepare_proxy_passwords(self) -> None:
        tunnel = self._configuration.tunnel
        asked: list[PasswordSource] = []
        for proxy in (settings.proxy for settings in (tunnel, *tunnel.alternatives)):
            if proxy is not None and isinstance(proxy.credentials, PasswordSource) and proxy.credentials not in asked:
                asked.append(proxy.credentials)
                await proxy.credentials.prepare(CredentialRequest(CredentialReason.LOGIN, proxy.username, str(proxy)))

    async def _announce(self, tunnel: Tunnel, listeners: Listeners) -> None:
        ready = ready_of(tunnel, listeners, self._dns)
        if self._ready_file is not None:
            self._ready_file.write(ready)
        credentials = self._configuration.listen.credentials
        self._display.ready(ready, credentials[0] if credentials else None)

    def _on_state(self, state: TunnelState) -> None:
        if state.status is TunnelStatus.CLOSED:
            return  # wait_closed() raises the same, and the last line says it
        self._display.state(state)
        if state.up:
            self._changed.set()

    def _on_step(self, report: StepReport) -> None:
        self._display.step(report)
        if report.step in LATER_STEPS:
            self._changed.set()

    async def _keep_ready_file(self, tunnel: Tunnel, listeners: Listeners, ready_file: ReadyFile) -> None:
        """Write the file again when a reconnect brought other addresses, or the network told more."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if tunnel.network.up:
                ready_file.write(ready_of(tunnel, listeners, self._dns))


def ready_of(tunnel: Tunnel, listeners: Sequence[trio.SocketListener], dns: Sequence[DnsListener]) -> Ready:
    """Return what the ready file says of a tunnel and the ports to it."""
    info = tunnel.info
    return Ready(
        listen=tuple(name_of(listener) for listener in listeners),
        server=info.server,
        addresses=tuple(str(address) for address in info.addresses),
        dns=tuple(str(address) for address in info.dns),
        mtu=info.mtu,
        routes=tuple(str(network) for network in info.routes),
        search=info.search,
        dns_listen=tuple(host_port(*listener.address) for listener in dns),
    )
