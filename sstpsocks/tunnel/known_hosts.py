"""The file of servers whose certificate a person has confirmed.

One line for each certificate: the server as "host:port", the SHA-256 of its public key (or of the whole certificate),
and the day it was confirmed. ``#`` begins a comment. Several lines may name one server, for machines that share a name.

    vpn.example.com:443 sha256//BDMfUAmCZmMXXx1Exb4VRLIAmzGr0fVwJ9bYk1OFOyo= 2026-01-31

A line that cannot be understood is an error, not skipped: it may have been the one that says who the server is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass

from ..errors import ConfigError
from .pins import parse_pin, pin_text

HEADER = "# Servers confirmed by hand (sstpsocks --trust-on-first-use): server, fingerprint, day\n"


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One line."""

    server: str
    """As "host:port", in lower case."""
    digest: bytes
    """SHA-256 of the public key or the certificate."""
    since: str = ""
    """The day, empty when the line does not say."""

    def to_line(self) -> str:
        """Return the line."""
        return " ".join(filter(None, (self.server, pin_text(self.digest), self.since))) + "\n"


def parse_known_hosts(text: str) -> tuple[KnownHost, ...]:
    """Return the lines of a file. Raises ValueError whose text says which line is wrong."""
    hosts = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if not 2 <= len(fields) <= 3:
            raise ValueError(f"line {number}: it is not SERVER:PORT FINGERPRINT DAY")
        server, pin = fields[:2]
        if not server.isprintable() or not server.rpartition(":")[2].isdecimal() or server.startswith(":"):
            raise ValueError(f"line {number}: {server!r} is not SERVER:PORT")
        try:
            digest = parse_pin(pin)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        hosts.append(KnownHost(server.lower(), digest, fields[2] if len(fields) == 3 else ""))
    return tuple(hosts)


def read_known_hosts(path: str) -> tuple[KnownHost, ...]:
    """Return what the file says, nothing when there is no such file. Raises ConfigError."""
    return _parse(_read(path), path)


def remember_host(path: str, host: KnownHost) -> None:
    """Add a line to the file, which is replaced as a whole or not at all. Raises ConfigError."""
    text = _read(path)
    _parse(text, path)  # what cannot be read is not made longer
    text = text or HEADER
    if not text.endswith("\n"):
        text += "\n"
    # Through a link, so that it stays one.
    real = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(real), f".{os.path.basename(real)}.{os.getpid()}.tmp")
    try:
        os.makedirs(os.path.dirname(real), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + host.to_line())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, real)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise ConfigError(f"known hosts {path}: cannot be written: {error.strerror}", path=path) from error


def _parse(text: str, path: str) -> tuple[KnownHost, ...]:
    try:
        return parse_known_hosts(text)
    except ValueError as error:
        raise ConfigError(f"known hosts {path}, {error}", path=path) from None


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o022:
                raise ConfigError(
                    f"known hosts {path}: other users may change it, so it proves nothing",
                    path=path,
                    hint=f"look through it and say chmod 600 {path}",
                )
            content = file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"known hosts {path}: {error.strerror}", path=path) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"known hosts {path}: it is not UTF-8", path=path) from None
