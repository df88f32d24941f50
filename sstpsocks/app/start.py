"""``sstpsocks connect``, begun while half of the program is not loaded yet.

Loading TLS, PPP, the TCP/IP stack, DNS and the proxy takes longer than a good round trip. So the connection to the
server is under way meanwhile, and they are loaded in a thread, so that a name server's answer or a second address of
the server need not wait for that.
"""

from __future__ import annotations

from functools import partial

import trio

from ..tunnel.head_start import head_start
from .config import Configuration
from .hardening import protect_memory
from .messages import Display


def _load() -> None:
    from . import run  # noqa: F401 - that it is loaded is the point


async def start_connect(configuration: Configuration, display: Display) -> int:
    """Connect, serve until a signal ends it, and return the exit code; see run_connect()."""
    protect_memory()
    if configuration.sources is not None and configuration.sources.shared.find("sandbox") is not None:
        from .sandbox import enter_sandbox

        # Before anything is begun: threads that are there already would stay outside.
        enter_sandbox(configuration, display.warning)
    sources = (configuration.password, *configuration.proxy_passwords)
    on_demand = configuration.tunnel.on_demand
    if on_demand or configuration.others or any(source.asks_before_dialling for source in sources):
        # Nobody types a password so fast, and the server would be kept waiting. The ways of several tunnels are not
        # worth telling apart for what one round trip saves. On demand nobody wants the server yet.
        from .run import run_connect

        return await run_connect(configuration, display)
    async with head_start(configuration.tunnel, display.step) as dial:
        await trio.to_thread.run_sync(_load)
        from ..library import run_tunnel
        from .engine import Engine
        from .run import run_connect

        return await run_connect(configuration, display, Engine(open_tunnel=partial(run_tunnel, dial=dial)))
