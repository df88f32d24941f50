"""One tunnel: from the layers to its checked settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..ppp.auth import AuthMethod
from ..tunnel.settings import (
    DEFAULT_MTU,
    DEFAULT_PORT,
    EapSettings,
    FirstUse,
    FlowLimits,
    Timeouts,
    TlsSettings,
    TrustSettings,
    TunnelSettings,
)
from . import values
from .credentials import FixedPassword, PasswordSource
from .dns_config import name_settings
from .eap_config import client_certificate, default_methods
from .layers import Layers
from .login_config import password_of, servers_of, username_of
from .options.limits import MEBIBYTE
from .proxy_config import ProxyConfiguration
from .tls_config import crl_file, sni


def tunnel_settings(
    layers: Layers,
    proxies: ProxyConfiguration,
    tls: TlsSettings,
    first_use: FirstUse | None,
    *,
    has_terminal: bool,
    login: bool,
) -> tuple[TunnelSettings, PasswordSource]:
    """Return everything about one tunnel, and the source behind its credentials. Raises ConfigError."""
    servers = servers_of(layers)
    server = servers[0]
    methods = _methods(layers)
    password: PasswordSource
    certificate = client_certificate(layers, has_terminal=has_terminal)
    if not login:
        username, password = "", FixedPassword("", "nobody logs in")
    elif methods == (AuthMethod.EAP_TLS,) and certificate is not None:
        # The certificate is all that it takes; it also says who the user is.
        username = username_of(layers, certificate.user)
        password = FixedPassword("", "--eap-cert")
    else:
        username = username_of(layers)
        password = password_of(layers, has_terminal=has_terminal)
    port = server.port or DEFAULT_PORT
    connect_to = layers.parsed("connect_to", values.parse_connect_to)
    server_name = layers.parsed("server_name", values.ascii_host)
    limits = Timeouts()
    settings = TunnelSettings(
        host=server.host,
        port=port,
        connect_to=None if connect_to is None else (connect_to[0], connect_to[1] or port),
        # A zone (fe80::1%eth0) belongs to this machine and is in no certificate.
        trust=TrustSettings(
            server_name=server_name or server.host.partition("%")[0],
            sni=sni(layers),
            ca_file=_ca_file(layers),
            pins=_pins(layers),
            crl_file=crl_file(layers, pinned=bool(_pins(layers))),
            first_use=first_use,
        ),
        tls=tls,
        eap=EapSettings(
            ca_file=_ca_file(layers, "eap_ca_file"),
            server_names=_server_names(layers),
            pins=_pins(layers, "eap_pin_sha256"),
            certificate=certificate,
            outer_identity=layers.text("outer_identity") or "",
            hlak=_hlak(layers),
        ),
        username=username,
        credentials=password,
        password_changed=password.changed,
        methods=methods,
        mtu=layers.integer("mtu", DEFAULT_MTU),
        timeouts=Timeouts(
            connect=layers.seconds("connect_timeout", limits.connect),
            proxy=layers.seconds("proxy_timeout", limits.proxy),
            tls=layers.seconds("tls_timeout", limits.tls),
            http=layers.seconds("http_timeout", limits.http),
            lcp=layers.seconds("lcp_timeout", limits.lcp),
            authentication=layers.seconds("auth_timeout", limits.authentication),
            addresses=layers.seconds("address_timeout", limits.addresses),
        ),
        limits=_limits(layers),
        address=layers.parsed("address", values.parse_tunnel_address),
        reconnect=_reconnect(layers),
        reconnect_budget=layers.seconds("reconnect_budget", 0.0) or None,
        hold=layers.seconds("hold", 0.0),
        dead_after=layers.seconds("dead_after", 0.0) or None,
        on_demand=layers.switch("on_demand"),
        idle_timeout=layers.seconds("idle_timeout", 300.0),
        ecn=_ecn(layers),
        dhcp=_dhcp(layers),
        ipv6=_ipv6(layers),
        strict_routes=layers.switch("strict_routes"),
        search_domains=_search_domains(layers),
        names=name_settings(layers),
        pcap_file=layers.text("pcap"),
        pcap_size=layers.integer("pcap_size", 0) * 1_000_000 or None,
        pcap_files=layers.integer("pcap_files", 5),
    )
    ways = [_way(layers, proxies, settings, server) for server in servers]
    return replace(ways[0], alternatives=tuple(ways[1:])), password


def _way(
    layers: Layers, proxies: ProxyConfiguration, settings: TunnelSettings, server: values.Server
) -> TunnelSettings:
    """Return the settings for one of the servers: its name, and what leads to it."""
    port = server.port or DEFAULT_PORT
    host, connect_port = settings.connect_to or (server.host, port)
    # A zone (fe80::1%eth0) belongs to this machine and is in no certificate.
    name = layers.parsed("server_name", values.ascii_host) or server.host.partition("%")[0]
    return replace(
        settings,
        host=server.host,
        port=port,
        trust=replace(settings.trust, server_name=name),
        proxy=proxies.choose(host, connect_port, ca_file=_ca_file(layers, "proxy_ca_file")),
        source_address=layers.parsed("source_address", values.parse_address),
        tenant_id=layers.text("tenant_id"),
    )


def _limits(layers: Layers) -> FlowLimits:
    usual = FlowLimits()
    return FlowLimits(
        flows=layers.integer("max_flows", usual.flows),
        half_open=layers.integer("max_half_open", usual.half_open),
        memory=layers.integer("max_memory", usual.memory // MEBIBYTE) * MEBIBYTE,
        dns_names=layers.integer("max_dns_names", usual.dns_names),
    )


def _hlak(layers: Layers) -> Literal["auto", "keys", "zero"]:
    match layers.text("hlak"):
        case "keys":
            return "keys"
        case "zero":
            return "zero"
        case _:
            return "auto"


def _reconnect(layers: Layers) -> Literal["auto", "never"]:
    return "never" if layers.text("reconnect") == "never" else "auto"


def _ecn(layers: Layers) -> Literal["off", "passive", "active"]:
    match layers.text("ecn"):
        case "active":
            return "active"
        case "off":
            return "off"
        case _:
            return "passive"


def _dhcp(layers: Layers) -> Literal["auto", "anonymous", "never"]:
    match layers.text("dhcp"):
        case "anonymous":
            return "anonymous"
        case "never":
            return "never"
        case _:
            return "auto"


def _ipv6(layers: Layers) -> Literal["auto", "always", "never"]:
    match layers.text("ipv6"):
        case "always":
            return "always"
        case "never":
            return "never"
        case _:
            return "auto"


def _search_domains(layers: Layers) -> tuple[str, ...]:
    setting = layers.find("search_domain")
    if setting is None or not isinstance(setting.value, tuple):
        return ()
    try:
        return tuple(dict.fromkeys(values.parse_domain(item) for item in setting.value))
    except ValueError as error:
        raise setting.error(str(error)) from None


def _ca_file(layers: Layers, option: str = "ca_file") -> str | None:
    setting = layers.find(option)
    if setting is None:
        return None
    path = str(setting.value)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise setting.error(f"cannot read {path}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise setting.error(f"{path} holds no certificate in PEM form")
    return path


def _server_names(layers: Layers) -> tuple[str, ...]:
    setting = layers.find("eap_server_name")
    if setting is None or not isinstance(setting.value, tuple):
        return ()
    try:
        return tuple(values.ascii_host(item) for item in setting.value)
    except ValueError as error:
        raise setting.error(str(error)) from None


def _pins(layers: Layers, option: str = "pin_sha256") -> tuple[bytes, ...]:
    setting = layers.find(option)
    if setting is None or not isinstance(setting.value, tuple):
        return ()
    try:
        return tuple(values.parse_pin(item) for item in setting.value)
    except ValueError as error:
        raise setting.error(str(error)) from None


def _methods(layers: Layers) -> tuple[AuthMethod, ...]:
    setting = layers.find("auth")
    if setting is None or not isinstance(setting.value, tuple):
        return default_methods(layers)
    try:
        return values.parse_methods(setting.value)
    except ValueError as error:
        raise setting.error(str(error)) from None
