"""One tunnel as the status page sees it: looked at once a second, and described when somebody asks.

Each second costs a few attribute reads. What takes longer, a look at every connection, is done when somebody looks, and
else as seldom as the counting of octets allows (flows.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ...base.histogram import Histogram
from ...dns.resolver import CACHE_SIZE
from ...net.counters import CONNECT_BOUNDS, NetCounters
from ...tunnel.states import SessionRecord, TunnelState, TunnelStatus
from ..text import one_line
from .flows import LONGEST_UNSEEN, FlowsSeen, FlowWatch
from .health import TunnelHealth
from .history import History
from .metrics import TunnelHistograms
from .snapshot import MAX_NAMES, DnsView, LimitView, NameView, TunnelView

if TYPE_CHECKING:
    from ...library import Tunnel
    from ...net.stack import Stack

MAX_PEER_NAMES: Final = 1024
"""Names that are looked through for one for each peer."""
SETUP_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROUND_TRIP_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Watched(Protocol):
    """A tunnel of the run (members.Member)."""

    name: str
    state: TunnelState | None
    over: bool

    @property
    def server(self) -> str:
        """The server as "host:port"."""
        ...

    @property
    def tunnel(self) -> Tunnel | None:
        """The tunnel, once it is up for the first time and until it is lost for good."""
        ...


class _Traffic:
    """Octets and packets of the tunnel, all stacks together."""

    def __init__(self) -> None:
        self._counters = NetCounters()
        """Those of the present stack."""
        self._past = [0] * 10
        self.dials = Histogram(CONNECT_BOUNDS)
        """How long connections took to open, those of the present stack left out."""

    def follow(self, stack: Stack | None) -> None:
        """Count on with another stack, if it is another one."""
        if stack is not None and stack.counters is not self._counters:
            self._past = self.all()
            self.dials.add(self._counters.tcp_connect_seconds)
            self._counters = stack.counters

    def all(self) -> list[int]:
        """Return octets received and sent, packets received and sent, and what _TCP names."""
        now = self._counters
        present = (
            now.ip_in_octets,
            now.ip_out_octets,
            now.ip_in_receives,
            now.ip_out_transmits,
            now.tcp_active_opens + now.tcp_passive_opens,
            now.tcp_attempt_fails,
            now.tcp_out_segs,
            now.tcp_retrans_segs,
            now.tcp_memory_discards,
            now.tcp_listen_drops,
        )
        return [past + count for past, count in zip(self._past, present, strict=True)]

    @property
    def all_dials(self) -> Histogram:
        """How long connections took to open."""
        result = Histogram(CONNECT_BOUNDS)
        result.add(self.dials)
        result.add(self._counters.tcp_connect_seconds)
        return result


class TunnelWatch:
    """Looks at one tunnel as long as the program runs."""

    def __init__(self, watched: Watched, health: TunnelHealth, now: float) -> None:
        self.name = watched.name
        self._watched = watched
        self._health = health
        self._traffic = _Traffic()
        self._flows = FlowWatch()
        self._seen = FlowsSeen()
        self._history = History()
        self._round_trips = Histogram(ROUND_TRIP_BOUNDS)
        self._connects = Histogram(SETUP_BOUNDS)
        self._record = SessionRecord()
        """That of the session, once there is one."""
        self._round_trip: float | None = None
        self._rates = 0.0, 0.0
        self._octets = [0, 0]
        self._sampled = now
        self._state: TunnelState | None = None
        self._since = now
        self._counted = 0
        """Connects that are in the histogram."""

    def __repr__(self) -> str:
        return f"<TunnelWatch {self.name}>"

    @property
    def _stack(self) -> Stack | None:
        tunnel = self._watched.tunnel
        return tunnel.network.stack if tunnel is not None else None

    @property
    def _up(self) -> bool:
        return self._stack is not None

    def sample(self, now: float) -> None:
        """Look at it; once a second."""
        self._catch_up(now)
        tunnel = self._watched.tunnel
        before = self._octets
        self._octets = after = self._traffic.all()[:2]
        elapsed = max(now - self._sampled, 1e-3)
        self._sampled = now
        self._rates = (after[0] - before[0]) / elapsed, (after[1] - before[1]) / elapsed
        self._round_trip = None
        if tunnel is not None and self._up:
            # Where the kernel does not tell, what the last echo request found.
            self._round_trip = tunnel.network.round_trip or self._record.round_trip
        if self._round_trip is not None:
            self._round_trips.observe(self._round_trip)
        if self._up:
            self._history.add(*self._rates, self._round_trip)
        else:
            self._history.add(None, None, None)
        idle = self._state is not None and self._state.status is TunnelStatus.IDLE
        self._health.look(now, usable=self._up or idle, stopped=self._watched.over)

    def _look_at_record(self) -> None:
        tunnel = self._watched.tunnel
        if tunnel is None:
            return
        record = self._record = tunnel.network.record
        # Two of them within a second count as one, but none is forgotten that took long.
        if record.connects > self._counted and record.connect_seconds is not None:
            self._counted = record.connects
            self._connects.observe(record.connect_seconds)

    def _catch_up(self, now: float) -> None:
        """Take what has become of it since the last look."""
        self._traffic.follow(self._stack)
        self._look_at_record()
        if self._watched.state is not self._state:
            self._state, self._since = self._watched.state, now

    @property
    def flows_unseen(self) -> bool:
        """Whether the connections must be looked at although nobody wants to know."""
        return self._sampled - self._flows.looked >= LONGEST_UNSEEN

    async def look_at_flows(self, now: float) -> None:
        """Look at every connection."""
        self._seen = await self._flows.look(self._stack, now, self._names())

    def histograms(self) -> TunnelHistograms:
        """Return its distributions."""
        return TunnelHistograms(connect=self._connects, dial=self._traffic.all_dials, round_trip=self._round_trips)

    def view(self, now: float) -> TunnelView:
        """Describe it."""
        self._catch_up(now)
        tunnel, state, stack = self._watched.tunnel, self._state, self._stack
        info = tunnel.info if tunnel is not None else None
        figures = self._traffic.all()
        over = self._watched.over
        return TunnelView(
            name=self.name,
            server=info.server if info is not None else self._watched.server,
            state="stopped" if over else state.status.value if state is not None else "connecting",
            up=self._up and not over,
            text=one_line(state.text) if state is not None else "",
            since=now - (tunnel.network.since if tunnel is not None and not over else self._since),
            addresses=tuple(map(str, info.addresses)) if info is not None else (),
            peer=str(info.peer) if info is not None and info.peer is not None else "",
            dns_servers=tuple(map(str, info.dns)) if info is not None else (),
            search=info.search if info is not None else (),
            routes=tuple(map(str, info.routes)) if info is not None else (),
            mtu=info.mtu if info is not None else 0,
            tls=info.tls_version if info is not None else "",
            correlation_id=info.correlation_id if info is not None else "",
            round_trip=self._round_trip,
            octets_received=figures[0],
            octets_sent=figures[1],
            packets_received=figures[2],
            packets_sent=figures[3],
            receive_rate=self._rates[0],
            send_rate=self._rates[1],
            connects=self._record.connects,
            connect_failures=dict(self._record.connect_failures),
            reconnects=self._record.reconnects,
            losses=dict(self._record.losses),
            last_error=one_line(self._record.last_error),
            flows_total=self._seen.total,
            flow_states=dict(self._seen.states),
            flows=self._seen.busiest,
            flows_opened=figures[4],
            flows_failed=figures[5],
            segments_sent=figures[6],
            segments_retransmitted=figures[7],
            memory=stack.memory.charged if stack is not None else 0,
            memory_maximum=stack.memory.maximum if stack is not None else 0,
            dns=self._dns(),
            history=self._history.view(),
        )

    def limits(self) -> list[LimitView]:
        """Return the bounds on what is inside it."""
        stack = self._stack
        if stack is None:
            return []
        counters, states = stack.counters, dict(self._seen.states)
        return [
            LimitView(
                name="flows",
                tunnel=self.name,
                used=len(stack.connections),
                maximum=stack.config.max_connections,
                refused=counters.refused_for_flows,
            ),
            LimitView(
                name="half-open flows",
                tunnel=self.name,
                used=states.get("SYN-SENT", 0) + states.get("SYN-RECEIVED", 0),
                maximum=stack.config.max_half_open,
                refused=counters.refused_for_half_open,
            ),
            LimitView(
                name="memory",
                tunnel=self.name,
                used=stack.memory.charged,
                maximum=stack.memory.maximum,
                refused=counters.refused_for_memory,
            ),
        ]

    def _dns(self) -> DnsView:
        tunnel = self._watched.tunnel
        if tunnel is None:
            return DnsView(entries=0, capacity=CACHE_SIZE, under_way=0, hits=0, misses=0, failures=0)
        resolver = tunnel.resolver
        return DnsView(
            entries=resolver.cached,
            capacity=resolver.capacity,
            under_way=resolver.under_way,
            hits=resolver.hits,
            misses=resolver.asked,
            failures=resolver.failures,
            names=tuple(
                NameView(name=known.name, kind=known.kind, addresses=tuple(map(str, known.addresses)), left=known.left)
                for known in resolver.recent(MAX_NAMES)
            ),
        )

    def _names(self) -> dict[str, str]:
        """Return a name for each address that the cache has one for; of several the one used last."""
        tunnel = self._watched.tunnel
        if tunnel is None:
            return {}
        known = reversed(tunnel.resolver.recent(MAX_PEER_NAMES))
        return {str(address): entry.name for entry in known for address in entry.addresses}
