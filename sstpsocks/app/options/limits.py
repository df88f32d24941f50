"""Time limits of the single steps."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("time limits, in seconds")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.seconds("connect-timeout", "resolving the server's name and TCP", default="15"),
    _TOPIC.seconds("proxy-timeout", "each answer of a proxy on the way to the server", default="30"),
    _TOPIC.seconds("tls-timeout", "TLS handshake", default="15"),
    _TOPIC.seconds("http-timeout", "the server's answer to the HTTP request", default="60"),
    _TOPIC.seconds("lcp-timeout", "LCP negotiation", default="30"),
    _TOPIC.seconds("auth-timeout", "authentication", default="60"),
    _TOPIC.seconds("address-timeout", "negotiation of the addresses", default="30"),
)
