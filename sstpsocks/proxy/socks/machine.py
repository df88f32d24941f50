"""The server's side of SOCKS5 (RFC 1928) with user name and password (RFC 1929), without IO.

Bytes from the client go into :meth:`SocksMachine.receive_data`, answers come out of
:meth:`SocksMachine.data_to_send`, and what the client wants out of :meth:`SocksMachine.next_event`. The lengths in the
protocol bound what is kept: a greeting has at most 257 octets, a password message 513, a request 262.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address

from ...errors import SOCKS_GENERAL_FAILURE, LocalProtocolError, RemoteProtocolError
from ...tunnel.network import IPAddress, SocketAddress

VERSION = 5
PASSWORD_VERSION = 1  # RFC 1929: "the current version of the subnegotiation, which is X'01'"
SUCCEEDED = 0x00
COMMAND_NOT_SUPPORTED = 0x07
ADDRESS_TYPE_NOT_SUPPORTED = 0x08


class Method(IntEnum):
    """How the client may show who it is (RFC 1928 section 3)."""

    NO_AUTHENTICATION = 0x00
    USERNAME_PASSWORD = 0x02
    NONE_ACCEPTABLE = 0xFF


class Command(IntEnum):
    """What a client asks for (RFC 1928 section 4)."""

    CONNECT = 0x01
    BIND = 0x02
    UDP_ASSOCIATE = 0x03


class AddressType(IntEnum):
    """ATYP (RFC 1928 section 5)."""

    IPV4 = 0x01
    DOMAIN_NAME = 0x03
    IPV6 = 0x04


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
    """The client wants a connection; answer with :meth:`SocksMachine.reply`."""

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

_REQUESTS: dict[int, type[Request]] = {
    Command.CONNECT: ConnectRequested,
    Command.BIND: BindRequested,
    Command.UDP_ASSOCIATE: AssociateRequested,
}


class SocksMachine:
    """One client's conversation, from its first byte to our reply.

    With ``check`` only clients that send a user name and password to its liking get through; without, only those that
    offer to send none.
    """

    def __init__(self, check: Callable[[bytes, bytes], bool] | None = None) -> None:
        self.state = State.GREETING
        """Where the conversation stands; change it only through the methods."""
        self._method = Method.NO_AUTHENTICATION if check is None else Method.USERNAME_PASSWORD
        self._check = check
        self._received = bytearray()
        self._output = bytearray()
        self._events: deque[Event] = deque()
        self._failure = ""
        self._replies_due = 1
        self._parsers: dict[State, Callable[[], bool]] = {
            State.GREETING: self._parse_greeting,
            State.PASSWORD: self._parse_password,
            State.REQUEST: self._parse_request,
        }

    def __repr__(self) -> str:
        return f"<SocksMachine {self.state.value}>"

    # In and out

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; none (b"") is its end.

        Raises RemoteProtocolError when the client breaks the rules; what is to be sent before closing is queued.
        """
        if self.state is State.ERROR:
            raise RemoteProtocolError(self._failure, layer="socks")
        if self.state is State.REFUSED:
            return
        if not data:
            if self.state in self._parsers:
                raise self._error("the client ended the connection before it asked for anything")
            return
        self._received += data
        while (parse := self._parsers.get(self.state)) is not None and parse():
            pass

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

    # The client's messages: each parser returns whether it had a whole one

    def _parse_greeting(self) -> bool:
        """RFC 1928 section 3: VER, NMETHODS, METHODS."""
        data = self._received
        if not data:
            return False
        if data[0] != VERSION:
            raise self._error(f"the client speaks neither SOCKS nor HTTP (its first byte is {data[0]})")
        if len(data) < 2 or len(data) < 2 + data[1]:
            return False
        methods = bytes(data[2 : 2 + data[1]])
        del data[: 2 + data[1]]
        if self._method not in methods:
            self._output += bytes((VERSION, Method.NONE_ACCEPTABLE))
            wanted = "needs a user name and password" if self._check is not None else "asks for no authentication"
            self._refuse(f"the client offers no method that fits: this port {wanted}")
            return False
        self._output += bytes((VERSION, self._method))
        self.state = State.PASSWORD if self._method is Method.USERNAME_PASSWORD else State.REQUEST
        return True

    def _parse_password(self) -> bool:
        """RFC 1929 section 2: VER, ULEN, UNAME, PLEN, PASSWD."""
        data = self._received
        if not data:
            return False
        if data[0] != PASSWORD_VERSION:
            raise self._error(f"version {data[0]} of the password message instead of 1")
        if len(data) < 2 or len(data) < 3 + data[1]:
            return False
        password_at = 3 + data[1]
        end = password_at + data[password_at - 1]
        if len(data) < end:
            return False
        username, password = bytes(data[2 : password_at - 1]), bytes(data[password_at:end])
        del data[:end]
        if self._check is None or not self._check(username, password):
            # RFC 1929: "If the server returns a `failure' (STATUS value other than X'00') status, it MUST close the
            # connection."
            self._output += bytes((PASSWORD_VERSION, 1))
            self._refuse("wrong user name or password")
            return False
        self._output += bytes((PASSWORD_VERSION, 0))
        self.state = State.REQUEST
        return True

    def _parse_request(self) -> bool:
        """RFC 1928 section 4: VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT. RSV is not looked at."""
        data = self._received
        if data and data[0] != VERSION:
            raise self._error(f"version {data[0]} in the request instead of 5", reply=SOCKS_GENERAL_FAILURE)
        if len(data) < 5:
            return False
        command, address_type = data[1], data[3]
        start = 4
        if address_type == AddressType.IPV4:
            length = 4
        elif address_type == AddressType.IPV6:
            length = 16
        elif address_type == AddressType.DOMAIN_NAME:
            start, length = 5, data[4]
        else:
            self._queue_reply(ADDRESS_TYPE_NOT_SUPPORTED)
            self._refuse(f"unknown address type {address_type}")
            return False
        end = start + length + 2
        if len(data) < end:
            return False
        address, port = bytes(data[start : end - 2]), int.from_bytes(data[end - 2 : end], "big")
        del data[:end]
        kind = _REQUESTS.get(command)
        if kind is None:
            self._queue_reply(COMMAND_NOT_SUPPORTED)
            self._refuse(f"command {command} is not one of SOCKS5: CONNECT, BIND and UDP ASSOCIATE")
            return False
        event = kind(self._host(address_type, address), port)
        self.state = State.AWAITING_REPLY
        # RFC 1928 section 6: "Two replies are sent from the SOCKS server to the client during a BIND operation."
        self._replies_due = 2 if kind is BindRequested else 1
        self._events.append(event)
        return False

    def _host(self, address_type: int, address: bytes) -> str | IPAddress:
        if address_type == AddressType.IPV4:
            return IPv4Address(address)
        if address_type == AddressType.IPV6:
            return IPv6Address(address)
        try:
            host = address.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("the host name is not UTF-8", reply=SOCKS_GENERAL_FAILURE) from None
        if not host:
            raise self._error("the host name is empty", reply=SOCKS_GENERAL_FAILURE)
        return host

    # Answers

    def _queue_reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """RFC 1928 section 6: VER, REP, RSV, ATYP, BND.ADDR, BND.PORT."""
        address, port = bound or (IPv4Address(0), 0)
        address_type = AddressType.IPV4 if address.version == 4 else AddressType.IPV6
        self._output += bytes((VERSION, code, 0, address_type)) + address.packed + port.to_bytes(2, "big")

    def _refuse(self, reason: str) -> None:
        self.state = State.REFUSED
        self._received.clear()
        self._events.append(Refused(reason))

    def _error(self, message: str, *, reply: int | None = None) -> RemoteProtocolError:
        self.state = State.ERROR
        self._failure = message
        self._received.clear()
        if reply is not None:
            self._queue_reply(reply)
        return RemoteProtocolError(message, layer="socks")
