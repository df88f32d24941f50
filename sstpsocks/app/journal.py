"""systemd's journal by its own protocol: a datagram a record, with fields (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).

With standard error alone the journal would know nothing but lines. So it gets the level, the tunnel and the
connection as fields, and a MESSAGE_ID for what scripts wait for::

    journalctl -u sstpsocks SSTPSOCKS_TUNNEL=office SSTPSOCKS_CONNECTION=12 -p warning

Where the socket cannot be used the lines go to standard error, with the level in front as sd-daemon(3) has it.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TextIO

from .log_lines import fields_of, message_of

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "sstpsocks"
_LONGEST = 100_000
"""Octets of a field. Longer ones would need another way than a datagram; nothing of ours is."""

MESSAGE_IDS = {
    "ready": "6f1b0c5c0d8a4b7c9a55d3c2f1f04e11",
    "up": "a3d5e0b97a0c4c3e8f0d0a6f5b1c7e12",
    "down": "c58e2f6d4b7b4d0f9b8a1e3d7c2f9013",
    "failed": "e91b7a4c2d0648f5a6c3b8d1f0e25a14",
}
"""By event: the ports may be used, a tunnel is up again, a tunnel is down, the program ends because of a failure."""


def stream_is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd has connected the stream to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    named = environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        state = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{state.st_dev}:{state.st_ino}"


def priority_of(level: int) -> int:
    """Return the level as syslog(3) counts."""
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7


class JournalHandler(logging.Handler):
    """Sends records to the journal; to ``stream`` when the journal's socket cannot be used."""

    def __init__(self, stream: TextIO, path: str = SOCKET) -> None:
        super().__init__()
        self._stream = stream
        self._path = path
        self._socket: socket.socket | None = None
        if sys.platform != "win32":
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        message = message_of(record)
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(encode(_fields(record, message)), self._path)
                return
        with suppress(OSError, ValueError):
            for line in message.splitlines():
                self._stream.write(f"<{priority_of(record.levelno)}>{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        super().close()


def _fields(record: logging.LogRecord, message: str) -> Iterable[tuple[str, str]]:
    fields = fields_of(record)
    yield "MESSAGE", message
    yield "PRIORITY", str(priority_of(record.levelno))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    event = str(fields["event"])
    if event == "state":
        event = "up" if fields.get("up") else "down"
    if event in MESSAGE_IDS:
        yield "MESSAGE_ID", MESSAGE_IDS[event]
    for key, value in fields.items():
        if isinstance(value, str | int | float):
            yield f"SSTPSOCKS_{key.upper()}", str(value).lower() if isinstance(value, bool) else str(value)


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the datagram: NAME=value lines, and where the value has lines of its own a length before it."""
    pieces = []
    for name, value in fields:
        data = value.encode("utf-8", "backslashreplace")[:_LONGEST]
        if b"\n" in data:
            pieces.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            pieces.append(f"{name}=".encode() + data + b"\n")
    return b"".join(pieces)
