"""The head of an HTTP/1.1 message, read without leniency (RFC 9112 sections 2 to 5).

Request smuggling lives on two readers that forgive different things. So nothing is forgiven here: each line ends with
CR LF, there is no folding, no white space before a colon, no control character anywhere, and whatever a head does not
say in exactly one way is refused. What is passed on is written anew from what was understood, never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import RemoteProtocolError

MAX_HEAD = 64 * 1024
"""Bytes of a start line and its fields."""
MAX_FIELDS = 256

Fields = tuple[tuple[bytes, bytes], ...]
"""Names as they were written, and values without the white space around them."""

# RFC 9112 section 2.2: a bare CR "MUST" be treated as invalid or replaced; that a bare LF may end a line is a MAY.
_BARE = re.compile(rb"(?<!\r)\n|\r[^\n]|\0")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_TOKEN_ONLY = re.compile(_TOKEN)


class MessageError(RemoteProtocolError):
    """The peer's message breaks the rules. ``status`` is what a client is told whose request it was."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message, layer="http")
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request line and its fields."""

    method: bytes
    """Methods are case-sensitive (RFC 9110 section 9.1)."""
    target: bytes
    minor: int
    """The client speaks HTTP/1.minor."""
    fields: Fields


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A status line and its fields."""

    status: int
    """100 to 999."""
    reason: bytes
    minor: int
    fields: Fields


class HeadBuffer:
    """What was received, and how far it was looked at: a peer that drips costs no more than one that does not."""

    __slots__ = ("_looked", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        """Whatever is behind the last head that was taken."""
        self._looked = 0

    def take(self) -> bytes | None:
        """Remove and return a whole head without its empty line, None while there is none. Raises MessageError."""
        data = self.data
        end = data.find(b"\r\n\r\n", max(self._looked - 3, 0), MAX_HEAD)
        last = len(data) if end < 0 else end + 4
        bare = _BARE.search(data, max(self._looked - 1, 0), min(last, MAX_HEAD))
        if bare is not None:
            what = {0x00: "a NUL", 0x0A: "a line that ends with LF alone"}.get(data[bare.start()], "a bare CR")
            raise MessageError(f"{what} in the header")
        if end < 0:
            if len(data) >= MAX_HEAD:
                # RFC 9112 section 3: 414 when it is the request-target that is too long.
                too_long = data.find(b"\r\n", 0, MAX_HEAD) < 0
                raise MessageError(f"a header of more than {MAX_HEAD} bytes", status=414 if too_long else 431)
            self._looked = len(data)
            return None
        head = bytes(data[:end])
        self.consumed(end + 4)
        return head

    def consumed(self, count: int) -> None:
        """Drop bytes from the front; the next is the first of a head."""
        del self.data[:count]
        self._looked = 0


def parse_request(head: bytes) -> RequestHead:
    """Read the head of a request, without its empty line. Raises MessageError."""
    line, _, rest = head.partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MessageError("not an HTTP request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise MessageError("this is not HTTP/1.1", status=505)
    return RequestHead(method, target, int(minor), parse_fields(rest))


def parse_response(head: bytes) -> ResponseHead:
    """Read the head of a response, without its empty line. Raises MessageError."""
    line, _, rest = head.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MessageError("not an HTTP status line")
    major, minor, status, reason = match.groups()
    if major != b"1":
        raise MessageError("this is not HTTP/1.1")
    return ResponseHead(int(status), reason or b"", int(minor), parse_fields(rest))


def parse_fields(text: bytes) -> Fields:
    """Read field lines, also those of a trailer section. Raises MessageError."""
    if not text:
        return ()
    lines = text.split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        raise MessageError(f"more than {MAX_FIELDS} header fields", status=431)
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise MessageError(_why_not(line))
        fields.append((match[1], match[2]))
    return tuple(fields)


def _why_not(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a folded header field"  # RFC 9112 section 5.2: "MUST NOT generate", and may be refused
    name, colon, _ = line.partition(b":")
    if colon and name != name.rstrip():
        return "white space before the colon of a header field"  # RFC 9112 section 5.1: MUST be refused
    if not colon or _TOKEN_ONLY.fullmatch(name) is None:
        return "a line in the header that is no field"
    return "a control character in a header field"


def values_of(fields: Fields, name: bytes) -> list[bytes]:
    """Return the values of all fields of this name, which is in lower case."""
    return [value for key, value in fields if key.lower() == name]


def tokens_of(fields: Fields, name: bytes) -> list[bytes]:
    """Return the members of a comma-separated list over all its lines, in lower case."""
    members = b",".join(values_of(fields, name)).split(b",")
    return [token for member in members if (token := member.strip(b" \t").lower())]


def write_head(start: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write a start line, fields and the empty line."""
    return b"\r\n".join([start, *(name + b": " + value for name, value in fields), b"", b""])
