"""From flags, environment and configuration file to checked settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..tunnel.settings import TunnelSettings
from .credentials import PasswordSource
from .dns_config import DnsAddress, dns_addresses
from .first_use_prompt import FirstUsePrompt
from .forward_config import NO_FORWARDS, ForwardSettings, forward_settings
from .layers import Layers, environment_layer, flag_layer, misspelt_variables
from .listen_config import ListenSettings as ListenSettings
from .listen_config import listen_settings
from .log_config import LogSettings, log_settings
from .login_config import NOBODY, username_of
from .proxy_config import ProxyConfiguration
from .rules_config import check_names, rules_of
from .sources import Sources, check_together, read_sources
from .status_config import NO_STATUS, StatusSettings, status_settings
from .tls_config import first_use, tls_settings, tls_warnings
from .tunnel_config import tunnel_settings

if TYPE_CHECKING:
    from ..proxy.routing.language import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What is said, and where."""

    log: LogSettings = field(default_factory=LogSettings)
    ready_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTunnel:
    """One of the tunnels that are up at the same time."""

    name: str
    """The profile's; empty when no profile was chosen."""
    settings: TunnelSettings
    password: PasswordSource
    """The source behind ``settings.credentials``."""
    proxy_passwords: tuple[PasswordSource, ...] = ()
    """The sources behind ``settings.proxy.credentials``, and those of the alternatives."""
    listen: ListenSettings | None = None
    """A port for this tunnel alone; None: it is reached by the shared one only."""
    forwards: ForwardSettings = NO_FORWARDS
    """Ports that lead through this tunnel, past all rules; none as long as there is one tunnel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that ``sstpsocks connect`` needs to know."""

    tunnel: TunnelSettings
    """The only tunnel, or of several the first: what no rule sends elsewhere goes there."""
    password: PasswordSource
    """The source behind ``tunnel.credentials``."""
    listen: ListenSettings
    """The port that leads to all tunnels."""
    dns_listen: tuple[DnsAddress, ...] = ()
    """Where DNS queries of local programs are answered."""
    rules: tuple[Rule, ...] = ()
    """Which way a connection takes; what none is about goes to the first tunnel."""
    forwards: ForwardSettings = NO_FORWARDS
    """Single ports that lead through the tunnel, of several through that which the rules choose."""
    status: StatusSettings = NO_STATUS
    """Where the status page is, if anywhere."""
    output: OutputSettings
    name: str = ""
    """Of the profile behind ``tunnel``; empty when none was chosen."""
    own_listen: ListenSettings | None = None
    """The port for ``tunnel`` alone, beside others; None as long as there is one tunnel."""
    own_forwards: ForwardSettings = NO_FORWARDS
    """Those through ``tunnel`` alone, beside others."""
    others: tuple[NamedTunnel, ...] = ()
    """What is up beside the first tunnel."""
    proxy_passwords: tuple[PasswordSource, ...] = ()
    """The sources behind ``tunnel.proxy.credentials``, and those of the alternatives."""
    first_use_prompt: FirstUsePrompt | None = None
    """Who is asked about an unknown server, None without a terminal."""
    warnings: tuple[str, ...] = ()
    sources: Sources | None = field(default=None, repr=False, compare=False)
    """What it was made of."""
    again: Callable[[], Configuration] | None = field(default=None, repr=False, compare=False)
    """Loads it once more from the same places, where SIGHUP asks for that. Raises ConfigError."""

    @property
    def tunnels(self) -> tuple[NamedTunnel, ...]:
        """All tunnels, the first one first."""
        first = NamedTunnel(
            name=self.name,
            settings=self.tunnel,
            password=self.password,
            proxy_passwords=self.proxy_passwords,
            listen=self.own_listen,
            forwards=self.own_forwards,
        )
        return (first, *self.others)

    def without_own_ports(self) -> Configuration:
        """Return it without the ports that tunnels have for themselves: those of a profile are for connect."""
        return replace(self, own_listen=None, others=tuple(replace(tunnel, listen=None) for tunnel in self.others))


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
    return build(read_sources(arguments, environ), environ, has_terminal=has_terminal, login=login)


def build(
    sources: Sources, environ: Mapping[str, str], *, has_terminal: bool, login: bool | None = True
) -> Configuration:
    """Make settings of what was given; see load_configuration(). Raises ConfigError."""
    prompt = FirstUsePrompt() if has_terminal else None
    warnings = misspelt_variables(environ)
    output = _output(sources.shared)
    tunnels = []
    for name, layers in sources.tunnels.items():
        tunnel, said = _named_tunnel(
            name,
            layers,
            environ,
            prompt,
            has_terminal=has_terminal,
            login=login,
            several=len(sources.tunnels) > 1,
            trace=output.log.trace,
        )
        tunnels.append(tunnel)
        warnings += said
    check_together(tunnels)
    check_names([tunnel.name for tunnel in tunnels])
    first = tunnels[0]
    return Configuration(
        name=first.name,
        tunnel=first.settings,
        password=first.password,
        proxy_passwords=first.proxy_passwords,
        own_listen=first.listen,
        own_forwards=first.forwards,
        others=tuple(tunnels[1:]),
        listen=listen_settings(sources.shared),
        dns_listen=dns_addresses(sources.shared),
        rules=rules_of(sources.shared, tuple(sources.tunnels)),
        forwards=forward_settings(sources.shared),
        status=status_settings(sources.shared),
        output=output,
        first_use_prompt=prompt,
        warnings=tuple(warnings),
        sources=sources,
    )


def _named_tunnel(
    name: str,
    layers: Layers,
    environ: Mapping[str, str],
    prompt: FirstUsePrompt | None,
    *,
    has_terminal: bool,
    login: bool | None,
    several: bool,
    trace: bool,
) -> tuple[NamedTunnel, list[str]]:
    """Return one tunnel and what is to be said about it."""
    proxies = ProxyConfiguration(layers, environ, has_terminal=has_terminal)
    tls = tls_settings(layers, has_terminal=has_terminal)
    if login is None:
        login = username_of(layers, NOBODY) != NOBODY or layers.find("eap_cert") is not None
    settings, password = tunnel_settings(
        layers, proxies, tls, first_use(layers, environ, prompt), has_terminal=has_terminal, login=login
    )
    settings = replace(settings, label=name, trace=trace)
    said = [text for source in (password, *proxies.passwords) for text in source.warnings()]
    named = NamedTunnel(
        name=name,
        settings=settings,
        password=password,
        proxy_passwords=proxies.passwords,
        listen=listen_settings(layers) if several and layers.find("listen") else None,
        forwards=forward_settings(layers) if several else NO_FORWARDS,
    )
    return named, [*said, *tls_warnings(tls)]


def verbosity_of(arguments: Mapping[str, object], environ: Mapping[str, str]) -> int:
    """Return how much to say as far as flags and environment tell, for errors of the configuration itself."""
    try:
        return log_settings(Layers((flag_layer(arguments), environment_layer(environ)))).verbosity
    except ConfigError:
        return 0


def _output(layers: Layers) -> OutputSettings:
    ready_file = layers.text("ready_file")
    return OutputSettings(
        log=log_settings(layers),
        ready_file=Path(ready_file) if ready_file is not None else None,
    )
