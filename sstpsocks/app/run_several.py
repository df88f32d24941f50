"""``sstpsocks connect`` with several tunnels, or with rules: one router in front of them all.

Theory of operation. Every tunnel has a task, its own stack and, if it wants, its own port, which knows no rules. The
shared port, the DNS port and the PAC file ask the router. A tunnel that cannot be set up or is lost for good is told
and leaves the others alone; what rules send to it fails from then on, and never takes another way. The program ends
when none is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from ..dns.listener import DnsListener
from ..dns.policy import TunnelAnswers
from ..dns.table import NameTable
from ..proxy.context import Pages
from ..proxy.listen import Listeners, name_of
from ..proxy.routing.direct import Direct
from ..proxy.routing.language import DIRECT
from ..proxy.routing.router import Router
from ..tunnel.name_settings import NameSettings, Way
from ..tunnel.session import TunnelState, TunnelStatus
from ..tunnel.settings import CredentialReason, CredentialRequest
from ..tunnel.steps import LATER_STEPS, StepReport
from .config import Configuration, NamedTunnel
from .credentials import PasswordSource
from .dns_port import open_dns_port, serve_dns_port, tell_leaks
from .failures import EXIT_OK, describe
from .forward_ports import ForwardPorts
from .limits import allow_open_files
from .messages import Display
from .pac import pac_pages
from .prompts import set_before_prompts
from .readyfile import Ready, ReadyFile
from .reload import Reload
from .rules_config import UNNAMED
from .run import SPARE_FILES, Engine, ready_of, serve_port
from .signals import run_until_signalled
from .slots import NoNetwork, RoutedAnswers, Slot
from .values import host_port


async def run_several(configuration: Configuration, display: Display, engine: Engine | None = None) -> int:
    """Connect all tunnels, serve until a signal ends it, and return the exit code 0.

    Raises SstpsocksError (possibly inside an exception group) when no tunnel can be set up, or the last is lost.
    """
    return await _Several(configuration, display, engine if engine is not None else Engine()).run()


class _Member:
    """One tunnel of the run."""

    def __init__(self, named: NamedTunnel, display: Display, changed: Callable[[], None]) -> None:
        self.named = named
        self.name = named.name or UNNAMED
        self.slot = Slot(self.name)
        self.listeners = Listeners()
        self.places: tuple[str, ...] = ()
        """Where its own port is."""
        self.settled = trio.Event()
        """Set when it is up for the first time, or never will be."""
        self.failure: Exception | None = None
        self._display = display
        self._changed = changed

    def on_step(self, report: StepReport) -> None:
        self._display.step(replace(report, text=f"{self.name}: {report.text}"))
        if report.step in LATER_STEPS:
            self._changed()

    def on_state(self, state: TunnelState) -> None:
        if state.status is not TunnelStatus.CLOSED:  # the failure that is told says the same
            self._display.state(replace(state, text=f"{self.name}: {state.text}"))
        self._changed()


class _Several:
    """One run of the command."""

    def __init__(self, configuration: Configuration, display: Display, engine: Engine) -> None:
        self._configuration = configuration
        self._display = display
        self._engine = engine
        self._changed = trio.Event()
        self._members = [_Member(named, display, lambda: self._changed.set()) for named in configuration.tunnels]
        self._last_failure: Exception | None = None
        self._listeners = Listeners()
        self._forwards = ForwardPorts(configuration.forwards)
        self._reload = Reload(configuration, display)
        self._places: tuple[str, ...] = ()
        self._dns_places: tuple[str, ...] = ()
        self._dns: list[DnsListener] = []
        path = configuration.output.ready_file
        self._ready_file = ReadyFile(path) if path is not None else None

    async def run(self) -> int:
        return await run_until_signalled(
            self._serve,
            on_first=self._display.ending,
            on_second=self._leave_at_once,
            on_hang_up=self._reload.run if self._reload.possible else None,
        )

    def _leave_at_once(self) -> None:
        if self._ready_file is not None:
            self._ready_file.remove()
        self._forwards.remove_files()
        self._engine.leave_at_once()

    async def _serve(self) -> int:
        configuration = self._configuration
        if self._ready_file is not None:
            self._ready_file.claim()
        ports = 1 + sum(member.named.listen is not None for member in self._members)
        allowed = allow_open_files(ports * configuration.listen.max_connections + SPARE_FILES)
        # Beyond what may be open a program would wait in the kernel's queue; beyond the cap it is told.
        most = max(min(configuration.listen.max_connections, (allowed - SPARE_FILES) // ports), 1)
        try:
            # Before dialling: a port that is taken is better told before a password is asked for.
            await self._open_ports()
            self._tell_ways_out()
            await self._prepare_passwords()
            async with trio.open_nursery() as nursery:
                for member in self._members:
                    nursery.start_soon(self._run_member, member, most, nursery.cancel_scope)
                for member in self._members:
                    await member.settled.wait()
                router = Router(
                    configuration.rules, {member.name: member.slot for member in self._members}, Direct(nursery)
                )
                pages = self._pages(router)
                self._reload.router = router
                listen = replace(configuration.listen, max_connections=most, in_force=self._reload.users_of())
                nursery.start_soon(serve_port, router, listen, self._listeners, pages)
                if configuration.forwards:
                    nursery.start_soon(self._forwards.serve, router, listen)
                nursery.start_soon(serve_dns_port, self._dns, self._answers(router))
                self._announce()
                self._reload.ready = True
                await self._keep_ready_file()
        finally:
            if self._ready_file is not None:
                self._ready_file.remove()
            with trio.CancelScope(shield=True):  # closing a listening socket does not wait
                for listeners in (self._listeners, *(member.listeners for member in self._members)):
                    await listeners.aclose()
                await self._forwards.aclose()
                for dns_listener in self._dns:
                    dns_listener.close()
        return self._end()

    def _end(self) -> int:
        if self._last_failure is not None and all(member.failure is not None for member in self._members):
            raise self._last_failure
        return EXIT_OK

    # Before the tunnels

    async def _open_ports(self) -> None:
        self._listeners = await self._engine.open_listeners(self._configuration.listen)
        # Kept, since whoever serves a port closes it, and is perhaps done with it before anybody tells.
        self._places = tuple(map(name_of, self._listeners))
        for member in self._members:
            if member.named.listen is not None:
                member.listeners = await self._engine.open_listeners(member.named.listen)
                member.places = tuple(map(name_of, member.listeners))
        self._dns = await open_dns_port(self._configuration.dns_listen)
        await self._forwards.open()
        self._dns_places = tuple(host_port(*listener.address) for listener in self._dns)

    def _tell_ways_out(self) -> None:
        for rule in self._configuration.rules:
            if rule.way == DIRECT:
                self._display.warning(f'connections and names go past all tunnels by the rule "{rule}"')
        for member in self._members:
            tell_leaks(member.named.settings.names, self._display.warning)

    async def _prepare_passwords(self) -> None:
        set_before_prompts(self._configuration, self._display.interrupt)
        asked: list[PasswordSource] = []
        for member in self._members:
            settings, password = member.named.settings, member.named.password
            password.tell = self._display.warning
            for proxy in (way.proxy for way in (settings, *settings.alternatives)):
                if proxy is None or not isinstance(proxy.credentials, PasswordSource) or proxy.credentials in asked:
                    continue
                asked.append(proxy.credentials)
                await proxy.credentials.prepare(CredentialRequest(CredentialReason.LOGIN, proxy.username, str(proxy)))
            await password.prepare(CredentialRequest(CredentialReason.LOGIN, settings.username, settings.server))

    # The tunnels

    async def _run_member(self, member: _Member, most: int, everything: trio.CancelScope) -> None:
        try:
            async with self._engine.open_tunnel(
                member.named.settings, observe=member.on_step, on_state=member.on_state
            ) as tunnel, trio.open_nursery() as nursery:  # fmt: skip
                member.slot.tunnel = self._reload.tunnels[member.named.name] = tunnel
                member.settled.set()
                if member.named.listen is not None:
                    users = self._reload.users_of(member.named.name)
                    listen = replace(member.named.listen, max_connections=most, in_force=users)
                    nursery.start_soon(serve_port, tunnel.dialer, listen, member.listeners)
                await tunnel.wait_closed()
                nursery.cancel_scope.cancel()
        except Exception as error:
            failure = describe(error)
            if failure.bug:
                raise
            member.failure = self._last_failure = error
            if any(other.failure is None for other in self._members):
                self._display.warning(f'the tunnel "{member.name}" is gone for good: {failure.text}')
        member.slot.tunnel = None
        self._reload.tunnels.pop(member.named.name, None)
        with trio.CancelScope(shield=True):
            await member.listeners.aclose()
        member.settled.set()
        self._changed.set()
        if all(other.failure is not None for other in self._members):
            everything.cancel()

    # The router's front ends

    def _pages(self, router: Router) -> Pages:
        return pac_pages(lambda: router.table, self._places)

    def _answers(self, router: Router) -> RoutedAnswers:
        past = TunnelAnswers(NoNetwork(), NameTable(NameSettings(rest=Way.SYSTEM)))
        ways = {member.name: member.slot for member in self._members}
        return RoutedAnswers(router, {**ways, DIRECT: past}, self._members[0].name)

    # What is said

    def _announce(self) -> None:
        ready = self._ready()
        if self._ready_file is not None:
            self._ready_file.write(ready)
        networks = []
        for member in self._members:
            if member.slot.tunnel is not None:
                alone = "".join(f", alone at {place}" for place in member.places)
                networks.append(f"{member.slot.tunnel.info.server} ({member.name}{alone})")
        credentials = self._configuration.listen.credentials
        self._display.ready(replace(ready, server=", ".join(networks)), credentials[0] if credentials else None)

    async def _keep_ready_file(self) -> None:
        """Write the file again when a tunnel is lost or back, or a network told more; until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._ready_file is not None:
                self._ready_file.write(self._ready())

    def _ready(self) -> Ready:
        members = [(member, member.slot.tunnel) for member in self._members]
        tunnels = {
            member.name: replace(ready_of(tunnel, (), ()), listen=member.places)
            for member, tunnel in members
            if tunnel is not None and tunnel.network.up
        }
        first = next((tunnel for _, tunnel in members if tunnel is not None), None)
        if first is None:
            return Ready(listen=self._places, server="", addresses=(), dns=(), mtu=0)
        facts = ready_of(first, (), ())
        return replace(facts, listen=self._places, dns_listen=self._dns_places, tunnels=tunnels)
