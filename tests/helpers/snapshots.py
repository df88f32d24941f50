"""Snapshots of a running program, and a status port that serves them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sstpsocks.app.status.snapshot import (
    DnsView,
    EventView,
    FlowView,
    HistoryView,
    LimitView,
    PortView,
    Snapshot,
    TunnelView,
    to_json,
)


def flow(number: int, name: str = "", **more: object) -> FlowView:
    values: dict[str, object] = {
        "number": number,
        "peer": f"10.0.0.{number}",
        "port": 443,
        "name": name,
        "local_port": 49000 + number,
        "state": "ESTABLISHED",
        "age": 60.0 * number,
        "octets_received": 1_000_000 * number,
        "octets_sent": 1000,
        "receive_rate": 0.0,
        "send_rate": 0.0,
        "round_trip": 0.02,
        "retransmissions": 0,
        "congestion_window": 14000,
        "send_window": 65535,
        "receive_window": 65535,
        "in_flight": 0,
        "unread": 0,
    }
    return FlowView(**{**values, **more})  # type: ignore[arg-type]  # each test names fields that exist


def tunnel(name: str = "office", *, up: bool = True, flows: tuple[FlowView, ...] = (), **more: object) -> TunnelView:
    values: dict[str, object] = {
        "name": name,
        "server": f"{name}.example.org:443",
        "state": "up" if up else "reconnecting",
        "up": up,
        "text": "tunnel is up" if up else "server closed the connection; dialling again in 1.0 s",
        "since": 3661.0,
        "addresses": ("10.8.0.5",),
        "peer": "10.8.0.1",
        "dns_servers": ("10.8.0.1",),
        "search": ("corp.example",),
        "routes": (),
        "mtu": 1400,
        "tls": "TLSv1.3",
        "correlation_id": "{X}",
        "round_trip": 0.0123,
        "octets_received": 123_456_789,
        "octets_sent": 4_567,
        "packets_received": 100,
        "packets_sent": 50,
        "receive_rate": 1_250_000.0,
        "send_rate": 125.0,
        "connects": 1,
        "connect_failures": {},
        "reconnects": 0,
        "losses": {},
        "last_error": "",
        "flows_total": len(flows),
        "flow_states": {"ESTABLISHED": len(flows)},
        "flows": flows,
        "flows_opened": 12,
        "flows_failed": 1,
        "segments_sent": 10,
        "segments_retransmitted": 0,
        "memory": 0,
        "memory_maximum": 1,
        "dns": DnsView(entries=0, capacity=1, under_way=0, hits=0, misses=0, failures=0),
        "history": HistoryView(
            interval=1.0,
            receive_rate=(None, 0.0, 625_000.0, 1_250_000.0),
            send_rate=(None, 0.0, 125.0, 125.0),
            round_trip=(None, 0.01, None, 0.0123),
        ),
    }
    return TunnelView(**{**values, **more})  # type: ignore[arg-type]  # each test names fields that exist


def snapshot(*tunnels: TunnelView, **more: object) -> Snapshot:
    values: dict[str, object] = {
        "version": "0.1.0",
        "time": 1_700_000_000.0,
        "uptime": 7200.0,
        "healthy": True,
        "ready": any(each.up for each in tunnels),
        "tunnels": tunnels,
        "ports": (PortView(kind="proxy", listen=("127.0.0.1:1080",), active=3, maximum=1024, accepted=40),),
        "limits": (LimitView(name="connections", used=3, maximum=1024, refused=0),),
        "events": (
            EventView(number=1, time=1_700_000_000.0, kind="state", text="tunnel is up"),
            EventView(number=2, time=1_700_000_001.0, kind="warning", text="take care", failed=True),
        ),
    }
    return Snapshot(**{**values, **more})  # type: ignore[arg-type]  # each test names fields that exist


@dataclass
class StatusServer:
    """What answers, and what it was asked."""

    answer: Snapshot | bytes
    status: int = 200
    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Authorization of each request."""


@contextmanager
def status_server(answer: Snapshot | bytes, *, status: int = 200, port: int = 0) -> Iterator[StatusServer]:
    """Serve it in a thread, on loopback."""
    server = StatusServer(answer, status)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Authorization")))
            held = server.answer
            body = held if isinstance(held, bytes) else json.dumps(to_json(held)).encode()
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
