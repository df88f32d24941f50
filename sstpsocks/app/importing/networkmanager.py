"""Keyfiles of NetworkManager with a connection of its SSTP plugin (/etc/NetworkManager/system-connections)."""

from __future__ import annotations

import re

from ...errors import ConfigError
from .ini import Section, parse_sections
from .profile import ALWAYS_CHECKED, NO_COUNTERPART, NO_ROUTES, Draft, ImportedProfile

SERVICE = "org.freedesktop.NetworkManager.sstp"

# Keys of [vpn] that are taken over, and those that mean nothing here.
_TAKEN = frozenset(
    {
        "gateway",
        "user",
        "domain",
        "ca-cert",
        "ignore-cert-warn",
        "mtu",
        "connection-type",
        "crl-file",
        "proxy-server",
        "proxy-port",
        "proxy-user",
        "tls-ca-cert",
        "tls-identity",
        "tls-subject-name",
        "tls-user-cert",
        "tls-user-key",
        "tls-verify-method",
        "tls-remotename",
        "service-type",
        "refuse-eap",
        "refuse-pap",
        "refuse-chap",
        "refuse-mschap",
        "refuse-mschapv2",
    }
)
_SILENT = frozenset(
    {
        "uuid",
        "unit",
        "nobsdcomp",
        "nodeflate",
        "no-vj-comp",
        "password-flags",
        "proxy-password-flags",
        "no-secret",
    }
)
_REASONS = {
    "require-mppe": "PPP is not encrypted once more inside TLS",
    "require-mppe-40": "PPP is not encrypted once more inside TLS",
    "require-mppe-128": "PPP is not encrypted once more inside TLS",
    "mppe-stateful": "PPP is not encrypted once more inside TLS",
    "tls-ext": "the server's name is always shown in TLS (SNI); see sni",
    "tls-max-version": "the newest version that both have is used",
    "tls-user-key-secret-flags": "see eap_passphrase_file",
    "lcp-echo-failure": "a dead server is noticed as the protocol says",
    "lcp-echo-interval": "a dead server is noticed as the protocol says",
}
_ESCAPE = re.compile(r"\\([sntr\\;])")
_ESCAPED = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\", ";": ";"}


def read_keyfile(text: str) -> ImportedProfile:
    """Return the profile. Raises ConfigError, also for a connection of another kind."""
    sections = {section.name.lower(): section for section in parse_sections(text)}
    empty = Section("")
    vpn = sections.get("vpn", empty)
    service = vpn.get("service-type")
    if service != SERVICE:
        raise ConfigError(f'the connection is not one of SSTP: its service-type is "{service[:100]}"')
    draft = Draft(_value(sections.get("connection", empty), "id") or "networkmanager")
    draft.server(_value(vpn, "gateway"))
    draft.set("ca_file", _path(vpn, "ca-cert"), "ca-cert")
    draft.set("crl_file", _path(vpn, "crl-file"), "crl-file")
    if vpn.get("ignore-cert-warn") == "yes":
        draft.drop("ignore-cert-warn", ALWAYS_CHECKED)
    if mtu := vpn.get("mtu"):
        draft.set("mtu", int(mtu) if mtu.isascii() and mtu.isdecimal() and len(mtu) < 6 else -1, "mtu")
    _login(draft, vpn)
    _proxy(draft, vpn)
    for secret, value in sections.get("vpn-secrets", empty).items:
        if secret in ("password", "proxy-password"):
            draft.secret(secret.replace("-", "_"), _unescape(value), secret)
        else:
            draft.drop(secret, "see eap_passphrase_file")
    for key, value in vpn.items:
        if key not in _TAKEN | _SILENT and value not in ("no", "0", ""):
            draft.drop(key, _REASONS.get(key, NO_COUNTERPART))
    _addresses(draft, sections.get("ipv4", empty), sections.get("ipv6", empty))
    return draft.finish()


def _login(draft: Draft, vpn: Section) -> None:
    if vpn.get("connection-type") == "tls":
        draft.methods(["eap-tls"], [])
        draft.user(_value(vpn, "tls-identity"), None, "tls-identity")
        draft.set("eap_cert", _path(vpn, "tls-user-cert"), "tls-user-cert")
        draft.set("eap_key", _path(vpn, "tls-user-key"), "tls-user-key")
        draft.set("eap_ca_file", _path(vpn, "tls-ca-cert"), "tls-ca-cert")
        if vpn.get("tls-verify-method") in ("name", ""):
            name = _value(vpn, "tls-remotename")
            draft.set("eap_server_name", (name,) if name else None, "tls-remotename")
        else:
            draft.drop("tls-verify-method", "only whole names are compared; name them in eap_server_name")
        return
    draft.user(_value(vpn, "user"), _value(vpn, "domain"), "user")
    refused = {name for name in ("eap", "mschapv2", "chap", "pap") if vpn.get(f"refuse-{name}") == "yes"}
    if not refused:
        return  # nothing was chosen: what is usual here holds
    good = ["mschapv2"] * ("mschapv2" not in refused) + ["eap-mschapv2"] * ("eap" not in refused)
    # What pppd allows unless told otherwise is no wish to have it.
    draft.methods(good, [] if good else [name for name in ("chap", "pap") if name not in refused])


def _proxy(draft: Draft, vpn: Section) -> None:
    host = _value(vpn, "proxy-server")
    if not host:
        return
    port = _value(vpn, "proxy-port")
    draft.set("proxy", f"{host}:{port}" if port not in ("", "0") else host, "proxy-server")
    draft.set("proxy_user", _value(vpn, "proxy-user"), "proxy-user")


def _addresses(draft: Draft, ipv4: Section, ipv6: Section) -> None:
    domains = (part.strip().lstrip("~") for part in ipv4.get("dns-search").split(";"))
    draft.set("search_domain", tuple(filter(None, domains)), "dns-search")
    if ipv4.get("dns"):
        draft.drop("dns", "the name servers that the VPN tells are used")
    routes = any(key.lower().startswith(("route", "never-default")) for key, _ in (*ipv4.items, *ipv6.items))
    if routes:
        draft.drop("routes", NO_ROUTES)
    if ipv6.get("method") in ("ignore", "disabled"):
        draft.set("ipv6", "never", "ipv6 method")


def _value(section: Section, key: str) -> str:
    return _unescape(section.get(key))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text)


def _path(section: Section, key: str) -> str:
    return _value(section, key).removeprefix("file://")
