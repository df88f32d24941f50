"""What SOCKS5 and SOCKS4 have in common: a client's conversation up to its request and our reply, without IO.

Bytes from the client go into ``receive_data()``, answers come out of ``data_to_send()``, what the client wants out of
``next_event()``. What is sent behind a request is early data: it belongs to the connection that was asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from enum import Enum

from ...errors import LocalProtocolError, RemoteProtocolError
from ...tunnel.network import IPAddress, SocketAddress

SUCCEEDED = 0x00


class State(Enum):
    """Where the conversation stands."""

    GREETING = "greeting"
    PASSWORD = "password"  # noqa: S105  # the state in which one is awaited
    REQUEST = "request"
    AWAITING_REPLY = "awaiting reply"
    CONNECTED = "connected"
    REFUSED = "refused"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """The client wants a connection; answer with ``reply()``."""

    host: str | IPAddress
    """A name as the client wrote it, or an address."""
    port: int
    """0 to 65535."""


@dataclass(frozen=True, slots=True)
class BindRequested:
    """The client expects a connection; answer twice: with where we listen, and with who has connected."""

    host: str | IPAddress
    """Who is expected to connect; an unspecified address when the client cannot tell."""
    port: int
    """From which port, often not meant."""


@dataclass(frozen=True, slots=True)
class AssociateRequested:
    """The client wants to send datagrams; answer with the address and port that take them."""

    host: str | IPAddress
    """Where the client will send from; an unspecified address when it cannot tell."""
    port: int
    """From which port, 0 when it cannot tell."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The client was told no; send what is queued and close."""

    reason: str
    """One line for the log."""


Request = ConnectRequested | BindRequested | AssociateRequested
Event = Request | Refused

_UNASKED = (State.GREETING, State.PASSWORD, State.REQUEST)
_ASKED = (State.AWAITING_REPLY, State.CONNECTED)


class SocksConversation(ABC):
    """One client's conversation, from its first byte to our reply."""

    def __init__(self, state: State) -> None:
        self.state = state
        """Where the conversation stands; change it only through the methods."""
        self._received = bytearray()
        self._output = bytearray()
        self._events: deque[Event] = deque()
        self._failure = ""
        self._replies_due = 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}>"

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; none (b"") is its end.

        Raises RemoteProtocolError when the client breaks the rules; what is to be sent before closing is queued.
        """
        if self.state is State.ERROR:
            raise RemoteProtocolError(self._failure, layer="socks")
        if self.state is State.REFUSED:
            return
        if not data:
            if self.state in _UNASKED:
                raise self._error("the client ended the connection before it asked for anything")
            return
        self._received += data
        if self.state in _UNASKED:
            self._parse()

    def next_event(self) -> Event | None:
        """Return what happened next, None when nothing did."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the client, each byte once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def take_early_data(self) -> bytes:
        """Return what the client sent behind its request, each byte once: it belongs to the connection."""
        if self.state not in _ASKED:
            return b""
        data = bytes(self._received)
        self._received.clear()
        return data

    @property
    def early_data_size(self) -> int:
        """How many bytes the client sent behind its request that were not taken yet."""
        return len(self._received) if self.state in _ASKED else 0

    def reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """Answer the request: 0 with the connection's local address and port, or a code of RFC 1928 section 6.

        BIND is answered twice when the first answer was 0.
        """
        if self.state is not State.AWAITING_REPLY:
            raise LocalProtocolError(f"nothing to reply to: {self.state.value}", layer="socks")
        self._queue_reply(code, bound)
        self._replies_due -= 1
        if code != SUCCEEDED:
            self.state = State.REFUSED
        elif self._replies_due == 0:
            self.state = State.CONNECTED

    @abstractmethod
    def _parse(self) -> None:
        """Look at what was received while nothing was asked yet."""

    @abstractmethod
    def _queue_reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """Queue the reply for a code of RFC 1928 section 6."""

    def _ask(self, event: Request) -> None:
        """Report what the client wants."""
        self.state = State.AWAITING_REPLY
        # RFC 1928 section 6: "Two replies are sent from the SOCKS server to the client during a BIND operation."
        self._replies_due = 2 if isinstance(event, BindRequested) else 1
        self._events.append(event)

    def _refuse(self, reason: str, code: int | None = None) -> None:
        """Say no, with a reply where the protocol has one."""
        self.state = State.REFUSED
        self._received.clear()
        if code is not None:
            self._queue_reply(code)
        self._events.append(Refused(reason))

    def _error(self, message: str, code: int | None = None) -> RemoteProtocolError:
        """Return what to raise for a client that broke the rules, and give it a reply where the protocol has one."""
        self.state = State.ERROR
        self._failure = message
        self._received.clear()
        if code is not None:
            self._queue_reply(code)
        return RemoteProtocolError(message, layer="socks")
