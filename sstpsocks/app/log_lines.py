"""How a record of the log looks: as a line for people, or as a JSON object for programs (docs/logging.md).

Both tell which connection of a local program and which tunnel a line is about. A message that begins with "connection
12:" says so itself, and then that is what counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from ..base.log_context import CONNECTION, TUNNEL
from .text import one_line

ROOT = "sstpsocks"
_OWN_NUMBER = "connection %d"
FIELDS = "fields"
"""The attribute of a record with more keys for JSON and the journal."""


def with_fields(event: str, **fields: object) -> dict[str, object]:
    """Return what ``extra`` of a logging call is: what kind of event it is, and what belongs to it."""
    return {FIELDS: {"event": event, **fields}}


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what is known of a record beside its message: always an event; where there is one a tunnel and so on."""
    more: Mapping[str, object] = getattr(record, FIELDS, {})
    fields: dict[str, object] = {"event": "log", **more}
    if record.name.startswith(f"{ROOT}."):
        fields["source"] = record.name.removeprefix(f"{ROOT}.")
    if tunnel := TUNNEL.get():
        fields["tunnel"] = tunnel
    if number := _connection(record):
        fields["connection"] = number
    return fields


def _connection(record: logging.LogRecord) -> int:
    """Return the number of the connection that a record is about, 0 for none."""
    if not _says_connection(record):
        return CONNECTION.get()
    first = record.args[0] if isinstance(record.args, tuple) and record.args else 0
    return first if isinstance(first, int) else 0


def _says_connection(record: logging.LogRecord) -> bool:
    return isinstance(record.msg, str) and record.msg.startswith(_OWN_NUMBER)


def local_time(record: logging.LogRecord, timespec: str = "milliseconds") -> str:
    """Return local time with its offset (RFC 3339): readable here, and unambiguous for whoever gets the log."""
    return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec=timespec)


def message_of(record: logging.LogRecord) -> str:
    """Return the message on one line, with the connection that it is about."""
    text = one_line(record.getMessage())
    number = CONNECTION.get()
    return f"connection {number}: {text}" if number and not _says_connection(record) else text


class LineFormatter(logging.Formatter):
    """``2026-11-22T17:14:02.123+01:00 INFO    message``, one line however many the message has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        line = f"{local_time(record)} {record.levelname:<7} {message_of(record)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {"time": local_time(record), "level": record.levelname.lower()}
        line["message"] = one_line(record.getMessage())
        line.update(fields_of(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PacketFormatter(logging.Formatter):
    """``17:14:02.123456 -> tunnel TCP ...``: the trace, for people who look at one moment."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        return f"{when.time().isoformat(timespec='microseconds')} {one_line(record.getMessage())}"
