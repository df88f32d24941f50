"""From flags, environment and configuration file to checked settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..ppp.auth import AuthMethod
from ..tunnel.settings import (
    DEFAULT_MTU,
    DEFAULT_PORT,
    EapSettings,
    FirstUse,
    Timeouts,
    TlsSettings,
    TrustSettings,
    TunnelSettings,
)
from . import values
from .configfile import FILE_NAME, ConfigFile, config_folder, load
from .credentials import (
    CommandPassword,
    FilePassword,
    FixedPassword,
    PasswordSource,
    PromptPassword,
    first_line_of,
)
from .eap_config import client_certificate, default_methods
from .first_use_prompt import FirstUsePrompt
from .keyring_password import KeyringPassword
from .layers import (
    Layers,
    Setting,
    environment_layer,
    file_layers,
    flag_layer,
    misspelt_variables,
)
from .new_password import NewPasswordFile, NewPasswordPrompt
from .options import DEFAULT_LISTEN, DEFAULT_MAX_CONNECTIONS
from .proxy_config import ProxyConfiguration
from .tls_config import crl_file, first_use, sni, tls_settings, tls_warnings

_NOBODY = "\0"  # no user name can be that

MAX_SOCKS_FIELD = 255  # RFC 1929 section 2: lengths are one octet, 1 to 255

NO_PASSWORD_HINT = "Give it with --password-file FILE, with --password-command CMD or in SSTPSOCKS_PASSWORD"  # noqa: S105 - a hint


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where and to whom SOCKS5 is offered."""

    host: str
    port: int
    """0: any free one."""
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password that local programs must give (RFC 1929), None for none."""
    max_connections: int = DEFAULT_MAX_CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What is said, and where."""

    verbosity: int = 0
    """-1 quiet, 0 normal, 1 and 2 more and more."""
    log_format: str | None = None
    """None: steps for a person on a terminal, else text lines."""
    ready_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that ``sstpsocks connect`` needs to know."""

    tunnel: TunnelSettings
    password: PasswordSource
    """The source behind ``tunnel.credentials``."""
    listen: ListenSettings
    output: OutputSettings
    proxy_passwords: tuple[PasswordSource, ...] = ()
    """The sources behind ``tunnel.proxy.credentials``, and those of the alternatives."""
    first_use_prompt: FirstUsePrompt | None = None
    """Who is asked about an unknown server, None without a terminal."""
    warnings: tuple[str, ...] = ()


def load_configuration(
    arguments: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    *,
    has_terminal: bool | None = None,
    login: bool | None = True,
) -> Configuration:
    """Merge the attributes of argparse's result, the environment and the configuration file.

    ``has_terminal`` says whether somebody can be asked for a password. ``login``: whether there must be a user and a
    password; None: only where a user is named, False: neither is looked at; without, the user is empty. Raises
    ConfigError.
    """
    environ = os.environ if environ is None else environ
    if has_terminal is None:
        has_terminal = sys.stdin is not None and sys.stdin.isatty()
    flags, variables = flag_layer(arguments), environment_layer(environ)
    file = _config_file(Layers((flags, variables)), environ)
    layers = Layers((flags, variables, *(file_layers(file) if file else ())))
    warnings = misspelt_variables(environ)
    proxies = ProxyConfiguration(layers, environ, has_terminal=has_terminal)
    prompt = FirstUsePrompt() if has_terminal else None
    tls = tls_settings(layers, has_terminal=has_terminal)
    if login is None:
        login = _username(layers, _NOBODY) != _NOBODY or layers.find("eap_cert") is not None
    tunnel, password = _tunnel(
        layers, proxies, tls, first_use(layers, environ, prompt), has_terminal=has_terminal, login=login
    )
    warnings += [text for source in (password, *proxies.passwords) for text in source.warnings()]
    return Configuration(
        tunnel=tunnel,
        password=password,
        listen=_listen(layers),
        output=_output(layers),
        proxy_passwords=proxies.passwords,
        first_use_prompt=prompt,
        warnings=(*warnings, *tls_warnings(tls)),
    )


def verbosity_of(arguments: Mapping[str, object], environ: Mapping[str, str]) -> int:
    """Return how much to say as far as flags and environment tell, for errors of the configuration itself."""
    try:
        return _output(Layers((flag_layer(arguments), environment_layer(environ)))).verbosity
    except ConfigError:
        return 0


def _config_file(layers: Layers, environ: Mapping[str, str]) -> ConfigFile | None:
    profile = layers.text("profile")
    given = layers.text("config")
    if given is not None:
        return load(Path(given), profile)
    folder = config_folder(environ)
    path = folder / FILE_NAME if folder else None
    if path is not None and path.exists():
        return load(path, profile)
    if profile is not None:
        where = f"there is no configuration file {path}" if path else "there is no folder for a configuration file"
        raise ConfigError(f'cannot use profile "{profile}": {where}', hint="Name one with --config FILE")
    return None


def _tunnel(
    layers: Layers,
    proxies: ProxyConfiguration,
    tls: TlsSettings,
    first_use: FirstUse | None,
    *,
    has_terminal: bool,
    login: bool,
) -> tuple[TunnelSettings, PasswordSource]:
    servers = _servers(layers)
    server = servers[0]
    methods = _methods(layers)
    password: PasswordSource
    certificate = client_certificate(layers, has_terminal=has_terminal)
    if not login:
        username, password = "", FixedPassword("", "nobody logs in")
    elif methods == (AuthMethod.EAP_TLS,) and certificate is not None:
        # The certificate is all that it takes; it also says who the user is.
        username = _username(layers, certificate.user)
        password = FixedPassword("", "--eap-cert")
    else:
        username = _username(layers)
        password = _password(layers, has_terminal)
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
        address=layers.parsed("address", values.parse_tunnel_address),
        reconnect=_reconnect(layers),
        ecn=_ecn(layers),
        dhcp=_dhcp(layers),
        ipv6=_ipv6(layers),
        strict_routes=layers.switch("strict_routes"),
        search_domains=_search_domains(layers),
        pcap_file=layers.text("pcap"),
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


def _parse_servers(setting: Setting) -> tuple[values.Server, ...]:
    given = setting.value if isinstance(setting.value, tuple) else ()
    try:
        servers = tuple(values.parse_server(item) for item in given)
    except values.PasswordInServer:
        raise setting.error(
            "a password in the server's address is refused, because process lists, shell history and logs show it",
            hint=NO_PASSWORD_HINT,
        ) from None
    except ValueError as error:
        raise setting.error(str(error)) from None
    if len({server.username for server in servers if server.username is not None}) > 1:
        raise setting.error("the servers' addresses name several users", hint="One user logs in to all of them")
    return servers


def _servers(layers: Layers) -> tuple[values.Server, ...]:
    setting = layers.find("server")
    servers = _parse_servers(setting) if setting is not None else ()
    if not servers:
        raise ConfigError(
            "no server was given",
            hint="Name it: sstpsocks vpn.example.org, or SSTPSOCKS_SERVER, or server in the configuration file; "
            "without one at hand try: sstpsocks demo",
        )
    other = layers.find("connect_to")
    if other is not None and len(servers) > 1:
        raise other.error("it stands for one server, and several are given")
    return servers


def _username(layers: Layers, default: str = "") -> str:
    """Return the user of the strongest source that gives one, as "user" or inside the server's address."""
    for layer in layers.all:
        user = layer.get("user")
        server = layer.get("server")
        named = _parse_servers(server) if server else ()
        inside = next((item.username for item in named if item.username is not None), None)
        if user is not None and inside is not None and user.value != inside:
            raise user.error("the server's address names another user")
        name = str(user.value) if user is not None else inside
        if name:
            origin = user or server
            if origin is not None and not name.isprintable():
                raise origin.error("the user name holds control characters")
            return name
    if default:
        return default
    raise ConfigError(
        "no user name was given", hint="Give it with --user NAME, in SSTPSOCKS_USER or as user in the file"
    )


def _password(layers: Layers, has_terminal: bool) -> PasswordSource:
    source = _password_source(layers, has_terminal)
    source.one_time = layers.switch("one_time_password")
    replacement = layers.find("new_password_file")
    if replacement is not None:
        path, origin = str(replacement.value), replacement.origin
        first_line_of(path, origin)
        source.new_password = NewPasswordFile(lambda: first_line_of(path, origin))
    elif has_terminal:
        source.new_password = NewPasswordPrompt()
    return source


def _password_source(layers: Layers, has_terminal: bool) -> PasswordSource:
    others = ("password", "password_file", "password_command")
    setting = layers.first_of(*others, "keyring")
    if setting is not None and setting.value is False:  # --no-keyring
        setting = layers.first_of(*others)
    if setting is None:
        if not has_terminal:
            raise ConfigError("there is no password, and no terminal to ask for one", hint=NO_PASSWORD_HINT)
        return PromptPassword()
    text = str(setting.value)
    if not text:
        raise setting.error("it is empty")
    match setting.option.key:
        case "keyring":
            return KeyringPassword()
        case "password_file":
            first_line_of(text, setting.origin)  # a missing file is an error of the configuration, told at once
            return FilePassword(text)
        case "password_command":
            return CommandPassword(text)
        case _:
            return FixedPassword(text, setting.origin)


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


def _listen(layers: Layers) -> ListenSettings:
    where = layers.parsed("listen", values.parse_listen)
    host, port = where if where is not None else values.parse_listen(DEFAULT_LISTEN)
    credentials = _socks_credentials(layers)
    if not (values.is_loopback(host) or credentials or layers.switch("allow_remote")):
        raise ConfigError(
            f"listening on {host} would let other machines into the private network without a password",
            hint="Listen on 127.0.0.1, or ask for credentials with --socks-user and --socks-password-file, "
            "or say --allow-remote",
        )
    return ListenSettings(
        host=host,
        port=port,
        credentials=credentials,
        max_connections=layers.integer("max_connections", DEFAULT_MAX_CONNECTIONS),
    )


def _socks_credentials(layers: Layers) -> tuple[str, str] | None:
    user, file = layers.find("socks_user"), layers.find("socks_password_file")
    if user is None and file is None:
        return None
    if user is None or file is None:
        raise ConfigError("credentials for the local port need both: --socks-user and --socks-password-file")
    name = str(user.value)
    password = first_line_of(str(file.value), file.origin)
    for setting, text in ((user, name), (file, password)):
        if not 1 <= len(text.encode()) <= MAX_SOCKS_FIELD:
            raise setting.error(f"SOCKS5 takes 1 to {MAX_SOCKS_FIELD} octets (RFC 1929)")
    return name, password


def _output(layers: Layers) -> OutputSettings:
    loudness = layers.first_of("verbose", "quiet")
    verbosity = 0
    if loudness is not None:
        verbosity = min(2, int(loudness.value)) if isinstance(loudness.value, int) else 0
        if loudness.option.key == "quiet":
            verbosity = -1 if loudness.value else 0
    ready_file = layers.text("ready_file")
    return OutputSettings(
        verbosity=verbosity,
        log_format=layers.text("log_format"),
        ready_file=Path(ready_file) if ready_file is not None else None,
    )
