"""The file that tells scripts that the tunnel carries traffic, and where."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the file says."""

    listen: tuple[str, ...]
    """Where SOCKS5 is offered, as "host:port" with the real port."""
    server: str
    """The SSTP server as "host:port"."""
    addresses: tuple[str, ...]
    """Our addresses in the tunnel."""
    dns: tuple[str, ...]
    """The name servers that the tunnel gave."""
    mtu: int
    """Octets of the largest IP packet in the tunnel."""
    routes: tuple[str, ...] = ()
    """Networks that the server pushed routes to."""
    search: tuple[str, ...] = ()
    """Domains in which names without a dot are looked for."""
    dns_listen: tuple[str, ...] = ()
    """Where DNS queries are answered, as "host:port" with the real port."""

    status_listen: tuple[str, ...] = ()
    """Where the status page is, as "host:port" with the real port."""

    tunnels: Mapping[str, Ready] = field(default_factory=dict)
    """With several tunnels those that are up, by name, each with its own port; the other facts are the first one's."""

    def to_json(self) -> str:
        """Return one JSON object on one line."""
        return json.dumps(self._document()) + "\n"

    def _document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "listen": self.listen,
            "server": self.server,
            "addresses": self.addresses,
            "dns": self.dns,
            "mtu": self.mtu,
        }
        if self.dns_listen:
            document["dns_listen"] = self.dns_listen
        if self.status_listen:
            document["status_listen"] = self.status_listen
        # Known later than the rest, or never.
        if self.routes:
            document["routes"] = self.routes
        if self.search:
            document["search"] = self.search
        if self.tunnels:
            document["tunnels"] = {name: ready._document() for name, ready in self.tunnels.items()}
        return document


class ReadyFile:
    """Writes the file atomically: a reader sees all of it or nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: str | None = None

    def claim(self) -> None:
        """Remove what an earlier run left behind, so that nobody takes it for ours.

        Raises ConfigError when the file could not be written later, rather than after the log-in.
        """
        folder = self._path.parent
        if not folder.is_dir():
            raise ConfigError(f"--ready-file: there is no folder {folder}", path=str(self._path))
        # A device or pipe cannot be replaced atomically, and must not be unlinked.
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"--ready-file: {self._path} is not a regular file", path=str(self._path))
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"--ready-file: the folder {folder} cannot be written to", path=str(self._path))
        self._unlink(self._path)

    def write(self, ready: Ready) -> None:
        """Write the file, or replace it when it says something else than before. Raises ConfigError."""
        text = ready.to_json()
        if text == self._written:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._unlink(temporary)
            # Exclusive, and readable by the owner only: it says where an open door to a private network is.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self._path)
        except OSError as error:
            self._unlink(temporary)
            raise ConfigError(
                f"--ready-file: cannot write {self._path}: {error.strerror}", path=str(self._path)
            ) from None
        self._written = text

    def remove(self) -> None:
        """Remove the file if we wrote it."""
        if self._written is not None:
            self._unlink(self._path)
            self._written = None

    @staticmethod
    def _unlink(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass  # what cannot be removed now is replaced or left; the program's work does not depend on it
