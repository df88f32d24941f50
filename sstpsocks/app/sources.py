"""Where everything was given, sorted by tunnel.

A run has one tunnel or several, a profile for each. What is set on the command line, in the environment or at the top
of the file holds for each of them, what is set in a profile for its own tunnel. With one tunnel its profile may say
everything; with several, what they share (the shared port, the output) is said outside of the profiles, and what only
one of them can have is said inside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .configfile import FILE_NAME, ConfigFile, config_folder, load
from .layers import Layer, Layers, environment_layer, file_layer, flag_layer
from .options import SHARED

if TYPE_CHECKING:
    from .config import NamedTunnel

# With several tunnels these must come from the profiles.
_ONE_TUNNEL_ONLY = ("server", "connect_to", "address")
# With several tunnels these mean one thing in a profile and another outside.
PORTS = frozenset(("listen", "local_forward", "remote_forward"))


@dataclass(frozen=True, slots=True)
class Sources:
    """The layers of all tunnels."""

    tunnels: dict[str, Layers]
    """By the name of the profile; one, with an empty name, when no profile was chosen."""
    shared: Layers
    """What all tunnels share: with several of them, everything but the profiles."""
    file: ConfigFile | None


def read_sources(arguments: Mapping[str, object], environ: Mapping[str, str]) -> Sources:
    """Read flags, environment and configuration file. Raises ConfigError."""
    given = (flag_layer(arguments), environment_layer(environ))
    file = _config_file(Layers(given), environ)
    if file is None:
        layers = Layers(given)
        return Sources({"": layers}, layers, None)
    defaults = file_layer(file.path, file.defaults)
    profiles = {name: file_layer(file.path, profile) for name, profile in file.chosen.items()}
    return combine(given, profiles, defaults, file)


def combine(
    given: tuple[Layer, Layer], profiles: Mapping[str, Layer], defaults: Layer, file: ConfigFile | None
) -> Sources:
    """Put together flags and environment, the chosen profiles and the top of the file. Raises ConfigError."""
    tunnels = {name: Layers((*given, profile, defaults)) for name, profile in profiles.items()}
    if len(tunnels) <= 1:
        layers = next(iter(tunnels.values()), Layers((*given, defaults)))
        return Sources(tunnels or {"": layers}, layers, file)
    for key in _ONE_TUNNEL_ONLY:
        for layer in given:
            if key in layer:
                raise layer[key].error(
                    "it is for one tunnel, and there are several: " + ", ".join(tunnels),
                    hint="Set it in the profiles",
                )
    for name, profile in profiles.items():
        for key, setting in profile.items():
            if key in SHARED:
                raise setting.error(
                    f'all tunnels share it, so it cannot be set for "{name}" alone',
                    hint="Set it at the top of the file, or use one profile",
                )
    # The ports of a profile are its own; flags and variables are about the shared ones.
    without = tuple(
        {key: setting for key, setting in layer.items() if key not in PORTS} for layer in (*given, defaults)
    )
    tunnels = {name: Layers((*without[:2], profile, without[2])) for name, profile in profiles.items()}
    return Sources(tunnels, Layers((*given, defaults)), file)


def default_file(environ: Mapping[str, str]) -> Path:
    """Return the file that is used when no flag names one. Raises ConfigError when there is no folder for it."""
    given = environ.get("SSTPSOCKS_CONFIG")
    if given:
        return Path(given).expanduser()
    folder = config_folder(environ)
    if folder is None:
        raise ConfigError("there is no folder for a configuration file", hint="Name the file")
    return folder / FILE_NAME


def _config_file(layers: Layers, environ: Mapping[str, str]) -> ConfigFile | None:
    setting = layers.find("profile")
    profiles = setting.value if setting is not None and isinstance(setting.value, tuple) else ()
    given = layers.text("config")
    if given is not None:
        return load(Path(given), profiles)
    folder = config_folder(environ)
    path = folder / FILE_NAME if folder else None
    # os.path, since a folder that this user may not look into (a service's home) has no configuration for it either.
    if path is not None and os.path.exists(path):
        return load(path, profiles)
    if profiles:
        where = f"there is no configuration file {path}" if path else "there is no folder for a configuration file"
        raise ConfigError(f'cannot use profile "{profiles[0]}": {where}', hint="Name one with --config FILE")
    return None


def check_together(tunnels: Sequence[NamedTunnel]) -> None:
    """Check what must differ between tunnels that are up at once. Raises ConfigError."""
    captures: dict[str, str] = {}
    for tunnel in tunnels:
        capture = tunnel.settings.pcap_file
        if capture is not None and captures.setdefault(capture, tunnel.name) != tunnel.name:
            raise ConfigError(
                f'pcap: the tunnels "{captures[capture]}" and "{tunnel.name}" would both write {capture}',
                hint="Give each profile a file of its own",
            )
