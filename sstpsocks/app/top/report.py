"""``sstpsocks status``: a running program at one moment, as text or as JSON, and an exit code."""

from __future__ import annotations

import json

from ..failures import EXIT_OK
from ..status.snapshot import Snapshot, TunnelView
from ..text import one_line
from .client import Place, fetch
from .decode import decode
from .figures import duration, milliseconds, octets, rate

EXIT_DOWN = 1
"""It runs, and is not ready, as /readyz says: a tunnel is down."""


def run_status(place: Place, *, as_json: bool) -> int:
    """Print what is going on at the place, and return the exit code. Raises NotRunning."""
    document = fetch(place)
    snapshot = decode(Snapshot, document)
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else text_of(snapshot))  # noqa: T201
    return EXIT_OK if snapshot.ready else EXIT_DOWN


def text_of(snapshot: Snapshot) -> str:
    """Return the report."""
    verdict = "ready" if snapshot.ready else "not ready"
    lines = [f"sstpsocks {snapshot.version}, running for {duration(snapshot.uptime)}: {verdict}"]
    for tunnel in snapshot.tunnels:
        lines += ["", *_tunnel(tunnel)]
    for port in snapshot.ports:
        where = ", ".join(port.listen)
        most = f" of {port.maximum}" if port.maximum else ""
        alone = f" (tunnel {port.tunnel})" if port.tunnel else ""
        refused = f", {port.refused} refused" if port.refused else ""
        lines += [
            "",
            f"{port.kind} port {where}{alone}: {port.active}{most} connections, {port.accepted} so far{refused}",
        ]
    full = [limit for limit in snapshot.limits if limit.refused]
    if full:
        told = ", ".join(f"{limit.name} ({limit.refused} times)" for limit in full)
        lines += ["", f"limits that were met: {told}"]
    return "\n".join(line if not line else _plain(line) for line in lines)


def _tunnel(tunnel: TunnelView) -> list[str]:
    lines = [f"{tunnel.name}: {tunnel.state} for {duration(tunnel.since)}, server {tunnel.server}"]
    if tunnel.up:
        addresses = ", ".join(tunnel.addresses)
        lines.append(f"  as {addresses}, MTU {tunnel.mtu}, {tunnel.tls}, round trip {milliseconds(tunnel.round_trip)}")
        lines.append(f"  DNS {', '.join(tunnel.dns_servers) or 'none'}")
    elif tunnel.text:
        lines.append(f"  {tunnel.text}")
    lines.append(
        f"  received {octets(tunnel.octets_received)} ({rate(tunnel.receive_rate)}), "
        f"sent {octets(tunnel.octets_sent)} ({rate(tunnel.send_rate)})"
    )
    lines.append(f"  {tunnel.flows_total} connections, {tunnel.flows_opened} so far, {tunnel.flows_failed} failed")
    if tunnel.reconnects:
        lines.append(f"  {tunnel.reconnects} reconnects; the last error: {tunnel.last_error or 'none'}")
    return lines


def _plain(line: str) -> str:
    """Return the line without what could steer a terminal: servers' texts are in it."""
    return line[: len(line) - len(line.lstrip(" "))] + one_line(line)
