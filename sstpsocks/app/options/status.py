"""Options about the status port: the page, the metrics and the health checks."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("status port")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "status",
        "WHERE",
        "show what the program does at http://127.0.0.1:PORT/, with /metrics, /healthz and /readyz: [HOST:]PORT (port "
        "0 takes a free one), unix:PATH[?mode=0600] or systemd[:NAME]",
    ),
    _TOPIC.text("status-user", "NAME", "the user name that a browser must give for it"),
    _TOPIC.file("status-password-file", "the password that it must give is the first line of FILE"),
    _TOPIC.list(
        "status-name",
        "HOST",
        "a name by which the status port is asked for, beside addresses and localhost; requests with others are "
        "refused, since a web page could be behind them",
    ),
    _TOPIC.switch(
        "status-allow-remote", "let --status take an address that other machines reach without asking for credentials"
    ),
)
