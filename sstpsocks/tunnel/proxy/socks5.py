"""The client's side of SOCKS5 (RFC 1928), with user name and password where there are any (RFC 1929).

Sans-IO. Three questions and answers, each of known length, and then the connection leads to the server. The port of
the program itself has the other side (proxy/socks/machine.py), which knows none of this.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from ...errors import LocalProtocolError, RemoteProtocolError

VERSION: Final = 5
MAX_FIELD: Final = 255  # names and passwords have a length of one octet

_NO_AUTHENTICATION, _PASSWORD, _NONE_ACCEPTABLE = 0x00, 0x02, 0xFF
_CONNECT: Final = 0x01
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_PASSWORD_VERSION: Final = 0x01  # of the negotiation of RFC 1929

REPLIES: Final = {
    1: "general failure",
    2: "its rules do not allow it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "timed out",
    7: "it does not know CONNECT",
    8: "it does not know this type of address",
}
"""RFC 1928 section 6."""


class SocksPhase(Enum):
    """What is waited for."""

    METHOD = "method"
    PASSWORD = "password"  # noqa: S105 - a state
    REPLY = "reply"
    OPEN = "open"
    """The connection leads to the server."""
    REFUSED = "refused"
    """The proxy did not connect; see ``reply``."""
    LOGIN_WANTED = "log-in wanted"
    """None of the methods we offered will do."""
    LOGIN_REFUSED = "log-in refused"


_FINAL = frozenset({SocksPhase.OPEN, SocksPhase.REFUSED, SocksPhase.LOGIN_WANTED, SocksPhase.LOGIN_REFUSED})


class Socks5Client:
    """One CONNECT through a SOCKS5 proxy."""

    def __init__(self, host: str, port: int, *, login: tuple[str, str] | None = None) -> None:
        """``host``: an address, or an ASCII name that the proxy shall resolve. ``login``: user name and password.

        Raises LocalProtocolError for names and passwords that SOCKS5 cannot carry.
        """
        self.phase = SocksPhase.METHOD
        self.reply = 0
        """The proxy's reply (REPLIES), once there is one."""
        self.logged_in = False
        """Whether the proxy wanted the password, and took it."""
        self._target = _address(host) + port.to_bytes(2, "big")
        self._login: bytes | None = None
        methods = [_NO_AUTHENTICATION]
        if login is not None:
            self._login = bytes([_PASSWORD_VERSION]) + _field(login[0]) + _field(login[1])
            methods.append(_PASSWORD)
        self._outgoing = bytes([VERSION, len(methods), *methods])
        self._buffer = b""

    def __repr__(self) -> str:
        return f"<Socks5Client {self.phase.value}>"

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be exchanged."""
        return self.phase in _FINAL

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the proxy; ``b""`` is the end of the stream. Raises RemoteProtocolError for what is no SOCKS5.

        That includes bytes behind the last answer, where nothing can be: the server waits for our TLS.
        """
        if self.finished:
            raise LocalProtocolError("the SOCKS5 exchange is over", layer="socks")
        if not data:
            raise RemoteProtocolError(
                f"closed the connection while its {self.phase.value} was waited for", layer="socks"
            )
        self._buffer += data
        while self._step():
            pass
        if self.phase is SocksPhase.OPEN and self._buffer:
            raise RemoteProtocolError("sent more than its answer, before the server was asked anything", layer="socks")

    def _step(self) -> bool:
        """Take one answer out of the buffer; return False while it is not whole, and at the end."""
        if self.finished or not self._buffer:
            return False
        match self.phase:
            case SocksPhase.METHOD:
                return self._take_method()
            case SocksPhase.PASSWORD:
                return self._take_verdict()
            case _:
                return self._take_reply()

    def _take_method(self) -> bool:
        if self._buffer[0] != VERSION:
            raise RemoteProtocolError("answered with something that is not SOCKS5", layer="socks")
        if len(self._buffer) < 2:
            return False
        method = self._take(2)[1]
        if method == _NO_AUTHENTICATION:
            self._ask()
        elif method == _PASSWORD and self._login is not None:
            self._outgoing += self._login
            self.phase = SocksPhase.PASSWORD
        elif method == _NONE_ACCEPTABLE:
            self.phase = SocksPhase.LOGIN_WANTED
        else:
            raise RemoteProtocolError(f"chose the log-in method {method}, which was not offered", layer="socks")
        return True

    def _take_verdict(self) -> bool:
        if len(self._buffer) < 2:
            return False
        # Some answer with version 5 here; RFC 1929 has 1, and the status alone means something.
        if self._take(2)[1] == 0:
            self.logged_in = True
            self._ask()
        else:
            self.phase = SocksPhase.LOGIN_REFUSED
        return True

    def _take_reply(self) -> bool:
        buffer = self._buffer
        if buffer[0] != VERSION:
            raise RemoteProtocolError("answered with something that is not SOCKS5", layer="socks")
        if len(buffer) < 2:
            return False
        if buffer[1] != 0:
            # Some say no more than these two octets, and close.
            self.reply = buffer[1]
            self.phase = SocksPhase.REFUSED
            return True
        if len(buffer) < 5:
            return False
        sizes = {_IPV4: 4, _IPV6: 16, _NAME: 1 + buffer[4]}
        if buffer[3] not in sizes:
            raise RemoteProtocolError(f"answered with an unknown type of address ({buffer[3]})", layer="socks")
        size = 4 + sizes[buffer[3]] + 2
        if len(buffer) < size:
            return False
        self._take(size)
        self.phase = SocksPhase.OPEN
        return True

    def _ask(self) -> None:
        self._outgoing += bytes([VERSION, _CONNECT, 0]) + self._target
        self.phase = SocksPhase.REPLY

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _address(host: str) -> bytes:
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return bytes([_NAME]) + _field(host)
    match address:
        case IPv4Address():
            return bytes([_IPV4]) + address.packed
        case IPv6Address():
            return bytes([_IPV6]) + address.packed


def _field(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= MAX_FIELD:
        raise LocalProtocolError(f"SOCKS5 carries names and passwords of 1 to {MAX_FIELD} octets", layer="socks")
    return bytes([len(data)]) + data
