"""What /metrics says: the snapshot as Prometheus wants it, with histograms and the process's own figures.

Labels are what the user has configured (a tunnel, a port) or one of a few words (a state, a step, a reason); hosts are
none, neither those that programs connect to nor those of the server: each would make a series of its own, and a list of
who was talked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...base.histogram import Histogram
from .exposition import Exposition
from .process import process_figures
from .snapshot import PortView, Snapshot, TunnelView


@dataclass(frozen=True, slots=True)
class TunnelHistograms:
    """The distributions of one tunnel."""

    connect: Histogram
    """Seconds until the tunnel was up."""
    dial: Histogram
    """Seconds until a connection inside was open."""
    round_trip: Histogram
    """Seconds to the server and back, a sample each time that it was measured."""


STATES = ("connecting", "up", "degraded", "reconnecting", "waiting", "idle", "stopped")


def metrics_text(snapshot: Snapshot, histograms: Mapping[str, TunnelHistograms], started: float) -> str:
    """Return the answer to a scrape; ``started`` is the Unix time at which the program began."""
    page = Exposition()
    page.gauge("sstpsocks_build_info", "The version that runs.", 1, {"version": snapshot.version})
    page.gauge("sstpsocks_healthy", "Whether /healthz says yes.", int(snapshot.healthy))
    page.gauge("sstpsocks_ready", "Whether /readyz says yes.", int(snapshot.ready))
    for tunnel in snapshot.tunnels:
        _tunnel(page, tunnel)
        _flows(page, tunnel)
        _names(page, tunnel)
        if tunnel.name in histograms:
            _distributions(page, tunnel.name, histograms[tunnel.name])
    for port in snapshot.ports:
        _port(page, port)
    for limit in snapshot.limits:
        labels = {"limit": limit.name, "tunnel": limit.tunnel}
        page.gauge("sstpsocks_limit_used", "How much of a limit is used.", limit.used, labels)
        page.gauge("sstpsocks_limit_maximum", "The limit; 0 for none.", limit.maximum, labels)
        page.counter("sstpsocks_limit_refusals_total", "What was refused at a limit.", limit.refused, labels)
    for name, kind, explanation, value in process_figures(started):
        (page.counter if kind == "counter" else page.gauge)(name, explanation, value)
    return page.to_text()


def _tunnel(page: Exposition, tunnel: TunnelView) -> None:
    label = {"tunnel": tunnel.name}
    page.gauge("sstpsocks_tunnel_up", "Whether traffic passes through the tunnel.", int(tunnel.up), label)
    for state in dict.fromkeys((*STATES, tunnel.state)):
        page.gauge(
            "sstpsocks_tunnel_state",
            "1 for the state that the tunnel is in.",
            int(state == tunnel.state),
            {**label, "state": state},
        )
    page.gauge("sstpsocks_tunnel_state_seconds", "How long it has been in this state.", tunnel.since, label)
    page.counter("sstpsocks_tunnel_connects_total", "Times that the tunnel came up.", tunnel.connects, label)
    page.counter("sstpsocks_tunnel_reconnects_total", "Those after it was lost.", tunnel.reconnects, label)
    for step, count in tunnel.connect_failures.items():
        page.counter(
            "sstpsocks_tunnel_connect_failures_total",
            "Tries to connect that failed, by the step that did.",
            count,
            {**label, "step": step},
        )
    for reason, count in tunnel.losses.items():
        page.counter(
            "sstpsocks_tunnel_losses_total", "Times that the tunnel was lost.", count, {**label, "reason": reason}
        )
    for name, what, value in (
        ("receive_bytes", "Octets of IP packets received through the tunnel.", tunnel.octets_received),
        ("transmit_bytes", "Octets of IP packets sent through the tunnel.", tunnel.octets_sent),
        ("receive_packets", "IP packets received through the tunnel.", tunnel.packets_received),
        ("transmit_packets", "IP packets sent through the tunnel.", tunnel.packets_sent),
    ):
        page.counter(f"sstpsocks_tunnel_{name}_total", what, value, label)
    page.gauge("sstpsocks_tunnel_mtu_bytes", "The largest IP packet that is sent.", tunnel.mtu, label)


def _flows(page: Exposition, tunnel: TunnelView) -> None:
    label = {"tunnel": tunnel.name}
    for state, count in tunnel.flow_states.items():
        page.gauge(
            "sstpsocks_tcp_connections",
            "TCP connections inside the tunnel, by their state.",
            count,
            {**label, "state": state},
        )
    for name, what, value in (
        ("opens", "TCP connections that were opened.", tunnel.flows_opened),
        ("open_failures", "TCP connections that could not be opened.", tunnel.flows_failed),
        ("sent_segments", "TCP segments sent.", tunnel.segments_sent),
        ("retransmitted_segments", "TCP segments that were sent again.", tunnel.segments_retransmitted),
    ):
        page.counter(f"sstpsocks_tcp_{name}_total", what, value, label)
    page.gauge("sstpsocks_flow_memory_bytes", "What connections hold.", tunnel.memory, label)
    page.gauge("sstpsocks_flow_memory_limit_bytes", "What they may hold.", tunnel.memory_maximum, label)


def _names(page: Exposition, tunnel: TunnelView) -> None:
    label, dns = {"tunnel": tunnel.name}, tunnel.dns
    page.gauge("sstpsocks_dns_cache_entries", "Names and kinds in the DNS cache.", dns.entries, label)
    page.gauge("sstpsocks_dns_cache_limit", "How many there may be.", dns.capacity, label)
    page.gauge("sstpsocks_dns_under_way", "Questions that wait for an answer.", dns.under_way, label)
    page.counter("sstpsocks_dns_cache_hits_total", "Questions that the cache answered.", dns.hits, label)
    page.counter("sstpsocks_dns_cache_misses_total", "Questions that a server was asked.", dns.misses, label)
    page.counter("sstpsocks_dns_failures_total", "Questions that no server answered.", dns.failures, label)


def _distributions(page: Exposition, tunnel: str, histograms: TunnelHistograms) -> None:
    label = {"tunnel": tunnel}
    for name, what, histogram in (
        ("sstpsocks_tunnel_connect_seconds", "How long it took until the tunnel was up.", histograms.connect),
        ("sstpsocks_dial_seconds", "How long it took until a connection inside was open.", histograms.dial),
        ("sstpsocks_tunnel_round_trip_seconds", "Round-trip times to the server.", histograms.round_trip),
    ):
        page.histogram(name, what, histogram, label)


def _port(page: Exposition, port: PortView) -> None:
    label = {"kind": port.kind, "listen": " ".join(port.listen)}
    page.gauge("sstpsocks_port_connections", "Connections of local programs being served.", port.active, label)
    page.gauge("sstpsocks_port_connections_limit", "How many may be; 0 for any number.", port.maximum, label)
    page.counter("sstpsocks_port_accepted_total", "Connections of local programs.", port.accepted, label)
    page.counter("sstpsocks_port_refused_total", "Those that were refused at the limit.", port.refused, label)
