"""Options about the way to the server."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("way to the server")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.text(
        "proxy",
        "URL|none",
        "the proxy that leads to the server: http://, https://, socks5:// or socks5h://HOST:PORT; otherwise "
        "HTTPS_PROXY, ALL_PROXY and NO_PROXY say",
    ),
    _TOPIC.text("proxy-user", "NAME", "the user name for the proxy"),
    _TOPIC.secret("proxy-password", "the password for the proxy"),
    _TOPIC.file("proxy-password-file", "read the password for the proxy from the first line of FILE at each log-in"),
    _TOPIC.text(
        "proxy-password-command",
        "CMD",
        "take the password for the proxy from the first line that CMD prints, run afresh at each log-in",
    ),
    _TOPIC.list(
        "proxy-auth",
        "LIST",
        "what may be used to log in to an HTTP proxy; the strongest that it offers is. basic shows it, and without "
        "https:// the network, the password",
        default="negotiate,digest,ntlm,basic",
    ),
    _TOPIC.file(
        "proxy-ca-file",
        "PEM file with the only root certificates to trust for an https:// proxy, instead of the system's",
    ),
    _TOPIC.text(
        "source-address",
        "ADDRESS",
        "connect from this address of the machine, not from the one that the system chooses",
    ),
)
