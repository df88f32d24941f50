"""The proxy's side of a client's HTTP connection, without IO.

Bytes from the client go into :meth:`ProxyMachine.receive_data`; what the client wants comes out of
:meth:`ProxyMachine.next_event`, one request after the other: the next is read when :meth:`ProxyMachine.next_request`
says that this one is answered. What a client sends ahead waits in here, so the caller stops reading while ``buffered``
is large.

Web pages can make a browser send requests to any port of this machine, also with bytes of theirs in the body, but only
in origin-form. So that form is refused, and the connection with it, except for the pages that this port offers; those
are answered only under a name of the loopback or the address that the client reached, or a page could read them as its
own by pointing its name here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ...errors import LocalProtocolError
from .answers import NOT_A_WEB_SERVER, Answer, ask_for_login
from .body import BodyReader, request_body
from .forwarding import ForwardRequest, asks_for_upgrade, client_keeps_alive
from .head import Fields, HeadBuffer, MessageError, RequestHead, parse_request, values_of
from .target import HTTP_PORT, Authority, parse_authority, split_absolute

Login = Callable[[bytes, bytes], bool]
"""Tells whether a user name and a password are right."""


class State(Enum):
    """Where the conversation stands."""

    HEAD = "head"
    BODY = "body"
    DONE = "done"  # the request is whole; the next one is not looked at yet
    TUNNEL = "tunnel"  # what comes now is not HTTP
    ENDED = "ended"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """The client wants a connection."""

    authority: Authority


@dataclass(frozen=True, slots=True)
class PageRequested:
    """The client asks this port itself for a page."""

    path: str
    head_only: bool
    asked: str
    """By which of this port's names, as the client wrote it: "localhost:1080"."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is in order but not granted; what follows it is not read unless ``keep_alive``."""

    answer: Answer
    head_only: bool = False
    keep_alive: bool = False


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A part of the request's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """The request is whole."""

    trailers: Fields


@dataclass(frozen=True, slots=True)
class ClientEnded:
    """The client ended its direction between two requests."""


Event = ForwardRequest | ConnectRequested | PageRequested | Refused | BodyReceived | RequestEnded | ClientEnded


class ProxyMachine:
    """One client's conversation. ``login``: None when clients need none.

    ``own_address``: where the client reached this port; pages are answered under it, as under loopback's names.
    """

    def __init__(self, login: Login | None = None, own_address: str = "") -> None:
        self.state = State.HEAD
        """Where the conversation stands; change it only through the methods."""
        self._login = login
        self._own_address = own_address
        self._buffer = HeadBuffer()
        self._body: BodyReader | None = None
        self._ended = False
        self._failure: MessageError | None = None

    def __repr__(self) -> str:
        return f"<ProxyMachine {self.state.value}>"

    @property
    def buffered(self) -> int:
        """Bytes that were received and not looked at yet."""
        return len(self._buffer.data)

    @property
    def started(self) -> bool:
        """Whether something of a request has arrived that is not whole yet."""
        return self.state is State.HEAD and bool(self._buffer.data)

    @property
    def client_ended(self) -> bool:
        """Whether the client has ended its direction."""
        return self._ended

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; none (b"") is its end."""
        if not data:
            self._ended = True
        elif self._ended:
            raise LocalProtocolError("data behind the end", layer="http")
        elif self.state is not State.ERROR:
            self._buffer.data += data

    def next_event(self) -> Event | None:
        """Return what the client wants or sent next, None when more bytes are needed first.

        Raises MessageError, now and always, when the client breaks the rules.
        """
        if self._failure is not None:
            raise self._failure
        try:
            if self.state is State.HEAD:
                return self._read_head()
            if self.state is State.BODY and self._body is not None:
                return self._read_body(self._body)
        except MessageError as error:
            self.state = State.ERROR
            self._failure = error
            self._buffer.data.clear()
            raise
        return None

    def next_request(self) -> None:
        """Go on with the client's next request. Raises LocalProtocolError when this one is not whole."""
        if self.state is not State.DONE:
            raise LocalProtocolError(f"the request has not ended: {self.state.value}", layer="http")
        self.state = State.HEAD

    def take_rest(self) -> bytes:
        """Return what the client sent behind a request that ended HTTP, each byte once."""
        self.state = State.TUNNEL
        data = bytes(self._buffer.data)
        self._buffer.data.clear()
        return data

    # Heads

    def _read_head(self) -> Event | None:
        # RFC 9112 section 2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the request-line".
        while self._buffer.data[:2] == b"\r\n":
            self._buffer.consumed(2)
        text = self._buffer.take()
        if text is None:
            if not self._ended:
                return None
            if self._buffer.data:
                raise MessageError("the client ended the connection within a request")
            self.state = State.ENDED
            return ClientEnded()
        head = parse_request(text)
        _check_host(head)
        body = request_body(head.fields, head.minor)
        if head.target[:1] == b"/":
            return self._judge_page(head, body)
        if head.method == b"CONNECT":
            return self._judge_connect(head, body)
        return self._judge_forward(head, body)

    def _judge_connect(self, head: RequestHead, body: BodyReader) -> Event:
        authority = parse_authority(head.target)
        if not body.done:
            # RFC 9110 section 9.3.6: content in a CONNECT request has no meaning; here it would be the tunnel's data.
            raise MessageError("CONNECT with a body")
        self.state = State.TUNNEL
        if not self._may(head):
            self.state = State.ENDED
            return Refused(ask_for_login())
        return ConnectRequested(authority)

    def _judge_forward(self, head: RequestHead, body: BodyReader) -> Event:
        parts = split_absolute(head.target)
        if parts is None:
            raise MessageError("the request names no server: a proxy wants a whole http:// address")
        scheme, where, path = parts
        if scheme != b"http":
            raise MessageError(
                f"{scheme.decode('ascii')}:// cannot be asked for in clear: use CONNECT, as for https", status=501
            )
        authority = parse_authority(where, HTTP_PORT)
        if head.method == b"OPTIONS" and not path:
            path = b"*"  # RFC 9112 section 3.2.4
        elif path[:1] != b"/":
            path = b"/" + path
        keep_alive = client_keeps_alive(head)
        self._body = body
        self.state = State.DONE if body.done else State.BODY
        head_only = head.method == b"HEAD"
        if not self._may(head):
            return Refused(ask_for_login(), head_only, keep_alive and body.done)
        if any(value.lower() != b"100-continue" for value in values_of(head.fields, b"expect")):
            return Refused(Answer(417, "sstpsocks: this expectation cannot be met."), head_only)
        if head.method in (b"OPTIONS", b"TRACE") and values_of(head.fields, b"max-forwards") == [b"0"]:
            # RFC 9110 section 7.6.2: "MUST NOT forward the message; instead, the intermediary MUST respond".
            return Refused(Answer(501, "sstpsocks: this proxy says nothing of itself."), head_only)
        return ForwardRequest(head, authority, path, body.length, asks_for_upgrade(head, body), keep_alive)

    def _judge_page(self, head: RequestHead, body: BodyReader) -> Event:
        """A request as web servers get it."""
        self.state = State.ENDED
        self._buffer.data.clear()
        hosts = values_of(head.fields, b"host")
        sites = values_of(head.fields, b"sec-fetch-site")
        asked = parse_authority(hosts[0], HTTP_PORT) if hosts else None
        if (
            head.method not in (b"GET", b"HEAD")
            or not body.done
            or asked is None
            or not (asked.is_loopback or asked.is_address(self._own_address))
            or any(site not in (b"none", b"same-origin") for site in sites)
            or values_of(head.fields, b"origin")
        ):
            return Refused(NOT_A_WEB_SERVER, head.method == b"HEAD")
        named = hosts[0].decode("ascii").lower()
        return PageRequested(head.target.partition(b"?")[0].decode("ascii"), head.method == b"HEAD", named)

    def _may(self, head: RequestHead) -> bool:
        if self._login is None:
            return True
        given = values_of(head.fields, b"proxy-authorization")
        if len(given) != 1:
            return False
        scheme, _, text = given[0].partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            decoded = base64.b64decode(text.strip(b" "), validate=True)
        except binascii.Error:
            return False
        username, colon, password = decoded.partition(b":")
        return bool(colon) and self._login(username, password)

    # Bodies

    def _read_body(self, body: BodyReader) -> Event | None:
        data = body.read(self._buffer.data)
        if data:
            return BodyReceived(data)
        if body.done:
            self.state = State.DONE
            return RequestEnded(body.trailers)
        if self._ended:
            body.end()
        return None


def _check_host(head: RequestHead) -> None:
    """RFC 9112 section 3.2: 400 for a request that lacks Host, has two, or one that is no host."""
    hosts = values_of(head.fields, b"host")
    if len(hosts) > 1:
        raise MessageError("two Host fields")
    if not hosts:
        if head.minor > 0:
            raise MessageError("no Host field")
    elif hosts[0]:
        parse_authority(hosts[0], HTTP_PORT)
