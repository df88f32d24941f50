"""The schema of status.json, which others build on."""

from __future__ import annotations

import json
from dataclasses import fields

from sstpsocks.app.status.snapshot import FlowView, Snapshot, TunnelView, to_json
from tests.unit.app.status.sample import HOSTILE, TUNNEL, snapshot_of, tunnel_named

KEYS = {
    "snapshot": {"schema", "version", "time", "uptime", "healthy", "ready", "tunnels", "ports", "limits", "events"},
    "tunnel": {
        "name", "server", "state", "up", "text", "since", "addresses", "peer", "dns_servers", "search", "routes", "mtu",
        "tls", "correlation_id", "round_trip", "octets_received", "octets_sent", "packets_received", "packets_sent",
        "receive_rate", "send_rate", "connects", "connect_failures", "reconnects", "losses", "last_error",
        "flows_total", "flow_states", "flows", "flows_opened", "flows_failed", "segments_sent",
        "segments_retransmitted", "memory", "memory_maximum", "dns", "history",
    },
    "flow": {
        "number", "peer", "port", "name", "local_port", "state", "age", "octets_received", "octets_sent",
        "receive_rate", "send_rate", "round_trip", "retransmissions", "congestion_window", "send_window",
        "receive_window", "in_flight", "unread",
    },
    "dns": {"entries", "capacity", "under_way", "hits", "misses", "failures", "names"},
    "name": {"name", "kind", "addresses", "left"},
    "history": {"interval", "receive_rate", "send_rate", "round_trip"},
    "port": {"kind", "listen", "tunnel", "active", "maximum", "accepted", "refused"},
    "limit": {"name", "tunnel", "used", "maximum", "refused"},
    "event": {"number", "time", "kind", "text", "failed"},
}  # fmt: skip
"""No key goes, or changes its meaning, while the schema is 1; new ones are added here."""


def test_the_document_has_these_keys() -> None:
    document = json.loads(json.dumps(to_json(snapshot_of(TUNNEL)), allow_nan=False))
    (tunnel,) = document["tunnels"]
    assert document["schema"] == 1
    found = {
        "snapshot": document,
        "tunnel": tunnel,
        "flow": tunnel["flows"][0],
        "dns": tunnel["dns"],
        "name": tunnel["dns"]["names"][0],
        "history": tunnel["history"],
        "port": document["ports"][0],
        "limit": document["limits"][0],
        "event": document["events"][0],
    }
    assert {name: set(value) for name, value in found.items()} == KEYS
    assert tunnel["flow_states"] == {"ESTABLISHED": 2}
    assert tunnel["history"]["receive_rate"] == [None, 5.0]


def test_every_field_is_in_the_document() -> None:
    assert {field.name for field in fields(Snapshot)} == KEYS["snapshot"]
    assert {field.name for field in fields(TunnelView)} == KEYS["tunnel"]
    assert {field.name for field in fields(FlowView)} == KEYS["flow"]


def test_any_text_survives() -> None:
    document = json.loads(json.dumps(to_json(snapshot_of(tunnel_named(HOSTILE)))))
    assert document["tunnels"][0]["name"] == HOSTILE
