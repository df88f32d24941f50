"""``sstpsocks connect``, and whatever else needs tunnels and a port: one router in front of one tunnel or several.

Theory of operation. Every tunnel has a task, its own stack and, if it wants, its own port, which knows no rules. The
shared port, the DNS port, the forwards and the PAC file ask the router, also when there is one tunnel and no rule yet.
A tunnel that cannot be set up or is lost for good is told and leaves the others alone; what rules send to it fails from
then on, and never takes another way. The program ends when none is left, or when what is done beside the tunnels ends.
At the end the ports go first and the tunnels after them, so that what was open is closed in order.
"""

from __future__ import annotations

import os
from dataclasses import replace

import trio

from ..dns.listener import DnsListener
from ..dns.policy import TunnelAnswers
from ..dns.table import NameTable
from ..proxy.listen import Listeners, name_of
from ..proxy.routing.direct import Direct
from ..proxy.routing.language import DIRECT
from ..proxy.routing.router import Router
from ..tunnel.name_settings import NameSettings, Way
from .config import Configuration, ListenSettings
from .dns_port import open_dns_port, serve_dns_port, tell_leaks
from .engine import Beside, Engine, Running
from .failures import EXIT_OK
from .forward_ports import ForwardPorts
from .limits import allow_open_files
from .members import Member, ready_of
from .messages import Display
from .pac import pac_pages
from .prompts import prepare_passwords
from .readyfile import Ready, ReadyFile
from .reload import Reload
from .signals import run_until_signalled
from .slots import NoNetwork, RoutedAnswers
from .status_port import StatusPort
from .systemd import keep_watchdog, notifier
from .values import host_port

# Files beside those of the connections: the tunnel's socket, listeners, the event loop's own, log and capture.
SPARE_FILES = 128


async def run_connect(
    configuration: Configuration, display: Display, engine: Engine | None = None, beside: Beside | None = None
) -> int:
    """Connect all tunnels, serve until a signal or the end of ``beside`` ends it, and return the exit code 0.

    Raises SstpsocksError (possibly inside an exception group) when no tunnel can be set up, or the last is lost.
    """
    return await _Run(configuration, display, engine if engine is not None else Engine(), beside).run()


class _Run:
    """One run of the command."""

    def __init__(self, configuration: Configuration, display: Display, engine: Engine, beside: Beside | None) -> None:
        self._configuration = configuration
        self._reload = Reload(configuration, display)
        self._status = StatusPort(configuration.status, only_own_user=configuration.listen.same_user)
        self._display = display = self._status.display(display)
        self._engine = engine
        self._beside = beside
        self._changed = trio.Event()
        """Set when a tunnel was lost or is back, or a network told more, for the task that keeps the ready file."""
        self._alone = len(configuration.tunnels) == 1
        self._members = [
            Member(named, display, lambda: self._changed.set(), alone=self._alone) for named in configuration.tunnels
        ]
        self._last_failure: Exception | None = None
        self._listeners = Listeners()
        self._places: tuple[str, ...] = ()
        self._forwards = ForwardPorts(configuration.forwards)
        self._dns: list[DnsListener] = []
        path = configuration.output.ready_file
        self._ready_file = ReadyFile(path) if path is not None else None

    async def run(self) -> int:
        return await run_until_signalled(
            self._session,
            on_first=self._display.ending,
            on_second=self._leave_at_once,
            on_hang_up=self._load_again if self._reload.possible else None,
        )

    def _load_again(self) -> None:
        systemd = notifier(os.environ)
        if systemd is not None and self._reload.ready:
            systemd.reload(self._reload.run)
        else:
            self._reload.run()

    def _behind(self) -> float:
        tunnels = [member.slot.tunnel for member in self._members]
        return max((tunnel.network.behind for tunnel in tunnels if tunnel is not None), default=0.0)

    def _leave_at_once(self) -> None:
        if self._ready_file is not None:
            self._ready_file.remove()
        self._listeners.remove_files()
        self._forwards.remove_files()
        self._status.remove_files()
        for member in self._members:
            member.remove_files()
        self._engine.leave_at_once()

    async def _session(self) -> int:
        configuration = self._configuration
        if self._ready_file is not None:
            self._ready_file.claim()
        listen = replace(
            configuration.listen, max_connections=self._most_connections(), in_force=self._reload.users_of()
        )
        try:
            # Before dialling: a port that is taken is better told before a password is asked for.
            await self._open_ports()
            self._tell_ways_out()
            await prepare_passwords(configuration, self._display)
            async with trio.open_nursery() as nursery:
                try:
                    nursery.start_soon(self._status.serve)
                    nursery.start_soon(keep_watchdog, os.environ, self._behind)
                    for member in self._members:
                        nursery.start_soon(self._run_member, member, listen, nursery.cancel_scope)
                    for member in self._members:
                        await member.settled.wait()
                    await trio.lowlevel.checkpoint_if_cancelled()  # when the last of them failed at once
                    await self._serve(listen)
                finally:
                    self._status.end()
                    for member in self._members:
                        member.end()
        finally:
            if self._ready_file is not None:
                self._ready_file.remove()
            with trio.CancelScope(shield=True):  # closing a listening socket does not wait
                await self._listeners.aclose()
                await self._forwards.aclose()
                await self._status.aclose()
                for member in self._members:
                    await member.aclose()
                for dns_listener in self._dns:
                    dns_listener.close()
        if self._last_failure is not None and all(member.failure is not None for member in self._members):
            raise self._last_failure
        return EXIT_OK

    def _most_connections(self) -> int:
        """Return how many connections each port may have.

        Beyond what may be open a program would wait in the kernel's queue; beyond the cap it is told.
        """
        wanted = self._configuration.listen.max_connections
        ports = 1 + sum(member.named.listen is not None for member in self._members)
        allowed = allow_open_files(ports * wanted + SPARE_FILES)
        return max(min(wanted, (allowed - SPARE_FILES) // ports), 1)

    # Before the tunnels

    async def _open_ports(self) -> None:
        self._listeners = await self._engine.open_listeners(self._configuration.listen)
        # Kept, since whoever serves a port closes it, and is perhaps done with it before anybody tells.
        self._places = tuple(map(name_of, self._listeners))
        for member in self._members:
            await member.open_ports(self._engine)
        self._dns = await open_dns_port(self._configuration.dns_listen)
        await self._forwards.open()
        await self._status.open(self._display)
        self._status.show_port("proxy", self._places, self._listeners)
        self._status.show_port("dns", tuple(host_port(*listener.address) for listener in self._dns))
        self._status.show(self._members)

    def _tell_ways_out(self) -> None:
        for rule in self._configuration.rules:
            if rule.way == DIRECT:
                self._display.warning(f'connections and names go past all tunnels by the rule "{rule}"')
        for member in self._members:
            tell_leaks(member.named.settings.names, self._display.warning)

    # The tunnels

    async def _run_member(self, member: Member, listen: ListenSettings, everything: trio.CancelScope) -> None:
        failure = await member.run(self._engine, self._reload, listen)
        if failure is not None:
            self._last_failure = member.failure
            if not all(other.over for other in self._members):
                self._display.warning(f'the tunnel "{member.name}" is gone for good: {failure.text}')
        self._changed.set()
        if all(other.over for other in self._members):
            everything.cancel()

    # The router's front ends

    async def _serve(self, listen: ListenSettings) -> None:
        """Serve until cancelled, or until what is done beside ends."""
        async with trio.open_nursery() as nursery:
            ways = {member.name: member.slot for member in self._members}
            router = self._reload.router = Router(self._configuration.rules, ways, Direct(nursery))
            past = TunnelAnswers(NoNetwork(), NameTable(NameSettings(rest=Way.SYSTEM)))
            answers = RoutedAnswers(router, {**ways, DIRECT: past}, self._members[0].name)
            pages = pac_pages(lambda: router.table, self._places)
            nursery.start_soon(self._engine.serve, router, listen, self._listeners, pages)
            nursery.start_soon(self._forwards.serve, router, listen)
            nursery.start_soon(serve_dns_port, self._dns, answers)
            ready = self._announce()
            self._reload.ready = True
            nursery.start_soon(self._keep_ready_file)
            if self._beside is not None:
                await self._beside(Running(outlet=router, answers=answers, ready=ready))
                nursery.cancel_scope.cancel()

    # What is said

    def _announce(self) -> Ready:
        ready = self._ready()
        if self._ready_file is not None:
            self._ready_file.write(ready)
        networks = []
        for member in self._members:
            if member.slot.tunnel is not None:
                alone = "".join(f", alone at {place}" for place in member.places)
                named = "" if self._alone else f" ({member.name}{alone})"
                networks.append(f"{member.slot.tunnel.info.server}{named}")
        credentials = self._configuration.listen.credentials
        self._display.ready(replace(ready, server=", ".join(networks)), credentials[0] if credentials else None)
        return ready

    async def _keep_ready_file(self) -> None:
        """Write the file again when a tunnel is lost or back, or a network told more; until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            # Of an only tunnel that is down the file says what it was, until it is back.
            if self._ready_file is not None and not (self._alone and not self._up):
                self._ready_file.write(self._ready())

    @property
    def _up(self) -> list[Member]:
        return [member for member in self._members if member.slot.tunnel is not None and member.slot.tunnel.network.up]

    def _ready(self) -> Ready:
        tunnels = {}
        for member in self._up if not self._alone else []:
            if member.slot.tunnel is not None:
                tunnels[member.name] = ready_of(member.slot.tunnel, member.places)
        first = next((member.slot.tunnel for member in self._members if member.slot.tunnel is not None), None)
        if first is None:
            return Ready(listen=self._places, server="", addresses=(), dns=(), mtu=0)
        return replace(ready_of(first, self._places, self._dns), tunnels=tunnels, status_listen=self._status.places)
