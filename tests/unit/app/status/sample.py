"""A snapshot with something in every field."""

from __future__ import annotations

from dataclasses import replace

from sstpsocks.app.status.snapshot import (
    DnsView,
    EventView,
    FlowView,
    HistoryView,
    LimitView,
    NameView,
    PortView,
    Snapshot,
    TunnelView,
)

HOSTILE = '"><img src=x onerror=alert(1)>\\\n\u202e{}'

FLOW = FlowView(
    number=1,
    peer="10.0.0.5",
    port=443,
    name="git.corp.example",
    local_port=50000,
    state="ESTABLISHED",
    age=3.0,
    octets_received=10,
    octets_sent=20,
    receive_rate=1.5,
    send_rate=2.5,
    round_trip=0.02,
    retransmissions=3,
    congestion_window=14000,
    send_window=65535,
    receive_window=262144,
    in_flight=100,
    unread=0,
)
TUNNEL = TunnelView(
    name="office",
    server="vpn.example.org:443",
    state="up",
    up=True,
    text="tunnel to vpn.example.org:443 is up as 10.0.0.2",
    since=60.0,
    addresses=("10.0.0.2",),
    peer="10.0.0.1",
    dns_servers=("10.0.0.1",),
    search=("corp.example",),
    routes=("10.0.0.0/8",),
    mtu=1400,
    tls="TLSv1.3",
    correlation_id="{1}",
    round_trip=0.012,
    octets_received=1000,
    octets_sent=2000,
    packets_received=3,
    packets_sent=4,
    receive_rate=5.0,
    send_rate=6.0,
    connects=3,
    connect_failures={"TLS": 1},
    reconnects=2,
    losses={"reset": 2},
    last_error="server closed the connection",
    flows_total=2,
    flow_states={"ESTABLISHED": 2},
    flows=(FLOW,),
    flows_opened=9,
    flows_failed=1,
    segments_sent=100,
    segments_retransmitted=1,
    memory=8192,
    memory_maximum=1 << 28,
    dns=DnsView(
        entries=1,
        capacity=1024,
        under_way=0,
        hits=5,
        misses=6,
        failures=1,
        names=(NameView(name="git.corp.example", kind="A", addresses=("10.0.0.5",), left=30.0),),
    ),
    history=HistoryView(interval=1.0, receive_rate=(None, 5.0), send_rate=(None, 6.0), round_trip=(None, 0.012)),
)


def tunnel_named(name: str) -> TunnelView:
    return replace(TUNNEL, name=name)


def snapshot_of(*tunnels: TunnelView) -> Snapshot:
    return Snapshot(
        version="0.1.0",
        time=1_700_000_000.0,
        uptime=61.0,
        healthy=True,
        ready=True,
        tunnels=tunnels,
        ports=(PortView(kind="proxy", listen=("127.0.0.1:1080",), active=1, maximum=1024, accepted=10, refused=0),),
        limits=(LimitView(name="flows", tunnel="office", used=2, maximum=65536, refused=0),),
        events=(EventView(number=1, time=1_700_000_000.0, kind="state", text="up"),),
    )
