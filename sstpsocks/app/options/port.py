"""Options about the local port: where and to whom it is offered."""

from __future__ import annotations

from .table import Option, Topic

DEFAULT_LISTEN = "127.0.0.1:1080"  # 1080 is the port that IANA assigned to SOCKS
DEFAULT_MAX_CONNECTIONS = 1024  # what the proxy has, too; far above what a browser opens

_TOPIC = Topic("local port")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "listen",
        "WHERE",
        "where to offer SOCKS and HTTP, several times for several places: [HOST:]PORT (port 0 takes a free one), "
        "unix:PATH[?mode=0600] or systemd[:NAME] for sockets that systemd opened",
        default=DEFAULT_LISTEN,
        short="-l",
    ),
    _TOPIC.switch(
        "allow-remote", "let --listen take an address that other machines reach without asking for credentials"
    ),
    _TOPIC.switch("same-user", "let only programs of the user that runs this use the port (Linux)"),
    _TOPIC.text("socks-user", "NAME", "the user name that local programs must give"),
    _TOPIC.file("socks-password-file", "the password that they must give is the first line of FILE"),
    _TOPIC.file("socks-users-file", "more users: a line NAME:PASSWORD each, in a FILE that only its owner can read"),
    _TOPIC.secret_table("users", "users with their passwords: NAME = PASSWORD, or NAME = { password_file = FILE }"),
    _TOPIC.integer(
        "max-connections",
        "N",
        "how many connections of local programs are served at once",
        default=str(DEFAULT_MAX_CONNECTIONS),
        minimum=1,
        maximum=60000,
    ),
)
