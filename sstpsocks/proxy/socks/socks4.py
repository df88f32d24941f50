"""The server's side of SOCKS4 and SOCKS4a, without IO.

SOCKS4 (Ying-Da Lee's memo) has one message: VN, CD, DSTPORT, DSTIP, USERID, NULL. SOCKS4a adds a name behind it for
clients that cannot look it up: they "set the first three bytes of DSTIP to NULL and the last byte to a non-zero value".
There is no password, so a port with users refuses it: a USERID alone says nothing. Neither text has a length in the
protocol; what is kept is bounded here.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address

from ...errors import LocalProtocolError, RemoteProtocolError
from ...tunnel.network import SocketAddress
from .machine import SUCCEEDED, Command, ConnectRequested, Event, Refused, State

VERSION = 4
GRANTED = 90
REJECTED = 91
MAX_USERID = 255  # octets, as in RFC 1929
MAX_NAME = 255  # octets, as in SOCKS5's requests

_FIXED = 8  # VN, CD, DSTPORT, DSTIP


class Socks4Machine:
    """One client's conversation, from its first byte to our reply; used as SocksMachine is.

    ``users_required``: the port serves only those who give a password, which nobody can here.
    """

    def __init__(self, *, users_required: bool = False) -> None:
        self.state = State.REQUEST
        """Where the conversation stands; change it only through the methods."""
        self._users_required = users_required
        self._received = bytearray()
        self._output = bytearray()
        self._events: deque[Event] = deque()
        self._failure = ""

    def __repr__(self) -> str:
        return f"<Socks4Machine {self.state.value}>"

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; none (b"") is its end.

        Raises RemoteProtocolError when the client breaks the rules; what is to be sent before closing is queued.
        """
        if self.state is State.ERROR:
            raise RemoteProtocolError(self._failure, layer="socks")
        if self.state is State.REFUSED:
            return
        if not data:
            if self.state is State.REQUEST:
                raise self._error("the client ended the connection before it asked for anything")
            return
        self._received += data
        if self.state is State.REQUEST:
            self._parse_request()

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
        if self.state not in (State.AWAITING_REPLY, State.CONNECTED):
            return b""
        data = bytes(self._received)
        self._received.clear()
        return data

    @property
    def early_data_size(self) -> int:
        """How many bytes the client sent behind its request that were not taken yet."""
        return len(self._received) if self.state in (State.AWAITING_REPLY, State.CONNECTED) else 0

    def reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """Answer the request: 0 with the connection's local address and port, or another reply code of SOCKS5.

        SOCKS4 knows one kind of failure only.
        """
        if self.state is not State.AWAITING_REPLY:
            raise LocalProtocolError(f"nothing to reply to: {self.state.value}", layer="socks")
        self._queue_reply(GRANTED if code == SUCCEEDED else REJECTED, bound)
        self.state = State.CONNECTED if code == SUCCEEDED else State.REFUSED

    def _parse_request(self) -> None:
        data = self._received
        if data[0] != VERSION:
            raise self._error(f"version {data[0]} instead of 4")
        if len(data) < _FIXED:
            return
        command, port, address = data[1], int.from_bytes(data[2:4], "big"), IPv4Address(bytes(data[4:8]))
        end = self._end_of_text(_FIXED, MAX_USERID, "user ID")
        if end is None:
            return
        host: str | IPv4Address = address
        if 0 < int(address) < 256:
            start = end + 1
            end = self._end_of_text(start, MAX_NAME, "host name")
            if end is None:
                return
            host = self._name(bytes(data[start:end]))
        del data[: end + 1]
        if self._users_required:
            self._refuse("SOCKS4 has no password, and this port needs a user name and password: use SOCKS5")
        elif command != Command.CONNECT:
            self._refuse(f"command {command} of SOCKS4 is not supported, only CONNECT")
        else:
            self.state = State.AWAITING_REPLY
            self._events.append(ConnectRequested(host, port))

    def _end_of_text(self, start: int, limit: int, what: str) -> int | None:
        """Return where the NULL behind a text stands, None when it has not come yet."""
        end = self._received.find(0, start, start + limit + 1)
        if end >= 0:
            return end
        if len(self._received) > start + limit:
            raise self._error(f"a {what} of more than {limit} octets")
        return None

    def _name(self, text: bytes) -> str:
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("the host name is not UTF-8") from None
        if not name:
            raise self._error("the host name is empty")
        return name

    def _queue_reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """VN, which "is the version of the reply code and should be 0", CD, DSTPORT, DSTIP."""
        address, port = bound or (IPv4Address(0), 0)
        # A connection from an IPv6 address has nothing to show in four octets.
        packed = address.packed if isinstance(address, IPv4Address) else bytes(4)
        self._output += bytes((0, code)) + port.to_bytes(2, "big") + packed

    def _refuse(self, reason: str) -> None:
        self.state = State.REFUSED
        self._received.clear()
        self._queue_reply(REJECTED)
        self._events.append(Refused(reason))

    def _error(self, message: str) -> RemoteProtocolError:
        self.state = State.ERROR
        self._failure = message
        self._received.clear()
        self._queue_reply(REJECTED)
        return RemoteProtocolError(message, layer="socks")
