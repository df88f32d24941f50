"""Listening sockets that systemd opened for us: sd_listen_fds(3).

They are the file descriptors from 3 on, LISTEN_FDS many, named in LISTEN_FDNAMES, and meant for the process LISTEN_PID
only. The variables are removed once they were read, so that no program that we start takes them for its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping

from ..errors import ConfigError

FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def is_activated(environ: MutableMapping[str, str]) -> bool:
    """Whether systemd gave this process sockets."""
    return environ.get("LISTEN_PID") == str(os.getpid()) and environ.get("LISTEN_FDS", "0") != "0"


def take_activated(environ: MutableMapping[str, str], names: Iterable[str] = ()) -> list[socket.socket]:
    """Return the sockets that systemd gave, those of ``names`` (FileDescriptorName=) or all; the others are closed.

    Raises ConfigError when there are none, or one does not listen for connections.
    """
    given = {name: environ.get(name, "") for name in _VARIABLES}
    meant = is_activated(environ)
    for name in _VARIABLES:
        environ.pop(name, None)
    if not meant:
        raise ConfigError(
            "systemd gave no sockets to listen on",
            hint="start the .socket unit instead of the service, or name an address with --listen",
        )
    try:
        count = int(given["LISTEN_FDS"])
    except ValueError:
        raise ConfigError("systemd's LISTEN_FDS is no number") from None
    labels = given["LISTEN_FDNAMES"].split(":")
    labels += [""] * (count - len(labels))
    wanted = frozenset(names)
    sockets: list[socket.socket] = []
    try:
        for descriptor, label in zip(range(FIRST, FIRST + count), labels, strict=False):
            if wanted and label not in wanted:
                os.close(descriptor)
            else:
                sockets.append(_listening(descriptor, label))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise ConfigError(f"systemd gave no socket with the name {' or '.join(sorted(wanted))}")
    return sockets


def _listening(descriptor: int, label: str) -> socket.socket:
    name = f'the socket "{label}" of systemd' if label else f"systemd's file descriptor {descriptor}"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        raise ConfigError(f"{name} is no socket") from None
    families = {socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", socket.AF_INET)}
    if (
        sock.family not in families
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.close()
        raise ConfigError(f"{name} does not listen for connections", hint="use ListenStream= with Accept=no")
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
