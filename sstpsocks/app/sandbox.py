"""``--sandbox``: what the running program keeps of this machine, worked out from its configuration (Linux, Landlock).

Theory of operation. Before the server is dialled, and before there are other threads, the process gives up everything
but this, for good: reading its own code, the system's libraries and the files about names, certificates and time;
reading the files that the configuration names, and their folders, so that they can be replaced and loaded again;
writing in the folders of the files that it is told to write; listening at its own ports; connecting to the ports of its
servers and proxies, or to any where a rule says ``direct``. It can start no other program, reach no abstract socket and
signal no process outside. So sources of passwords that are programs do not go with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.listen_address import TcpAddress, UnixAddress
from ..errors import ConfigError
from .credentials import CommandPassword
from .keyring_password import KeyringPassword
from .landlock import DEVICE, READ, WRITE, Files, LandlockUnavailable, Rules, restrict
from .options import OPTIONS, Kind

if TYPE_CHECKING:
    from .config import Configuration
    from .layers import Layers

SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/nix/store", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies",
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols", "/etc/localtime", "/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/run/systemd/resolve",
    "/run/resolvconf", "/run/NetworkManager", "/proc", "/dev/urandom", "/dev/random",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/tty")
WRITTEN = frozenset({"pcap", "ready_file", "log_file", "trace_file", "known_hosts", "tls_keylog"})
"""The options whose files are written; those of all other files are read."""
_DNS_PORT = 53
_TOO_WIDE = ("/", "/etc", "/home", "/root", "/run", "/tmp", "/usr", "/var", "/var/tmp")  # noqa: S108 - never granted


def enter_sandbox(configuration: Configuration, tell: Callable[[str], None]) -> None:
    """Enter the sandbox if the configuration wants one. Raises ConfigError when it must be had and cannot."""
    wish = configuration.sources.shared.text("sandbox") if configuration.sources is not None else None
    if wish in (None, "off"):
        return
    _check_passwords(configuration)
    try:
        restrict(rules_for(configuration))
    except LandlockUnavailable:
        problem = "this kernel has no Landlock" if sys.platform == "linux" else "only Linux has Landlock"
    except OSError as error:
        problem = f"the kernel refused Landlock: {error.strerror}"
    else:
        return
    if wish == "on":
        raise ConfigError(f"--sandbox: {problem}", hint="Use Linux 5.13 or later, or say --sandbox try to go without")
    tell(f"running without a sandbox: {problem}")


def rules_for(configuration: Configuration) -> Rules:
    """Return what the program needs with this configuration."""
    paths = dict(_paths(configuration))
    return Rules(
        paths=tuple(paths.items()),
        bind=frozenset(_ports_to_listen_at(configuration)),
        connect=_ports_to_connect_to(configuration),
    )


def _check_passwords(configuration: Configuration) -> None:
    for tunnel in configuration.tunnels:
        for source in (tunnel.password, *tunnel.proxy_passwords):
            if isinstance(source, CommandPassword | KeyringPassword):
                raise ConfigError(
                    "--sandbox: inside it no program can be started, so that no password command and no keyring works",
                    hint="Use --password-file, SSTPSOCKS_PASSWORD or the prompt, or leave --sandbox out",
                )


# Files


def _paths(configuration: Configuration) -> Iterator[tuple[str, Files]]:
    """Yield paths with what may be done there; of two about one path the later counts."""
    for path in (*SYSTEM_FILES, *_code()):
        yield path, READ
    for path in DEVICES:
        yield path, DEVICE
    read, written = _files_of(configuration)
    for file in read:
        folder = os.path.dirname(file)
        # A file that is replaced is another one, so it is found again through its folder.
        yield (file if _is_too_wide(folder) else folder), READ
    for folder in written:
        yield folder, WRITE


def _code() -> Iterator[str]:
    """Yield where modules are loaded from, now and later."""
    yield str(Path(__file__).resolve().parents[1])
    here = os.getcwd()
    for entry in (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path):
        path = os.path.realpath(entry)
        if entry and path != here and not _is_too_wide(path):
            yield path


def _is_too_wide(folder: str) -> bool:
    """Whether a folder holds so much besides that it is not granted as a whole: the home folder for instance."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without any, as services and containers have
        home = Path("/")
    return folder in _TOO_WIDE or Path(folder) in (home, *home.parents)


def _files_of(configuration: Configuration) -> tuple[set[str], set[str]]:
    """Return the files that are read, and the folders in which files are written."""
    read, written = set[str](), set[str]()
    for layers in _all_layers(configuration):
        for option in OPTIONS:
            setting = layers.find(option.key) if option.kind is Kind.PATH else None
            if setting is None:
                continue
            path = os.path.realpath(str(setting.value))
            if option.key in WRITTEN:
                written.add(os.path.dirname(path))
            else:
                read.add(path)
    if configuration.sources is not None and configuration.sources.file is not None:
        read.add(os.path.realpath(configuration.sources.file.path))
    for tunnel in configuration.tunnels:
        if tunnel.settings.trust.first_use is not None:
            written.add(os.path.dirname(os.path.realpath(tunnel.settings.trust.first_use.known_hosts)))
    written.update(
        os.path.realpath(address.path.parent)
        for address in _addresses(configuration)
        if isinstance(address, UnixAddress)
    )
    return read, written


def _all_layers(configuration: Configuration) -> tuple[Layers, ...]:
    sources = configuration.sources
    return () if sources is None else (sources.shared, *sources.tunnels.values())


# Ports


def _addresses(configuration: Configuration) -> Iterator[object]:
    yield from configuration.listen.addresses
    yield from configuration.status.addresses
    for tunnel in configuration.tunnels:
        if tunnel.listen is not None:
            yield from tunnel.listen.addresses
    for _forward, address in configuration.forwards.local:
        yield address


def _ports_to_listen_at(configuration: Configuration) -> Iterator[int]:
    yield 0  # also what a connection from a --source-address asks for
    for address in _addresses(configuration):
        if isinstance(address, TcpAddress):
            yield address.port
    for dns in configuration.dns_listen:
        yield dns.port


def _ports_to_connect_to(configuration: Configuration) -> frozenset[int] | None:
    """Return them, None for all: where a rule leads past the tunnels."""
    if any(rule.way == "direct" for rule in configuration.rules):
        return None
    ports = {_DNS_PORT}  # long answers come to the system's resolver by TCP
    ports.update(forward.target.port for forward in configuration.forwards.remote if not forward.target.path)
    for tunnel in configuration.tunnels:
        for server in (tunnel.settings, *tunnel.settings.alternatives):
            ports.add(server.connect_to[1] if server.connect_to is not None else server.port)
            if server.proxy is not None:
                ports.add(server.proxy.port)
    return frozenset(ports)
