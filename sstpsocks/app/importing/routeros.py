"""Lines of MikroTik's RouterOS: ``/interface sstp-client add ...``, as ``export`` prints and as people write them."""

from __future__ import annotations

import re

from ...errors import ConfigError
from .profile import ALWAYS_CHECKED, NO_COUNTERPART, NO_ROUTES, Draft, ImportedProfile

# A file may be a megabyte of anything: no expression may begin again inside what it has just run through.
_MENU = re.compile(r"/?[ ]?interface[ /]{1,4}sstp-client\b[ /]*", re.IGNORECASE)
_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
_PAIR = re.compile(r'(?<![a-z0-9-])([a-z][a-z0-9-]*)=("(?:[^"\\]|\\.)*"|\S*)', re.IGNORECASE)
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "_": " "}

NO_PROXY = ("", "0.0.0.0", "::")  # noqa: S104 - how RouterOS writes that there is none

_METHODS = {"mschap2": "mschapv2", "chap": "chap", "pap": "pap"}
_SILENT = frozenset(
    {
        "name",
        "connect-to",
        "port",
        "user",
        "password",
        "http-proxy",
        "proxy-port",
        "authentication",
        "comment",
        "verify-server-certificate",
        "verify-server-address-from-certificate",
        "add-sni",
        "max-mtu",
        "tls-version",
        "certificate",
        "disabled",
    }
)
_REASONS = {
    "add-default-route": NO_ROUTES,
    "default-route-distance": NO_ROUTES,
    "max-mru": "what the link can carry is offered to the server",
    "ciphers": "both ends agree on the strongest; see tls_seclevel",
    "pfs": "both ends agree on the strongest; see tls_seclevel",
    "keepalive-timeout": "a dead server is noticed as the protocol says",
    "mrru": "multilink is not offered",
    "profile": "what the router's PPP profile says is not in the line",
    "dial-on-demand": "the tunnel is there while sstpsocks runs",
}


def is_routeros(text: str) -> bool:
    """Whether there is a line of the SSTP client in it."""
    return _MENU.search(text) is not None


def read_routeros(text: str) -> list[ImportedProfile]:
    """Return the profile of each SSTP client. Raises ConfigError when there is none."""
    profiles = []
    here = False
    for raw in _CONTINUED.sub("", text).splitlines():
        line = raw.strip()
        if menu := _MENU.match(line):
            here, line = True, line[menu.end() :]
        elif line.startswith("/"):
            here = False
        if here and re.match(r"add\b", line):
            profiles.append(_profile({key.lower(): _unquote(value) for key, value in _PAIR.findall(line)}))
    if not profiles:
        raise ConfigError('there is no "/interface sstp-client add" with a connection in it')
    return profiles


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(lambda match: _escaped(match[1]), value[1:-1])


def _escaped(text: str) -> str:
    # \XX is the octet with that number.
    return chr(int(text, 16)) if len(text) == 2 else _ESCAPED.get(text, text)


def _profile(given: dict[str, str]) -> ImportedProfile:
    draft = Draft(given.get("name") or "mikrotik")
    server, at, _table = given.get("connect-to", "").partition("@")
    if at:
        draft.drop("connect-to's routing table", NO_ROUTES)
    draft.server(_with_port(server, given.get("port", "")))
    draft.user(given.get("user"), None, "user")
    draft.secret("password", given.get("password"), "password")
    if "authentication" in given:
        names = given["authentication"].split(",")
        if "mschap1" in names:
            draft.drop("mschap1", "it is broken and not supported")
        known = [_METHODS[name] for name in names if name in _METHODS]
        draft.methods([name for name in known if name == "mschapv2"], [name for name in known if name != "mschapv2"])
    proxy = given.get("http-proxy", "")
    if proxy.rpartition(":")[0] not in NO_PROXY or (":" not in proxy and proxy not in NO_PROXY):
        draft.set("proxy", _with_port(proxy, given.get("proxy-port", "")), "http-proxy")
    mtu = given.get("max-mtu", "1500")
    if mtu != "1500":  # RouterOS's default, printed by "export verbose"
        draft.set("mtu", int(mtu) if mtu.isascii() and mtu.isdecimal() and len(mtu) < 6 else -1, "max-mtu")
    _tls(draft, given)
    for key, value in given.items():
        if key not in _SILENT and value not in ("no", "disabled", ""):
            draft.drop(key, _REASONS.get(key, NO_COUNTERPART))
    return draft.finish()


def _tls(draft: Draft, given: dict[str, str]) -> None:
    # "no" is RouterOS's default, and left out by "export".
    if given.get("verify-server-certificate", "no") != "yes":
        draft.drop("verify-server-certificate=no", ALWAYS_CHECKED)
    if given.get("certificate", "none") != "none":
        draft.drop("certificate", "it is in the router; export it as PKCS#12 and name it with certificate")
    if given.get("disabled") == "yes":
        draft.drop("disabled=yes", "a profile is used when it is asked for")
    if given.get("tls-version", "any") == "any":
        draft.drop("tls-version=any", "TLS 1.2 is the oldest to be accepted; see tls_min")


def _with_port(host: str, port: str) -> str:
    """Return the host with the port, unless it has one itself."""
    if not port or port == "0" or re.fullmatch(r"[^:]*:\d+|\[.*\]:\d+", host):
        return host
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
