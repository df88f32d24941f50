"""What a browser made of Chromium is told: flags, and preferences for what has none.

Everything goes to the SOCKS port, by name. Chromium would still make an exception for loopback and link-local
addresses, which "<-loopback>" takes away: the port refuses loopback, so that a page of the inner network does not reach
what listens on this machine. Were the proxy missed somewhere, the resolver rule leaves no name to be found. WebRTC and
QUIC are UDP, which Chromium sends past a SOCKS proxy; the first is told not to, the second is off.
"""

from __future__ import annotations

import json
from pathlib import Path

_FLAGS = (
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-breakpad",
    "--disable-sync",
    "--no-pings",
    "--disable-features=DnsOverHttps,MediaRouter,OptimizationHints,Translate",
)

_PREFERENCES = {
    "webrtc": {
        "ip_handling_policy": "disable_non_proxied_udp",
        "multiple_routes_enabled": False,
        "nonproxied_udp_enabled": False,
    },
    "net": {"network_prediction_options": 2},  # never
    "search": {"suggest_enabled": False},
    "safebrowsing": {"enabled": False},
    "alternate_error_pages": {"enabled": False},
    "signin": {"allowed": False},
}
_LOCAL_STATE = {"dns_over_https": {"mode": "off"}, "background_mode": {"enabled": False}}


def chromium_arguments(folder: Path, where: str, url: str, more: tuple[str, ...]) -> list[str]:
    """Return the arguments; ``where``: the port as "host:port"."""
    return [f"--user-data-dir={folder}", f"--proxy-server=socks5://{where}", *_FLAGS, *more, url]


def prepare_chromium(folder: Path) -> None:
    """Write the preferences of a new profile; one that is there already has them."""
    for path, content in ((folder / "Default" / "Preferences", _PREFERENCES), (folder / "Local State", _LOCAL_STATE)):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(content), encoding="utf-8")
