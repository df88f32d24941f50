"""A Unix socket to listen on: its file belongs to us alone, from the first moment to the last.

bind() makes the file with whatever the umask leaves, so its mode is set before listen(): until then nobody gets in. A
file that a dead process left behind is known by a connection to it being refused, and replaced; anything else at that
place is somebody's and stays. At the end only our own file is removed, not one that another process put there.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path

from ..base.listen_address import DEFAULT_MODE
from ..errors import ConfigError

BACKLOG = 1024


class SocketFile:
    """The file of a socket that we listen on."""

    def __init__(self, path: Path, found: os.stat_result) -> None:
        self.path = path
        self._identity = (found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove it, if it is still ours."""
        try:
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:
                self.path.unlink()
        except OSError:
            return  # gone already, or its folder is not ours any more


def listen_on_path(path: Path, mode: int = DEFAULT_MODE) -> tuple[socket.socket, SocketFile]:
    """Listen on a new Unix socket. Raises ConfigError."""
    if sys.platform == "win32":
        raise ConfigError(f"cannot listen on {path}: there are no Unix sockets on Windows")
    else:  # noqa: RET506  # lets mypy see which lines are about which system
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made: SocketFile | None = None
        try:
            _make_room(path)
            sock.bind(str(path))
            made = SocketFile(path, path.lstat())
            path.chmod(mode)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            if made is not None:
                made.remove()
            raise _refusal(path, error.strerror or str(error)) from None
        except ConfigError:
            sock.close()
            raise
        return sock, made


if sys.platform != "win32":

    def _make_room(path: Path) -> None:
        """Remove what a dead process left behind. Raises ConfigError when something else is there."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise _refusal(path, "there is a file that is no socket", hint="remove it, or choose another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            code = probe.connect_ex(str(path))
        if code == errno.ECONNREFUSED:
            SocketFile(path, found).remove()
        elif code in (0, errno.EAGAIN, errno.EINPROGRESS):
            raise _refusal(path, "a running program listens there", hint="end that one, or choose another path")
        elif code != errno.ENOENT:
            raise _refusal(path, f"a socket is there, {os.strerror(code)}", hint="choose another path")


def _refusal(path: Path, reason: str, *, hint: str = "choose another path with --listen unix:PATH") -> ConfigError:
    return ConfigError(f"cannot listen on unix:{path}: {reason}", hint=hint)
