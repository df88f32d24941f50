"""What PppPeer tells the link."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from ..errors import TunnelError
from .auth import AuthMethod


@dataclass(frozen=True, slots=True)
class LcpOpened:
    """LCP has opened; authentication follows. Comes again when LCP was renegotiated."""

    peer_mru: int
    """The largest Information field, in octets, that the peer takes; 1500 when it did not say."""
    method: AuthMethod | None
    """How the client will log in; None when the server wants no authentication."""


@dataclass(frozen=True, slots=True)
class AuthenticationSucceeded:
    """The time for CALL_CONNECTED (MS-SSTP 3.2.5.2). Comes only until start_network()."""

    method: AuthMethod | None
    hlak: bytes = field(repr=False)
    """Higher-layer authentication key, 32 bytes; zeroes for methods without keys (MS-SSTP 3.2.5.2.2)."""
    username: str
    message: str = ""
    """The server's text; may be empty."""
    password_changed: bool = False
    """The password is the new one of the credentials from now on."""


@dataclass(frozen=True, slots=True)
class AuthenticationRefused:
    """The log-in was refused, or the server could not prove that it knows the password.

    With retry_allowed the machine waits for retry_authentication() or close(); otherwise LCP is already being
    terminated in order.
    """

    method: AuthMethod | None
    code: int | None
    """The E= value of MS-CHAPv2 (RFC 2759 section 6), None otherwise."""
    retry_allowed: bool
    message: str
    """One line for the user."""
    hint: str = ""
    """What to try."""


@dataclass(frozen=True, slots=True)
class Ipv4Opened:
    """IPCP has opened: IP packets may pass."""

    local: IPv4Address
    """Our address inside the tunnel."""
    peer: IPv4Address | None
    """The peer's address, None when it gave none."""
    dns: tuple[IPv4Address, ...]
    """Name servers the peer gave, the primary first (RFC 1877); always empty in the server's role."""
    nbns: tuple[IPv4Address, ...]
    """NetBIOS name servers the peer gave (RFC 1877); always empty in the server's role."""


@dataclass(frozen=True, slots=True)
class Ipv4Closed:
    """IPCP was open and is not any more."""

    reason: str
    renegotiated: bool = False
    """Whether IPCP, or LCP below it, is only being negotiated anew: Ipv4Opened or Failed follows."""


@dataclass(frozen=True, slots=True)
class Ipv6Opened:
    """IPV6CP has opened: IPv6 packets may pass. May come before Ipv4Opened, after it, or never."""

    local_identifier: bytes
    """Our interface identifier, eight octets: the lower half of our link-local address (RFC 5072 section 5)."""
    peer_identifier: bytes | None
    """The peer's, None when it told none."""


@dataclass(frozen=True, slots=True)
class Ipv6Closed:
    """IPV6CP was open and is not any more. It may open again, with other identifiers; IPv4 is not affected."""

    reason: str


@dataclass(frozen=True, slots=True)
class EchoReplied:
    """The peer answered send_echo_request()."""

    identifier: int
    """What send_echo_request() returned."""


@dataclass(frozen=True, slots=True)
class IpPacketReceived:
    """An IP packet of the peer; comes only while the control protocol of its version is open."""

    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """PPP did not come up, or ended against the rules. Nothing follows."""

    error: TunnelError


@dataclass(frozen=True, slots=True)
class Finished:
    """LCP was terminated in order. Nothing follows."""

    reason: str
    by_peer: bool
    """Whether the peer began it."""


PppEvent = (
    LcpOpened
    | AuthenticationSucceeded
    | AuthenticationRefused
    | Ipv4Opened
    | Ipv4Closed
    | Ipv6Opened
    | Ipv6Closed
    | EchoReplied
    | IpPacketReceived
    | Failed
    | Finished
)
