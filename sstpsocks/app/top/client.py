"""Asking a status port: one GET of /status.json, with the standard library, which is quick to load."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import sys
from dataclasses import dataclass, field

from ...errors import SstpsocksError
from ..status.snapshot import Snapshot
from ..text import one_line
from .decode import decode

TIMEOUT = 5.0
"""Seconds for each step of a request."""
LARGEST = 16 * 1024 * 1024
"""Octets of a document; ours have some 100,000."""


class NotRunning(SstpsocksError):
    """Nothing of ours answers there."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a status port is, and what it wants to be told."""

    host: str
    """An address or a name; empty for a Unix socket."""
    port: int = 0
    path: str = ""
    """Of the Unix socket."""
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        if sys.platform != "win32":
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(self._path)
        else:
            raise OSError("there are no Unix sockets on this system")


def fetch(place: Place) -> dict[str, object]:
    """Return the document. Raises NotRunning with what to try."""
    connection = (
        _UnixConnection(place.path)
        if place.path
        else http.client.HTTPConnection(place.host, place.port, timeout=TIMEOUT)
    )
    headers = {"Accept": "application/json", "Connection": "close"}
    if place.credentials is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(place.credentials).encode()).decode()
    try:
        connection.request("GET", "/status.json", headers=headers)
        response = connection.getresponse()
        body = response.read(LARGEST)
    except (OSError, http.client.HTTPException) as error:
        reason = one_line(str(getattr(error, "strerror", None) or error) or type(error).__name__)
        raise NotRunning(
            f"no status port answers at {place}: {reason}",
            hint="is sstpsocks running, with --status there?",
        ) from None
    finally:
        connection.close()
    if response.status == http.client.UNAUTHORIZED:
        raise NotRunning(
            f"the status port at {place} wants a password",
            hint="give --status-user and --status-password-file",
        )
    if response.status != http.client.OK:
        raise NotRunning(f"the status port at {place} answers {response.status} {one_line(response.reason)}")
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "tunnels" not in document:
        raise NotRunning(f"what answers at {place} is no status port of sstpsocks")
    return document


def fetch_snapshot(place: Place) -> Snapshot:
    """Return the snapshot. Raises NotRunning."""
    return decode(Snapshot, fetch(place))
