"""The server's side of SOCKS4 and SOCKS4a, without IO.

SOCKS4 (Ying-Da Lee's memo) has one message: VN, CD, DSTPORT, DSTIP, USERID, NULL. SOCKS4a adds a name behind it for
clients that cannot look it up: they "set the first three bytes of DSTIP to NULL and the last byte to a non-zero value".
BIND has the same message, and two replies. There is no password, so a port with users refuses it: a USERID alone says
nothing. Neither text has a length in the protocol; what is kept is bounded here.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from ...errors import SOCKS_GENERAL_FAILURE
from ...tunnel.network import SocketAddress
from .conversation import SUCCEEDED, BindRequested, ConnectRequested, SocksConversation, State
from .machine import Command

VERSION = 4
GRANTED = 90
REJECTED = 91
MAX_USERID = 255  # octets, as in RFC 1929
MAX_NAME = 255  # octets, as in SOCKS5's requests

_FIXED = 8  # VN, CD, DSTPORT, DSTIP


class Socks4Machine(SocksConversation):
    """The server's side of one client's conversation, used as SocksMachine is.

    ``users_required``: the port serves only those who give a password, which nobody can here. SOCKS4 knows one kind of
    failure only, whichever code of SOCKS5 is replied.
    """

    def __init__(self, *, users_required: bool = False) -> None:
        super().__init__(State.REQUEST)
        self._users_required = users_required

    def _parse(self) -> None:
        data = self._received
        if data[0] != VERSION:
            raise self._error(f"version {data[0]} instead of 4", SOCKS_GENERAL_FAILURE)
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
            reason = "SOCKS4 has no password, and this port needs a user name and password: use SOCKS5"
            self._refuse(reason, SOCKS_GENERAL_FAILURE)
        elif command == Command.CONNECT:
            self._ask(ConnectRequested(host, port))
        elif command == Command.BIND:
            self._ask(BindRequested(host, port))
        else:
            self._refuse(f"SOCKS4 has CONNECT and BIND, and no command {command}", SOCKS_GENERAL_FAILURE)

    def _end_of_text(self, start: int, limit: int, what: str) -> int | None:
        """Return where the NULL behind a text stands, None when it has not come yet."""
        end = self._received.find(0, start, start + limit + 1)
        if end >= 0:
            return end
        if len(self._received) > start + limit:
            raise self._error(f"a {what} of more than {limit} octets", SOCKS_GENERAL_FAILURE)
        return None

    def _name(self, text: bytes) -> str:
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("the host name is not UTF-8", SOCKS_GENERAL_FAILURE) from None
        if not name:
            raise self._error("the host name is empty", SOCKS_GENERAL_FAILURE)
        return name

    def _queue_reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """VN, which "is the version of the reply code and should be 0", CD, DSTPORT, DSTIP."""
        address, port = bound or (IPv4Address(0), 0)
        # A connection from an IPv6 address has nothing to show in four octets.
        packed = address.packed if isinstance(address, IPv4Address) else bytes(4)
        self._output += bytes((0, GRANTED if code == SUCCEEDED else REJECTED)) + port.to_bytes(2, "big") + packed
