"""What Firefox is told: user.js, which it reads at each start and which beats what was changed inside.

Loopback goes to the port, too, and is refused there. When the proxy does not answer there is no other way: no
fail-over, no DNS over HTTPS, no prefetching of names. WebRTC and HTTP/3 are UDP and off.
"""

from __future__ import annotations

import json
from pathlib import Path

_PREFERENCES: dict[str, bool | int | str] = {
    "network.proxy.type": 1,
    "network.proxy.socks_version": 5,
    "network.proxy.socks_remote_dns": True,
    "network.proxy.socks5_remote_dns": True,
    "network.proxy.no_proxies_on": "",
    "network.proxy.allow_hijacking_localhost": True,
    "network.proxy.failover_direct": False,
    "network.proxy.allow_bypass": False,
    "network.trr.mode": 5,  # off by choice
    "network.dns.disablePrefetch": True,
    "network.dns.disablePrefetchFromHTTPS": True,
    "network.prefetch-next": False,
    "network.predictor.enabled": False,
    "network.http.speculative-parallel-limit": 0,
    "browser.urlbar.speculativeConnect.enabled": False,
    "network.http.http3.enable": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "media.peerconnection.enabled": False,
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "app.update.background.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.activity-stream.feeds.topsites": False,
    "browser.newtabpage.activity-stream.feeds.section.topstories": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.suggest.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
}


def firefox_arguments(folder: Path, url: str, more: tuple[str, ...]) -> list[str]:
    """Return the arguments: an instance of its own, whatever else runs."""
    return ["--no-remote", "--new-instance", "--profile", str(folder), *more, url]


def prepare_firefox(folder: Path, where: str) -> None:
    """Write user.js; ``where``: the port as "host:port"."""
    host, _, port = where.rpartition(":")
    preferences = {
        **_PREFERENCES,
        "network.proxy.socks": host.strip("[]"),
        "network.proxy.socks_port": int(port),
    }
    # JSON's strings, numbers and truth values are JavaScript's.
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (folder / "user.js").write_text("".join(lines), encoding="utf-8")
