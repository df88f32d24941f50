"""How long a message's body is, and reading and writing it (RFC 9112 sections 6 and 7).

A body is decoded and written anew: chunk sizes are ours, chunk extensions end here, and a length is passed on only as
the one number it was understood as.
"""

from __future__ import annotations

import re
from typing import Protocol

from .head import Fields, MessageError, parse_fields, tokens_of, values_of, write_head

MAX_CHUNK_LINE = 1024
MAX_CHUNK_EXTENSIONS = 16 * 1024
"""Bytes of extensions over all chunks of one body: they are not data, and nobody needs them."""
MAX_TRAILERS = 16 * 1024

_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")

# RFC 9110 section 6.5.1: what frames, routes, authenticates or is judged before the body has no place behind it.
_NOT_IN_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie expect "
    b"host keep-alive max-forwards proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection "
    b"set-cookie te trailer transfer-encoding upgrade www-authenticate".split()
)


class BodyReader(Protocol):
    """Takes a body out of what was received."""

    length: int | None
    """Bytes of the whole body, None when only its end tells."""
    done: bool
    trailers: Fields

    def read(self, data: bytearray) -> bytes:
        """Take from the front of ``data``, return what was in it; nothing when more is needed or when done.

        Raises MessageError.
        """
        ...

    def end(self) -> None:
        """The peer ended the connection. Raises MessageError when the body is not whole."""
        ...


class LengthReader:
    """A body of known length, perhaps none."""

    def __init__(self, length: int) -> None:
        self.length: int | None = length
        self.trailers: Fields = ()
        self.done = length == 0
        self._left = length

    def read(self, data: bytearray) -> bytes:
        """Take what belongs to the body."""
        piece = bytes(data[: self._left])
        del data[: len(piece)]
        self._left -= len(piece)
        self.done = self._left == 0
        return piece

    def end(self) -> None:
        """Raise MessageError when something is missing."""
        if not self.done:
            raise MessageError(f"the body ended {self._left} bytes early")


class UntilEndReader:
    """A response that lasts until its connection ends."""

    length: int | None = None
    trailers: Fields = ()

    def __init__(self) -> None:
        self.done = False

    def read(self, data: bytearray) -> bytes:
        """Take everything."""
        piece = bytes(data)
        data.clear()
        return piece

    def end(self) -> None:
        """That was all of it."""
        self.done = True


class ChunkedReader:
    """A body in chunks (RFC 9112 section 7.1)."""

    length: int | None = None

    def __init__(self) -> None:
        self.done = False
        self.trailers: Fields = ()
        self._left = 0
        """Of the chunk, with the CR LF behind it."""
        self._in_trailers = False
        self._extensions = 0

    def read(self, data: bytearray) -> bytes:
        """Take whole and partial chunks, as many as there are, and the trailer section."""
        pieces = []
        while not self.done and data:
            if self._in_trailers:
                if not self._read_trailers(data):
                    break
            elif self._left == 0:
                if not self._read_line(data):
                    break
            elif self._left > 2:
                piece = bytes(data[: self._left - 2])
                del data[: len(piece)]
                self._left -= len(piece)
                pieces.append(piece)
            elif not self._read_chunk_end(data):
                break
        return b"".join(pieces)

    def end(self) -> None:
        """Raise MessageError: a chunked body says itself where it ends."""
        if not self.done:
            raise MessageError("the chunked body ended early")

    def _read_line(self, data: bytearray) -> bool:
        end = data.find(b"\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(data) >= MAX_CHUNK_LINE:
                raise MessageError("a chunk's line is too long")
            return False
        match = _CHUNK_LINE.fullmatch(data[: end - 1]) if end and data[end - 1] == 0x0D else None
        if match is None:
            raise MessageError("a chunk's size is not a hexadecimal number on a line of its own")
        self._extensions += len(match[2] or b"")
        if self._extensions > MAX_CHUNK_EXTENSIONS:
            raise MessageError("too many chunk extensions")
        size = int(match[1], 16)
        del data[: end + 1]
        self._in_trailers = size == 0
        self._left = size + 2
        return True

    def _read_chunk_end(self, data: bytearray) -> bool:
        if data[:2] == b"\r\n":
            del data[:2]
            self._left = 0
            return True
        if len(data) >= 2 or data[0] != 0x0D:
            raise MessageError("a chunk is longer than its size says")
        return False

    def _read_trailers(self, data: bytearray) -> bool:
        end = 0 if data[:2] == b"\r\n" else data.find(b"\r\n\r\n", 0, MAX_TRAILERS) + 2
        if end == 1:
            if len(data) >= MAX_TRAILERS:
                raise MessageError("the trailer section is too long")
            if re.search(rb"(?<!\r)\n", data):
                raise MessageError("a line in the trailer section ends with LF alone")
            return False
        fields = parse_fields(bytes(data[: max(end - 2, 0)]))
        del data[: end + 2]
        self.trailers = tuple(field for field in fields if field[0].lower() not in _NOT_IN_TRAILERS)
        self.done = True
        return True


def request_body(fields: Fields, minor: int) -> BodyReader:
    """Return the reader for a request's body (RFC 9112 section 6.3). Raises MessageError."""
    return _explicit_body(fields, minor) or LengthReader(0)


def response_body(method: bytes, status: int, fields: Fields, minor: int) -> BodyReader:
    """Return the reader for the body of a final response to ``method``. Raises MessageError."""
    # Judged also where there is no body: a response that says both is an attack or a mess, whatever its status.
    explicit = _explicit_body(fields, minor)
    if method == b"HEAD" or status in (204, 304):
        return LengthReader(0)
    return explicit or UntilEndReader()


def _explicit_body(fields: Fields, minor: int) -> BodyReader | None:
    lengths = values_of(fields, b"content-length")
    codings = values_of(fields, b"transfer-encoding")
    if codings:
        if lengths:
            # RFC 9112 section 6.1: "might indicate an attempt to perform request smuggling (Section 11.2) or response
            # splitting (Section 11.1) and ought to be handled as an error".
            raise MessageError("both Content-Length and Transfer-Encoding")
        if minor == 0:
            # The same section: "MUST treat the message as if the framing is faulty".
            raise MessageError("Transfer-Encoding in an HTTP/1.0 message")
        if len(codings) > 1 or tokens_of(fields, b"transfer-encoding") != [b"chunked"]:
            raise MessageError("a Transfer-Encoding other than chunked", status=501)
        if codings[0].lower() != b"chunked":
            raise MessageError("a Transfer-Encoding other than chunked", status=501)
        return ChunkedReader()
    if not lengths:
        return None
    if any(_LENGTH.fullmatch(length) is None for length in lengths):
        raise MessageError("a Content-Length that is no number")
    if len(set(lengths)) > 1:
        raise MessageError("two Content-Lengths that differ")
    return LengthReader(int(lengths[0]))


def write_chunk(data: bytes) -> bytes:
    """Return one chunk; no data is no chunk, since an empty one would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def write_last_chunk(trailers: Fields) -> bytes:
    """Return the end of a chunked body."""
    return write_head(b"0", trailers)
