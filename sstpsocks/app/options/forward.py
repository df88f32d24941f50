"""Options about forwards: single ports that lead through the tunnel."""

from __future__ import annotations

from .table import Option, Place, Topic

_TOPIC = Topic("forwards")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "local-forward",
        "FORWARD",
        "listen here and connect inside the tunnel: [BIND:]PORT:HOST:PORT, udp/[BIND:]PORT:HOST:PORT for datagrams, or "
        "/SOCKET:HOST:PORT",
        short="-L",
    ),
    _TOPIC.list(
        "remote-forward",
        "FORWARD",
        "listen inside the tunnel and connect from here: PORT:HOST:PORT or PORT:/SOCKET",
        short="-R",
    ),
    _TOPIC.text(
        "stdio-forward",
        "HOST:PORT",
        "connect standard input and output to HOST:PORT in a tunnel of its own (for ssh's ProxyCommand); no port",
        short="-W",
        places=frozenset({Place.FLAG}),
    ),
)
