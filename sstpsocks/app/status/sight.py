"""What the run of the program hands its parts to, so that they can be seen: the one object behind the status port.

Theory of operation. A run makes one Sight, gives it the tunnels and ports as it opens them, speaks through its display,
and lets it serve beside them. Once a second a task looks at the tunnels, which costs next to nothing; the whole
snapshot is put together only when somebody asks, and for all who ask within the same second just once. So neither many
lookers nor many connections make it dear: ten thousand connections are looked at in slices of the event loop's time.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import trio

from ..._version import __version__
from ...proxy.users import Users
from . import request
from .events import Events, WatchedDisplay
from .exposition import CONTENT_TYPE
from .health import Health
from .history import INTERVAL
from .metrics import metrics_text
from .page import page, policy
from .server import MAX_CONNECTIONS, MAX_STREAMS, Document, StatusServer
from .snapshot import LimitView, PortView, Snapshot, to_json
from .tunnel_watch import TunnelWatch, Watched

if TYPE_CHECKING:
    from ...proxy.listen import Listeners
    from ...proxy.port import ProxyPort
    from ..messages import Display
    from ..status_config import StatusSettings

FRESH: Final = 0.9
"""Seconds for which a snapshot serves everybody."""


@dataclass(frozen=True, slots=True)
class _Port:
    """One port of the run."""

    kind: str
    tunnel: str
    places: tuple[str, ...]
    listeners: Listeners | None


class Sight:
    """Sees the whole run."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.started = clock()
        self._began = trio.current_time()
        self.events = Events(clock)
        self.health = Health(self._began)
        self._tunnels: list[TunnelWatch] = []
        self._ports: list[_Port] = []
        self._server: StatusServer | None = None
        self._lock = trio.Lock()
        self._ticked = trio.Event()
        self._snapshot: Snapshot | None = None
        self._taken = float("-inf")
        page()  # read now: later a sandbox may forbid it
        self._documents: dict[str, bytes] = {}
        """What was made of the present snapshot."""

    def __repr__(self) -> str:
        return f"<Sight of {len(self._tunnels)} tunnels, {len(self._ports)} ports>"

    # What there is to see

    def display(self, display: Display) -> Display:
        """Return a display that tells the other one, and the page."""
        return WatchedDisplay(display, self.events)

    def add_tunnel(self, watched: Watched) -> None:
        """Show this tunnel."""
        self._tunnels.append(TunnelWatch(watched, self.health.tunnel(watched.name), trio.current_time()))

    def add_port(
        self, kind: str, places: Sequence[str], listeners: Listeners | None = None, *, tunnel: str = ""
    ) -> None:
        """Show this port, where there is one."""
        if places:
            self._ports.append(_Port(kind, tunnel, tuple(places), listeners))

    # Serving

    async def serve(self, settings: StatusSettings, listeners: Listeners, *, only_own_user: bool = False) -> None:
        """Look, and answer who asks, until cancelled."""
        users = Users([settings.credentials] if settings.credentials is not None else [])
        self._server = StatusServer(self, request.Policy(users, settings.names), only_own_user=only_own_user)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.look)
            await self._server.serve(listeners)

    async def look(self) -> None:
        """Look at the tunnels once a second, until cancelled."""
        while True:
            now = trio.current_time()
            for tunnel in self._tunnels:
                tunnel.sample(now)
            self.health.looked(now)
            for tunnel in self._tunnels:
                if tunnel.flows_unseen:
                    async with self._lock:
                        await tunnel.look_at_flows(trio.current_time())
            self._ticked.set()
            self._ticked = trio.Event()
            await trio.sleep(INTERVAL)

    async def snapshot(self) -> Snapshot:
        """Return what is to be seen now, or was within the last second."""
        async with self._lock:
            now = trio.current_time()
            if self._snapshot is None or now - self._taken >= FRESH:
                for tunnel in self._tunnels:
                    await tunnel.look_at_flows(trio.current_time())
                now = trio.current_time()
                self._snapshot, self._taken = self._make(now), now
                self._documents.clear()
            return self._snapshot

    def _make(self, now: float) -> Snapshot:
        tunnels = tuple(tunnel.view(now) for tunnel in self._tunnels)
        ports = tuple(map(_port_view, self._ports))
        return Snapshot(
            version=__version__,
            time=self._clock(),
            uptime=now - self._began,
            healthy=self.health.healthy(now),
            ready=self.health.ready,
            tunnels=tunnels,
            ports=ports,
            limits=tuple(self._limits()),
            events=self.events.latest(),
        )

    def _limits(self) -> list[LimitView]:
        limits: list[LimitView] = []
        for tunnel in self._tunnels:
            limits += tunnel.limits()
        for port in self._ports:
            server = _server_of(port)
            if server is not None:
                limits.append(
                    LimitView(
                        name=f"connections at {port.places[0]}",
                        tunnel=port.tunnel,
                        used=server.active,
                        maximum=server.max_connections,
                        refused=server.refused,
                    )
                )
        if self._server is not None:
            limits.append(
                LimitView(
                    name="status connections",
                    used=self._server.active,
                    maximum=MAX_CONNECTIONS,
                    refused=self._server.refused,
                )
            )
            limits.append(LimitView(name="status streams", used=self._server.streams, maximum=MAX_STREAMS, refused=0))
        return limits

    # For the server (Library)

    async def document(self, path: str) -> Document:
        """Return the answer to one path."""
        if path == request.PAGE:
            return Document(page(), "text/html; charset=utf-8", policy=policy())
        if path == request.HEALTHY:
            return _verdict(self.health.healthy(trio.current_time()), "ok", "stopped")
        if path == request.READY:
            return _verdict(self.health.ready, "ready", "not ready")
        snapshot = await self.snapshot()
        body = self._documents.get(path)
        if body is None:
            body = self._documents[path] = self._written(path, snapshot)
        return Document(body, CONTENT_TYPE if path == request.METRICS else "application/json")

    def _written(self, path: str, snapshot: Snapshot) -> bytes:
        if path == request.METRICS:
            histograms = {tunnel.name: tunnel.histograms() for tunnel in self._tunnels}
            return metrics_text(snapshot, histograms, self.started).encode()
        return _encode(snapshot) + b"\n"

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the latest snapshot as an event, as often as there is another one."""
        yield b"retry: 2000\n\n"
        last: Snapshot | None = None
        while True:
            ticked = self._ticked
            snapshot = await self.snapshot()
            if snapshot is last:  # somebody has asked just before; the next comes with the next look
                await ticked.wait()
                continue
            last = snapshot
            event = self._documents.get(request.EVENTS)
            if event is None:
                bare = replace(snapshot, tunnels=tuple(replace(tunnel, history=None) for tunnel in snapshot.tunnels))
                event = self._documents[request.EVENTS] = b"event: status\ndata: " + _encode(bare) + b"\n\n"
            yield event
            await ticked.wait()


def _server_of(port: _Port) -> ProxyPort | None:
    return port.listeners.served_by if port.listeners is not None else None


def _port_view(port: _Port) -> PortView:
    server = _server_of(port)
    if server is None:
        return PortView(kind=port.kind, listen=port.places, tunnel=port.tunnel)
    return PortView(
        kind=port.kind,
        listen=port.places,
        tunnel=port.tunnel,
        active=server.active,
        maximum=server.max_connections,
        accepted=server.accepted,
        refused=server.refused,
    )


def _verdict(good: bool, yes: str, no: str) -> Document:
    if good:
        return Document(f"{yes}\n".encode())
    return Document(f"{no}\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)


def _encode(snapshot: Snapshot) -> bytes:
    return json.dumps(to_json(snapshot), separators=(",", ":"), allow_nan=False).encode()
