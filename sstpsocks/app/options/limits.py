"""Time limits of the single steps, and how much programs may use."""

from __future__ import annotations

from .table import Option, Topic

MEBIBYTE = 1024 * 1024

_TOPIC = Topic("time limits, in seconds")
_BOUNDS = Topic("bounds")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.seconds("connect-timeout", "resolving the server's name and TCP", default="15"),
    _TOPIC.seconds("proxy-timeout", "each answer of a proxy on the way to the server", default="30"),
    _TOPIC.seconds("tls-timeout", "TLS handshake", default="15"),
    _TOPIC.seconds("http-timeout", "the server's answer to the HTTP request", default="60"),
    _TOPIC.seconds("lcp-timeout", "LCP negotiation", default="30"),
    _TOPIC.seconds("auth-timeout", "authentication", default="60"),
    _TOPIC.seconds("address-timeout", "negotiation of the addresses", default="30"),
    _BOUNDS.integer(
        "max-connections-per-client",
        "N",
        "how many of --max-connections one client may have: who logged in, else the user of this machine (Linux), else "
        "the address; without, as many as there are",
        minimum=1,
        maximum=60000,
    ),
    _BOUNDS.integer(
        "max-flows", "N", "TCP connections at once inside a tunnel", default="65536", minimum=1, maximum=1_000_000
    ),
    _BOUNDS.integer(
        "max-half-open",
        "N",
        "those of them whose target has not answered yet",
        default="4096",
        minimum=1,
        maximum=1_000_000,
    ),
    _BOUNDS.integer(
        "max-memory",
        "MIB",
        "MiB that all connections and datagrams inside a tunnel may hold together",
        default="256",
        minimum=8,
        maximum=65536,
    ),
    _BOUNDS.integer(
        "max-dns-names",
        "N",
        "names, and answers of the DNS port, that are remembered for each tunnel",
        default="1024",
        minimum=16,
        maximum=1_000_000,
    ),
)
