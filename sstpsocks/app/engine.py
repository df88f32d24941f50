"""What a run with tunnels is driven by, and what it hands to whoever does something beside it; tests put their own."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ..dns.policy import Answers
from ..library import Tunnel, run_tunnel
from ..proxy.context import Pages, no_pages
from ..proxy.listen import Listeners, open_all
from ..proxy.outlet import Outlet
from ..proxy.port import ProxyPort
from ..proxy.routing.router import Router
from ..proxy.users import Users
from ..tunnel.settings import TunnelSettings
from ..tunnel.states import StateObserver
from ..tunnel.steps import StepObserver
from .config import ListenSettings
from .readyfile import Ready
from .signals import leave_at_once

_NUMBERS = itertools.count(1)
"""What connections are called in the log, whichever port took them."""

Serve = Callable[[Outlet, ListenSettings, Listeners, Pages], Awaitable[None]]


class OpenTunnel(Protocol):
    """What library.run_tunnel() is."""

    def __call__(
        self, settings: TunnelSettings, *, observe: StepObserver, on_state: StateObserver
    ) -> AbstractAsyncContextManager[Tunnel]:
        """Open the tunnel."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What there is once the tunnels carry traffic."""

    outlet: Router
    """Connects by the rules, through the tunnel that they choose."""
    answers: Answers
    """Answers DNS queries by the same rules."""
    ready: Ready
    """Where the ports are, and the first tunnel's addresses and name servers."""


Beside = Callable[[Running], Awaitable[None]]
"""Something to do as long as the tunnels are up; its end ends them."""


async def serve_port(outlet: Outlet, listen: ListenSettings, listeners: Listeners, pages: Pages = no_pages) -> None:
    """Serve SOCKS and HTTP until cancelled, with a way out and the pages that the port itself answers."""
    server = ProxyPort(
        outlet,
        pages=pages,
        users=listen.in_force if listen.in_force is not None else Users(listen.all_users),
        max_connections=listen.max_connections,
        only_own_user=listen.same_user,
        max_per_client=listen.max_per_client,
        numbers=_NUMBERS,
    )
    listeners.served_by = server
    await server.serve(listeners)


async def open_port(listen: ListenSettings) -> Listeners:
    """Listen wherever the settings say. Raises ConfigError."""
    return await open_all(listen.addresses, open_to_all=listen.open_to_all)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the commands drive."""

    open_tunnel: OpenTunnel = run_tunnel
    open_listeners: Callable[[ListenSettings], Awaitable[Listeners]] = open_port
    serve: Serve = serve_port
    leave_at_once: Callable[[], None] = leave_at_once
