"""The server's side of SOCKS5 (RFC 1928) with user name and password (RFC 1929), without IO.

The lengths in the protocol bound what is kept: a greeting has at most 257 octets, a password message 513, a request
262.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from ...errors import SOCKS_GENERAL_FAILURE
from ...tunnel.network import IPAddress, SocketAddress
from .conversation import AssociateRequested, BindRequested, ConnectRequested, Request, SocksConversation, State

VERSION = 5
PASSWORD_VERSION = 1  # RFC 1929: "the current version of the subnegotiation, which is X'01'"
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


_REQUESTS: dict[int, type[Request]] = {
    Command.CONNECT: ConnectRequested,
    Command.BIND: BindRequested,
    Command.UDP_ASSOCIATE: AssociateRequested,
}


class SocksMachine(SocksConversation):
    """The server's side of one client's conversation.

    With ``check`` only clients that send a user name and password to its liking get through; without, only those that
    offer to send none.
    """

    def __init__(self, check: Callable[[bytes, bytes], bool] | None = None) -> None:
        super().__init__(State.GREETING)
        self._method = Method.NO_AUTHENTICATION if check is None else Method.USERNAME_PASSWORD
        self._check = check
        self._parsers: dict[State, Callable[[], bool]] = {
            State.GREETING: self._parse_greeting,
            State.PASSWORD: self._parse_password,
            State.REQUEST: self._parse_request,
        }

    def _parse(self) -> None:
        while (parse := self._parsers.get(self.state)) is not None and parse():
            pass

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
            raise self._error(f"version {data[0]} in the request instead of 5", SOCKS_GENERAL_FAILURE)
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
            self._refuse(f"unknown address type {address_type}", ADDRESS_TYPE_NOT_SUPPORTED)
            return False
        end = start + length + 2
        if len(data) < end:
            return False
        address, port = bytes(data[start : end - 2]), int.from_bytes(data[end - 2 : end], "big")
        del data[:end]
        kind = _REQUESTS.get(command)
        if kind is None:
            reason = f"command {command} is not one of SOCKS5: CONNECT, BIND and UDP ASSOCIATE"
            self._refuse(reason, COMMAND_NOT_SUPPORTED)
            return False
        self._ask(kind(self._host(address_type, address), port))
        return False

    def _host(self, address_type: int, address: bytes) -> str | IPAddress:
        if address_type == AddressType.IPV4:
            return IPv4Address(address)
        if address_type == AddressType.IPV6:
            return IPv6Address(address)
        try:
            host = address.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("the host name is not UTF-8", SOCKS_GENERAL_FAILURE) from None
        if not host:
            raise self._error("the host name is empty", SOCKS_GENERAL_FAILURE)
        return host

    # Answers

    def _queue_reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """RFC 1928 section 6: VER, REP, RSV, ATYP, BND.ADDR, BND.PORT."""
        address, port = bound or (IPv4Address(0), 0)
        address_type = AddressType.IPV4 if address.version == 4 else AddressType.IPV6
        self._output += bytes((VERSION, code, 0, address_type)) + address.packed + port.to_bytes(2, "big")
