"""The client's side of a connection to a server, without IO: one request after the other, and their responses."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import LocalProtocolError
from .body import BodyReader, response_body
from .forwarding import ForwardRequest, server_keeps_alive
from .head import Fields, HeadBuffer, MessageError, ResponseHead, parse_response

MAX_INTERIM = 16
"""Interim responses to one request; a server that sends more would keep the client waiting for ever."""


@dataclass(frozen=True, slots=True)
class InterimReceived:
    """A response with a status of 1xx but 101."""

    head: ResponseHead


@dataclass(frozen=True, slots=True)
class SwitchingReceived:
    """101: from here on it is the other protocol, that the request asked for."""

    head: ResponseHead


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The head of the final response."""

    head: ResponseHead
    body: BodyReader
    """For its length only."""


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A part of the response's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """The response is whole."""

    trailers: Fields


Event = InterimReceived | SwitchingReceived | ResponseReceived | DataReceived | ResponseEnded


class OnwardMachine:
    """One connection to a server."""

    def __init__(self) -> None:
        self._buffer = HeadBuffer()
        self._request: ForwardRequest | None = None
        self._body: BodyReader | None = None
        self._ended = False
        self._interim = 0
        self.requests = 0
        """How many were sent on this connection."""
        self.answered = False
        """Whether anything has come back for the request of now."""
        self.keep_alive = False
        """Whether the server takes another request after this response; known when it has ended."""

    def __repr__(self) -> str:
        return f"<OnwardMachine {self.requests} requests, {'busy' if self._request else 'idle'}>"

    def send_request(self, request: ForwardRequest) -> bytes:
        """Return the head to send. Raises LocalProtocolError while another response is awaited."""
        if self._request is not None:
            raise LocalProtocolError("a response is still awaited", layer="http")
        self._request = request
        self._interim = 0
        self.requests += 1
        self.answered = False
        self.keep_alive = False
        return request.to_bytes()

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take bytes from the server; none (b"") is its end."""
        if not data:
            self._ended = True
        else:
            self.answered = True
            self._buffer.data += data

    def next_event(self) -> Event | None:
        """Return what happened next, None when more bytes are needed first. Raises MessageError."""
        if self._request is None:
            if self._buffer.data:
                raise MessageError("the server answers what was not asked")
            return None
        if self._body is None:
            return self._read_head(self._request)
        data = self._body.read(self._buffer.data)
        if data:
            return DataReceived(data)
        if self._ended and not self._body.done:
            self._body.end()
        if not self._body.done:
            return None
        trailers = self._body.trailers
        # What a server sends behind its response is not taken for the one to the next request (response splitting).
        self.keep_alive = self.keep_alive and not self._ended and not self._buffer.data
        self._body = None
        self._request = None
        return ResponseEnded(trailers)

    def take_rest(self) -> bytes:
        """Return what the server sent behind its 101, each byte once."""
        data = bytes(self._buffer.data)
        self._buffer.data.clear()
        return data

    def _read_head(self, request: ForwardRequest) -> Event | None:
        text = self._buffer.take()
        if text is None:
            if self._ended:
                raise MessageError("the server ended the connection within its answer")
            return None
        head = parse_response(text)
        if head.status == 101:
            if not request.wants_upgrade:
                raise MessageError("the server switches to a protocol that was not asked for")
            return SwitchingReceived(head)
        if head.status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise MessageError("too many interim responses")
            return InterimReceived(head)
        self._body = response_body(request.head.method, head.status, head.fields, head.minor)
        self.keep_alive = server_keeps_alive(head)
        return ResponseReceived(head, self._body)
