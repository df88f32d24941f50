"""Places where local programs are waited for, as values: the command reads them long before anything listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODE = 0o600  # of a Unix socket's file: its owner's programs only


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An address of this machine, or a name of one, and a port; 0: any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix socket and the mode of its file."""

    path: Path
    mode: int = DEFAULT_MODE


@dataclass(frozen=True, slots=True)
class Activated:
    """Sockets that systemd opened; with a name, those that it gave this name."""

    name: str = ""


ListenAddress = TcpAddress | UnixAddress | Activated
