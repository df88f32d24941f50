"""What the program is doing at one moment, as plain data: ``/status.json``, and each event of ``/events``.

Theory of operation. The dataclasses are the schema: a field is a key of the JSON, a tuple is an array, None is null.
Rates are octets a second, times are seconds, sizes are octets; ``time`` of an event and of the snapshot is Unix time,
every other time is a duration until the snapshot. New keys may come with any version; when one goes or changes its
meaning, SCHEMA grows. Nothing here is a secret, but names and addresses of peers are: the page is not for everybody.

``/events`` is a stream of server-sent events: ``event: status`` with the whole snapshot about once a second, its
``history`` empty (null), since who listens has it from ``/status.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

SCHEMA = 1

MAX_FLOWS = 50
"""Flows of a tunnel in one snapshot: the busiest, then the latest."""
MAX_NAMES = 50
"""Names out of a tunnel's DNS cache in one snapshot: those used last."""
MAX_EVENTS = 100
"""Events in one snapshot, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowView:
    """A TCP connection inside a tunnel."""

    number: int
    """Tells flows apart as long as the program runs."""
    peer: str
    """Its address."""
    port: int
    name: str = ""
    """A name that the tunnel's DNS has lately given this address; empty: none is known."""
    local_port: int
    state: str
    """Of RFC 9293: "ESTABLISHED" and so on."""
    age: float
    """Since it was first seen."""
    octets_received: int
    octets_sent: int
    """Those that the peer has acknowledged."""
    receive_rate: float
    send_rate: float
    round_trip: float | None
    """Smoothed; None until it was measured."""
    retransmissions: int
    """Segments that were sent again."""
    congestion_window: int
    """What we may have in flight."""
    send_window: int
    """What the peer is willing to take."""
    receive_window: int
    """What we are willing to take."""
    in_flight: int
    """Sent and not acknowledged."""
    unread: int
    """Received, and not yet taken by the local program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """One entry of the DNS cache."""

    name: str
    kind: str
    """ "A" or "AAAA"."""
    addresses: tuple[str, ...]
    """None: there is no such name, or none with such an address."""
    left: float
    """How long it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsView:
    """The names of one tunnel."""

    entries: int
    """In the cache."""
    capacity: int
    under_way: int
    """Questions that wait for an answer."""
    hits: int
    """Questions that the cache answered."""
    misses: int
    """Questions that a server was asked."""
    failures: int
    """Those that no server answered."""
    names: tuple[NameView, ...] = ()
    """The first of the cache, at most MAX_NAMES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryView:
    """Some minutes past, for charts; the oldest sample first, None where the tunnel was down."""

    interval: float
    """Between two samples."""
    receive_rate: tuple[float | None, ...]
    send_rate: tuple[float | None, ...]
    round_trip: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelView:
    """One tunnel."""

    name: str
    """The profile's; "default" when none was chosen."""
    server: str
    """ "host:port"."""
    state: str
    """A TunnelStatus: "connecting", "up", "degraded", "reconnecting", "waiting", "idle", "stopped"."""
    up: bool
    """Whether traffic passes."""
    text: str
    """What happened last, on one line."""
    since: float
    """How long it is in this state."""
    addresses: tuple[str, ...]
    peer: str
    """The server's own address in the tunnel; empty when it did not tell."""
    dns_servers: tuple[str, ...]
    search: tuple[str, ...]
    routes: tuple[str, ...]
    mtu: int
    tls: str
    """The version: "TLSv1.3"."""
    correlation_id: str
    """By which the server's administrator finds this connection."""
    round_trip: float | None
    """To the server, as measured last; None: it was not."""
    octets_received: int
    """Of IP packets, all reconnects together, as everything that is counted here."""
    octets_sent: int
    packets_received: int
    packets_sent: int
    receive_rate: float
    send_rate: float
    connects: int
    connect_failures: Mapping[str, int]
    """By the step that failed."""
    reconnects: int
    losses: Mapping[str, int]
    """By reason."""
    last_error: str
    flows_total: int
    flow_states: Mapping[str, int]
    """How many TCP connections are in which state."""
    flows: tuple[FlowView, ...]
    """The busiest, at most MAX_FLOWS."""
    flows_opened: int
    flows_failed: int
    """Those that could not be opened."""
    segments_sent: int
    segments_retransmitted: int
    memory: int
    """What the flows hold."""
    memory_maximum: int
    dns: DnsView
    history: HistoryView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A port that local programs use."""

    kind: str
    """ "proxy", "dns" or "forward"."""
    listen: tuple[str, ...]
    tunnel: str = ""
    """The tunnel that it leads to alone; empty: wherever the rules say."""
    active: int = 0
    """Connections being served now."""
    maximum: int = 0
    """How many may be; 0: there is no such limit of its own."""
    accepted: int = 0
    """All so far."""
    refused: int = 0
    """Those beyond the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """A bound, and how near it is."""

    name: str
    """ "connections", "memory" and so on."""
    tunnel: str = ""
    """Empty: it is the program's."""
    used: int
    maximum: int
    refused: int
    """How often somebody met it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Something that happened."""

    number: int
    time: float
    kind: str
    """ "state", "step", "warning" or "note"."""
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything."""

    schema: int = SCHEMA
    version: str
    time: float
    uptime: float
    healthy: bool
    """As /healthz says."""
    ready: bool
    """As /readyz says."""
    tunnels: tuple[TunnelView, ...]
    ports: tuple[PortView, ...]
    limits: tuple[LimitView, ...]
    events: tuple[EventView, ...]
    """The latest, the oldest of them first."""


def to_json(value: object) -> object:
    """Return what json.dumps() takes."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 6)
    return value
