"""One of the tunnels of a run, with what is its own: its place in the router, and its port, which knows no rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from ..base.log_context import TUNNEL, about_tunnel
from ..dns.listener import DnsListener
from ..library import Tunnel
from ..proxy.context import no_pages
from ..proxy.listen import Listeners, name_of
from ..tunnel.states import TunnelState, TunnelStatus
from ..tunnel.steps import LATER_STEPS, StepReport
from .config import ListenSettings, NamedTunnel
from .engine import Engine
from .failures import Failure, describe
from .forward_ports import ForwardPorts
from .messages import Display
from .readyfile import Ready
from .reload import Reload
from .rules_config import UNNAMED
from .slots import Slot
from .values import host_port


class Member:
    """One tunnel. ``alone``: there is no other; then nobody need be told which one something is about.

    ``changed`` is called when the tunnel is up again, or the network behind it told more.
    """

    def __init__(self, named: NamedTunnel, display: Display, changed: Callable[[], None], *, alone: bool) -> None:
        self.named = named
        self.name = named.name or UNNAMED
        self.slot = Slot(self.name)
        self.listeners = Listeners()
        self.places: tuple[str, ...] = ()
        """Where its own port is."""
        self._forwards = ForwardPorts(named.forwards)
        self.settled = trio.Event()
        """Set when it is up for the first time, or never will be."""
        self.failure: Exception | None = None
        """Why it is over, None as well when it ended in order."""
        self.over = False
        self.state: TunnelState | None = None
        """What it was last heard to do."""
        self._display = display
        self._changed = changed
        self._prefix = "" if alone else f"{self.name}: "
        # What goes through the tunnel ends before it does, whoever cancels both.
        self._scope = trio.CancelScope(shield=True)

    def __repr__(self) -> str:
        return f"<Member {self.name}{' over' if self.over else ''}>"

    @property
    def server(self) -> str:
        """The server as "host:port"."""
        return self.named.settings.server

    @property
    def tunnel(self) -> Tunnel | None:
        """The tunnel, once it is up for the first time and until it is lost for good."""
        return self.slot.tunnel

    async def open_ports(self, engine: Engine) -> None:
        """Listen for its own port, if it has one, and its forwards. Raises ConfigError."""
        if self.named.listen is not None:
            self.listeners = await engine.open_listeners(self.named.listen)
            # Kept, since whoever serves a port closes it, and is perhaps done with it before anybody tells.
            self.places = tuple(map(name_of, self.listeners))
        await self._forwards.open()

    def end(self) -> None:
        """Have it end in order, and run() return."""
        self._scope.cancel()

    async def run(self, engine: Engine, reload: Reload, shared: ListenSettings) -> Failure | None:
        """Bring the tunnel up and serve what is its own, until end() or until it is lost for good: return why.

        ``shared``: the settings of the shared port, whose bounds hold here, too. Raises what is a bug.
        """
        TUNNEL.set(self.named.name)
        failure = None
        try:
            with self._scope:
                await self._run(engine, reload, shared)
        except Exception as error:
            failure = describe(error)
            if failure.bug:
                raise
            self.failure = error
        finally:
            self.slot.tunnel = None
            reload.tunnels.pop(self.named.name, None)
            with trio.CancelScope(shield=True):  # closing a listening socket does not wait
                await self.aclose()
            self.over = True
            self.settled.set()
        return failure

    async def _run(self, engine: Engine, reload: Reload, shared: ListenSettings) -> None:
        async with engine.open_tunnel(
            self.named.settings, observe=self._on_step, on_state=self._on_state
        ) as tunnel, trio.open_nursery() as nursery:  # fmt: skip
            self.slot.tunnel = reload.tunnels[self.named.name] = tunnel
            self.settled.set()
            if self.named.listen is not None:
                users = reload.users_of(self.named.name)
                listen = replace(self.named.listen, max_connections=shared.max_connections, in_force=users)
                nursery.start_soon(engine.serve, tunnel.dialer, listen, self.listeners, no_pages)
            if self.named.forwards:
                nursery.start_soon(self._forwards.serve, tunnel.dialer, shared)
            await tunnel.wait_closed()
            nursery.cancel_scope.cancel()

    async def aclose(self) -> None:
        """Close its ports."""
        await self.listeners.aclose()
        await self._forwards.aclose()

    def remove_files(self) -> None:
        """Remove the files of its ports; enough for a program that ends here and now."""
        self.listeners.remove_files()
        self._forwards.remove_files()

    def _on_step(self, report: StepReport) -> None:
        with about_tunnel(self.named.name):
            self._display.step(replace(report, text=f"{self._prefix}{report.text}") if self._prefix else report)
        if report.step in LATER_STEPS:
            self._changed()

    def _on_state(self, state: TunnelState) -> None:
        self.state = state
        if state.status is not TunnelStatus.STOPPED:  # the failure that is told says the same
            with about_tunnel(self.named.name):
                self._display.state(replace(state, text=f"{self._prefix}{state.text}") if self._prefix else state)
        self._changed()


def ready_of(tunnel: Tunnel, listen: Sequence[str] = (), dns: Sequence[DnsListener] = ()) -> Ready:
    """Return what the ready file says of a tunnel and the ports to it."""
    info = tunnel.info
    return Ready(
        listen=tuple(listen),
        server=info.server,
        addresses=tuple(str(address) for address in info.addresses),
        dns=tuple(str(address) for address in info.dns),
        mtu=info.mtu,
        routes=tuple(str(network) for network in info.routes),
        search=info.search,
        dns_listen=tuple(host_port(*listener.address) for listener in dns),
    )
