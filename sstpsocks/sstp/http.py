"""The HTTP request that opens SSTP, and its answer (MS-SSTP 3.2.4.1, 4.1).

One request goes out and one answer comes back, both with a Content-Length of 2**64-1. Behind the two headers both
directions are raw SSTP. Only whole headers are given to h11, so that it never counts or cuts what follows them,
whatever body the other side's header promises.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, quote

import h11

from ..errors import HttpRejected, LocalProtocolError, RemoteProtocolError

METHOD: Final = "SSTP_DUPLEX_POST"
URI: Final = "/sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/"
CONTENT_LENGTH: Final = "18446744073709551615"  # ULONGLONG_MAX
DEFAULT_PORT: Final = 443
MAX_HEADER: Final = 16 * 1024  # far above any real answer; bounds what a babbling peer can make us hold

_END_OF_HEADER = re.compile(rb"\n\r?\n")
_STATUS_LINE = b"HTTP/"

_HINTS: Final = {
    400: "The server did not understand the request; check host and port, and that no proxy rewrites it",
    401: "Something before the SSTP server asks for HTTP authentication; SSTP logs in later, inside the tunnel",
    403: "The server or a filter before it forbids SSTP here; check the host name, the port and the proxy's rules",
    404: "This web server has no SSTP service under this name; check host name and port",
    405: "This is a web server without SSTP; check host name and port",
    407: "A proxy on the way asks for authentication",
    429: "The server limits connections; wait before trying again",
    500: "The SSTP server failed; its administrator finds the attempt by the correlation id",
    501: "This is a web server without SSTP; check host name and port",
    502: "A gateway before the SSTP server cannot reach it; a plain HTTP reverse proxy cannot carry SSTP",
    503: "The service is stopped or has no free ports; try again later",
    504: "A gateway before the SSTP server got no answer from it; a plain HTTP reverse proxy cannot carry SSTP",
}
_HINT_REDIRECT = "This web server redirects the request elsewhere, an SSTP server does not; check host name and port"
_HINT_OTHER = "Check that host name and port are those of an SSTP server"
_HINT_NO_HTTP = "Check that host name and port are those of an SSTP server and that nothing on the way intercepts it"


def _remote(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, layer="http", hint=_HINT_NO_HTTP)


def _printable(text: bytes, limit: int = 100) -> str:
    """Return the peer's text fit for a message: printable ASCII, at most ``limit`` characters."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in text[:limit])


class _HeaderBuffer:
    """Collects bytes until a blank line; knows nothing else of HTTP."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def __bool__(self) -> bool:
        return bool(self._data)

    def starts_like(self, prefix: bytes) -> bool:
        """Return whether what is there may still become something that begins with ``prefix``."""
        return prefix.startswith(self._data[: len(prefix)])

    def feed(self, data: bytes) -> None:
        self._data += data

    def take_header(self) -> bytes | None:
        """Remove and return a whole header with its blank line, or return None while there is none."""
        match = _END_OF_HEADER.search(self._data, 0, MAX_HEADER)
        if match is None:
            if len(self._data) >= MAX_HEADER:
                raise _remote(f"an HTTP header of more than {MAX_HEADER} bytes")
            return None
        header = bytes(self._data[: match.end()])
        del self._data[: match.end()]
        return header

    def take_rest(self) -> bytes:
        rest = bytes(self._data)
        self._data.clear()
        return rest


def _host_header(host: str, port: int) -> str:
    literal = f"[{host}]" if ":" in host and not host.startswith("[") else host
    # Some servers compare this header with their own name, so the default port is left out (RFC 9110 section 7.2).
    return literal if port == DEFAULT_PORT else f"{literal}:{port}"


class ClientPrelude:
    """The client's side of the HTTP exchange.

    ``host``: as the user named the server (ASCII); ``correlation_id``: a new GUID for each attempt, with or
    without braces, by which the server's administrator finds the attempt; ``tenant_id``: only for front ends that
    ask for it, other servers answer 404 to it. Raises LocalProtocolError when they cannot stand in a header.
    """

    def __init__(self, host: str, port: int, correlation_id: str, *, tenant_id: str | None = None) -> None:
        guid = correlation_id if correlation_id.startswith("{") else f"{{{correlation_id}}}"
        target = URI if tenant_id is None else f"{URI}?tenantid={quote(tenant_id, safe='')}"
        headers = [
            ("SSTPCORRELATIONID", guid),
            ("Content-Length", CONTENT_LENGTH),
            ("Host", _host_header(host, port)),
        ]
        self.server_software = ""
        """The answer's Server header in printable characters; empty when there was none."""
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        try:
            self._http.send(h11.Request(method=METHOD, target=target, headers=headers))
            # h11 checks the values, but it moves Host to the front; Windows sends it last and we send the same.
            lines = [f"{METHOD} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
            self._outgoing = "\r\n".join(lines).encode("ascii")
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise LocalProtocolError(f"cannot build the HTTP request: {error}", layer="http") from error
        self._buffer = _HeaderBuffer()
        self._finished = False

    def __repr__(self) -> str:
        return f"<ClientPrelude {'finished' if self._finished else 'waiting for the answer'}>"

    def data_to_send(self) -> bytes:
        """Return the request the first time, then nothing."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes of the answer; ``b""`` is the end of the stream.

        Returns None while more is wanted, and once the 200 is complete every byte behind it, which is SSTP.
        Raises HttpRejected for any other status and RemoteProtocolError for what is not HTTP.
        """
        if self._finished:
            raise LocalProtocolError("the HTTP exchange is over", layer="http")
        try:
            return self._receive(data)
        except (HttpRejected, RemoteProtocolError):
            self._finished = True
            raise

    def _receive(self, data: bytes) -> bytes | None:
        if not data:
            what = "in the middle of its HTTP answer" if self._buffer else "without answering the HTTP request"
            raise _remote(f"the server closed the connection {what}")
        self._buffer.feed(data)
        while True:
            if not self._buffer.starts_like(_STATUS_LINE):
                raise _remote("the server's answer is not HTTP")
            header = self._buffer.take_header()
            if header is None:
                return None
            answer = self._parse(header)
            if isinstance(answer, h11.Response):
                break
        self.server_software = _printable(dict(answer.headers).get(b"server", b""))
        if answer.status_code != 200:
            raise _rejected(answer)
        self._finished = True
        return self._buffer.take_rest()

    def _parse(self, header: bytes) -> h11.Response | h11.InformationalResponse:
        try:
            self._http.receive_data(header)
            answer = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise _remote(f"the server's HTTP answer is malformed: {_printable(str(error).encode())}") from error
        if not isinstance(answer, h11.Response | h11.InformationalResponse):
            raise _remote("the server's HTTP answer is malformed")
        return answer


def _rejected(answer: h11.Response) -> HttpRejected:
    """Return the error for an answer other than 200."""
    status = answer.status_code
    reason = _printable(bytes(answer.reason))
    hint = _HINTS.get(status, _HINT_OTHER)
    message = f"the server answered the SSTP request with HTTP {status}{' ' if reason else ''}{reason}"
    if 300 <= status < 400:
        hint = _HINT_REDIRECT
        location = dict(answer.headers).get(b"location")
        if location is not None:
            message += f" (to {_printable(location)})"
    return HttpRejected(message, status=status, hint=hint)


class ServerPrelude:
    """The server's side of the HTTP exchange."""

    def __init__(self) -> None:
        self.correlation_id = ""
        """The client's SSTPCORRELATIONID as sent, usually a GUID in braces; empty when there was none."""
        self.host = ""
        """The client's Host header."""
        self.tenant_id: str | None = None
        """What the client asked for with ``?tenantid=``."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._buffer = _HeaderBuffer()
        self._outgoing = b""
        self._finished = False

    def __repr__(self) -> str:
        return f"<ServerPrelude {'finished' if self._finished else 'waiting for the request'}>"

    def data_to_send(self) -> bytes:
        """Return the answer once there is one, then nothing."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> bytes | None:
        """Take bytes of the request; ``b""`` is the end of the stream.

        Returns None while more is wanted, and once the request is complete and answered with 200 every byte behind
        it, which is SSTP. Raises RemoteProtocolError for any other request, after its 4xx or 5xx was queued.
        """
        if self._finished:
            raise LocalProtocolError("the HTTP exchange is over", layer="http")
        try:
            if not data:
                raise _remote("the client closed the connection before its HTTP request was complete")
            self._buffer.feed(data)
            header = self._take_header()
            if header is None:
                return None
            self._judge(self._parse(header))
        except RemoteProtocolError:
            self._finished = True
            raise
        self._outgoing = self._http.send(
            h11.Response(status_code=200, reason=b"OK", headers=[("Content-Length", CONTENT_LENGTH)])
        )
        self._finished = True
        return self._buffer.take_rest()

    def _take_header(self) -> bytes | None:
        try:
            return self._buffer.take_header()
        except RemoteProtocolError:
            self._outgoing = _refusal(431, "Request Header Fields Too Large")
            raise

    def _parse(self, header: bytes) -> h11.Request:
        try:
            self._http.receive_data(header)
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._outgoing = _refusal(400, "Bad Request")
            raise _remote(f"the client's HTTP request is malformed: {_printable(str(error).encode())}") from error
        if not isinstance(request, h11.Request):
            self._outgoing = _refusal(400, "Bad Request")
            raise _remote("the client's HTTP request is malformed")
        return request

    def _judge(self, request: h11.Request) -> None:
        headers = dict(request.headers)
        self.host = headers.get(b"host", b"").decode("latin-1")
        self.correlation_id = headers.get(b"sstpcorrelationid", b"").decode("latin-1")
        if bytes(request.method) != METHOD.encode():
            self._outgoing = _refusal(501, "Not Implemented")
            raise _remote(f"the client's HTTP method is {_printable(bytes(request.method))} instead of {METHOD}")
        path, _, query = request.target.decode("latin-1").partition("?")
        if path != URI:
            self._outgoing = _refusal(404, "Not Found")
            raise _remote("the client asked for another URI than SSTP's")
        # "A server that does not understand the tenantid query variable SHOULD ignore it." -- MS-SSTP 3.2.4.1
        self.tenant_id = parse_qs(query).get("tenantid", [None])[0]


def _refusal(status: int, reason: str) -> bytes:
    """Return a short answer that ends the connection."""
    return f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("ascii")
