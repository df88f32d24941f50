"""What all authentication protocols of PPP share: the methods, the credentials, the contract of a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

HLAK_SIZE = 32  # MS-SSTP 3.2.5.2.2
ZERO_HLAK = bytes(HLAK_SIZE)


class AuthMethod(Enum):
    """A way to log in. The value is what the command line calls it."""

    PAP = "pap"
    CHAP_MD5 = "chap"
    MSCHAPV2 = "mschapv2"
    EAP_MSCHAPV2 = "eap-mschapv2"
    PEAP = "peap"
    EAP_TLS = "eap-tls"
    EAP_GTC = "eap-gtc"
    EAP_MD5 = "eap-md5"

    @property
    def is_eap(self) -> bool:
        """Whether it runs within EAP."""
        return self not in (AuthMethod.PAP, AuthMethod.CHAP_MD5, AuthMethod.MSCHAPV2)

    @property
    def gives_keys(self) -> bool:
        """Whether keys come out of it that bind SSTP to the log-in; without, the server proves nothing by it."""
        return self not in _WITHOUT_KEYS


_WITHOUT_KEYS = frozenset({AuthMethod.PAP, AuthMethod.CHAP_MD5, AuthMethod.EAP_GTC, AuthMethod.EAP_MD5})


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password. The password is in no repr."""

    username: str
    """As the user typed it, with ``DOMAIN\\`` or ``@realm``."""
    password: str = field(repr=False)
    new_password: str | None = field(default=None, repr=False)
    """What to change the password to when the server says that it has expired (E=648), and only then."""
    outer_identity: str = ""
    """EAP with TLS: the name to give before the server has proved itself, such as "anonymous@realm"; empty: the
    user's."""


@dataclass(frozen=True, slots=True)
class AuthSucceeded:
    """The peers have authenticated each other as far as the method does."""

    method: AuthMethod
    hlak: bytes = field(repr=False)
    """Higher-layer authentication key, 32 bytes; zeroes for methods without keys (MS-SSTP 3.2.5.2.2)."""
    username: str
    message: str = ""
    """The server's text; may be empty."""
    password_changed: bool = False
    """The password is now Credentials.new_password."""


@dataclass(frozen=True, slots=True)
class AuthRefused:
    """The credentials were refused, or the server could not prove itself."""

    method: AuthMethod
    code: int | None
    """The E= value of MS-CHAPv2 (RFC 2759 section 6), None otherwise."""
    retry_allowed: bool
    """R=1: retry() with other credentials may follow on the same connection."""
    message: str
    """One line for the user: what it means in clear text, with the server's own text if there was one."""
    hint: str = ""
    """What to try."""


AuthEvent = AuthSucceeded | AuthRefused


class Authenticator(Protocol):
    """A sans-IO machine of one authentication protocol, client's or server's side.

    It sees and makes the Information field of the PPP frames of ``protocol`` (code, identifier, length, data).
    Bad input raises RemoteProtocolError and nothing else.
    """

    protocol: int
    """The PPP protocol number of its frames: 0xC023 PAP, 0xC223 CHAP, 0xC227 EAP."""

    def start(self, now: float) -> None:
        """Begin: LCP has opened."""
        ...

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet of the peer."""
        ...

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return the packets to send now and forget them."""
        ...

    def next_event(self) -> AuthEvent | None:
        """Return the next event, or None."""
        ...

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        ...

    def handle_timer(self, now: float) -> None:
        """Let the retransmission timers act."""
        ...

    def retry(self, credentials: Credentials, now: float) -> None:
        """Answer a refusal that allows it with other credentials.

        A password that has expired (code 648) wants ``new_password``. Raises LocalProtocolError when no retry is
        allowed or when user name and password equal refused ones.
        """
        ...
