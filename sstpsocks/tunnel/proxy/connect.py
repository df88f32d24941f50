"""CONNECT: the request that makes an HTTP proxy a pipe to the server (RFC 9110 section 9.3.6, MS-SSTP 3.2.4.1).

Sans-IO: bytes in, bytes out. One :class:`ConnectRequest` is one request and its answer; several follow each other on
one connection when the proxy asks for a log-in. h11 reads and writes; each request has an h11 connection of its own,
so that it is our rules alone that say whether the real connection may carry another one. These proxies are old, and
some that must keep it (NTLM logs in the connection, not the request) speak HTTP/1.0 with extensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import h11

from ...errors import LocalProtocolError, RemoteProtocolError
from .challenge import Challenge, parse_challenges

MAX_HEADER: Final = 32 * 1024  # far above any real answer; Negotiate's tokens reach 16 KiB
MAX_BODY: Final = 512 * 1024  # octets of an error page that are skipped to keep a connection

_STATUS_LINE = b"HTTP/"


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """What the proxy said."""

    status: int
    reason: str
    """Its own word for it, fit for a message."""
    challenges: tuple[Challenge, ...]
    """What Proxy-Authenticate offers."""
    reusable: bool
    """Whether another request may follow on this connection."""
    location: str = ""
    """Where a redirection leads to."""

    @property
    def open(self) -> bool:
        """Whether the connection now leads to the server."""
        # "Any 2xx (Successful) response indicates that the sender ... will switch to tunnel mode" -- RFC 9110 9.3.6
        return 200 <= self.status < 300


def connect_target(host: str, port: int) -> str:
    """Return the target of a CONNECT request: always with the port (RFC 9112 section 3.2.3)."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


class ConnectRequest:
    """One CONNECT request and its answer."""

    def __init__(self, target: str, authorization: str | None = None) -> None:
        """``authorization``: the value of Proxy-Authorization, as ISO 8859-1.

        Raises LocalProtocolError when one of them cannot stand in a header.
        """
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        headers = [("Host", target), ("SSTPVERSION", "1.0")]
        try:
            fields = [(name.encode(), value.encode("ascii")) for name, value in headers]
            if authorization is not None:
                fields.append((b"Proxy-Authorization", authorization.encode("latin-1")))
            request = self._http.send(h11.Request(method=b"CONNECT", target=target.encode("ascii"), headers=fields))
            end = self._http.send(h11.EndOfMessage())
        except (h11.LocalProtocolError, UnicodeError):
            # Without the cause: its text may quote what must not be shown.
            raise LocalProtocolError("the CONNECT request cannot be built", layer="http") from None
        self._outgoing = (request or b"") + (end or b"")
        self._response: h11.Response | None = None
        self._first = b""
        self._body = 0
        self._finished = False

    def __repr__(self) -> str:
        return f"<ConnectRequest {'finished' if self._finished else 'waiting for the answer'}>"

    def data_to_send(self) -> bytes:
        """Return the request the first time, then nothing."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> ConnectAnswer | None:
        """Take bytes of the answer; ``b""`` is the end of the stream. Returns None while more is wanted.

        Raises RemoteProtocolError for what is not HTTP, for the end before an answer, and for bytes behind the 2xx,
        where nothing can be: the server waits for our TLS.
        """
        if self._finished:
            raise LocalProtocolError("the CONNECT request has been answered", layer="http")
        if not data and self._response is None:
            self._finished = True
            raise RemoteProtocolError("closed the connection without answering", layer="http")
        # h11 waits for a blank line, which something that is not HTTP may never send.
        self._first = (self._first + data[: len(_STATUS_LINE)])[: len(_STATUS_LINE)]
        if not _STATUS_LINE.startswith(self._first):
            self._finished = True
            raise RemoteProtocolError("answered with something that is not HTTP", layer="http")
        try:
            answer = self._receive(data)
        except h11.RemoteProtocolError as error:
            self._finished = True
            if self._response is not None:  # an error page that is cut short: what it says counts
                return self._answer(self._response, reusable=False)
            text = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(error)[:100])
            raise RemoteProtocolError(f"answered with something that is not HTTP ({text})", layer="http") from error
        except RemoteProtocolError:
            self._finished = True
            raise
        self._finished = answer is not None
        return answer

    def _receive(self, data: bytes) -> ConnectAnswer | None:
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            match event:
                case h11.Response():
                    self._response = event
                    if 200 <= event.status_code < 300:
                        return self._opened(event)
                case h11.Data() if self._response is not None:
                    self._body += len(event.data)
                    if self._body > MAX_BODY:
                        return self._answer(self._response, reusable=False)
                case h11.EndOfMessage() if self._response is not None:
                    reusable = _keeps_connection(self._response) and not self._http.trailing_data[0]
                    return self._answer(self._response, reusable=reusable)
                case h11.NEED_DATA:
                    if self._response is not None and not _keeps_connection(self._response):
                        # Nobody needs the rest of the page, which may be long in coming.
                        return self._answer(self._response, reusable=False)
                    return None
                case h11.InformationalResponse():
                    continue
                case _:
                    raise RemoteProtocolError("answered with something that is not HTTP", layer="http")

    def _opened(self, response: h11.Response) -> ConnectAnswer:
        if self._http.trailing_data[0]:
            raise RemoteProtocolError("sent more than its answer, before the server was asked anything", layer="http")
        return self._answer(response, reusable=False)

    def _answer(self, response: h11.Response, *, reusable: bool) -> ConnectAnswer:
        return ConnectAnswer(
            status=response.status_code,
            reason=_printable(response.reason),
            challenges=tuple(parse_challenges(_values(response, b"proxy-authenticate"))),
            reusable=reusable,
            location=_printable(b"".join(value.encode("latin-1") for value in _values(response, b"location")[:1])),
        )


def _values(response: h11.Response, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in response.headers if key == name]


def _keeps_connection(response: h11.Response) -> bool:
    """Whether the connection outlives the answer (RFC 9112 section 9.3, and what came before it)."""
    options: set[str] = set()
    # RFC 9112 appendix C.2.2: Proxy-Connection is what old clients and proxies say instead of Connection.
    for name in (b"connection", b"proxy-connection"):
        for value in _values(response, name):
            options.update(item.strip().lower() for item in value.split(","))
    if "close" in options:
        return False
    delimited = any(_values(response, name) for name in (b"content-length", b"transfer-encoding"))
    has_body = response.status_code not in (204, 304)
    if has_body and not delimited:
        return False  # its end is that of the connection
    return response.http_version >= b"1.1" or "keep-alive" in options


def _printable(text: bytes | bytearray | memoryview, limit: int = 100) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in bytes(text)[:limit])
