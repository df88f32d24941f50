"""The one error tree.

Every failure a caller can act on is an :class:`SstpsocksError`. It says in one line which side and which
step failed (``str(error)``) and what to try (``hint``), and carries the facts other layers need: the exit code
of the program, the SOCKS5 reply, the wire status.
"""

from __future__ import annotations

from typing import ClassVar

# Exit codes of the program (README, "Exit codes").
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_CERTIFICATE = 4
EXIT_AUTHENTICATION = 5
EXIT_PROTOCOL = 6
EXIT_LOST = 7

# Reply codes of RFC 1928 section 6.
SOCKS_GENERAL_FAILURE = 0x01
SOCKS_NOT_ALLOWED = 0x02
SOCKS_NETWORK_UNREACHABLE = 0x03
SOCKS_HOST_UNREACHABLE = 0x04
SOCKS_CONNECTION_REFUSED = 0x05
SOCKS_TTL_EXPIRED = 0x06


class SstpsocksError(Exception):
    """Base of all errors of this package.

    ``str(error)`` is one line for the user: which side, which step, what happened.
    """

    exit_code: ClassVar[int] = EXIT_PROTOCOL
    """What the program exits with when this error ends it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        """One sentence that says what to try, or empty."""


class ProtocolError(SstpsocksError):
    """A rule of a protocol was broken; see the two children for by whom."""

    def __init__(self, message: str, *, layer: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.layer = layer
        """The protocol: "sstp", "http", "ppp", "lcp", "ipcp", "ip", "tcp", "socks" and so on."""


class LocalProtocolError(ProtocolError):
    """We, or the program that embeds us, asked a machine for something its state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules. The only error that bad input from a peer may raise."""


class TunnelError(SstpsocksError):
    """The tunnel could not be set up, or ended."""

    may_retry: ClassVar[bool] = True
    """Whether dialling again with the same settings can help (a refused password must never be sent again)."""


class TransportFailed(TunnelError):
    """The server could not be reached: name not found, refused, unreachable or no answer in time."""

    exit_code = EXIT_UNREACHABLE


class ProxyFailed(TransportFailed):
    """The proxy on the way to the server did not lead there: it refused, failed, or is no proxy."""

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        """The HTTP status of its answer to CONNECT, None when that was not what failed."""


class CertificateRejected(TunnelError):
    """The server's certificate did not pass: chain, name or pin."""

    exit_code = EXIT_CERTIFICATE
    may_retry = False

    def __init__(self, message: str, *, reason: str, sha256: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        """What was wrong, in OpenSSL's or our words."""
        self.sha256 = sha256
        """SHA-256 of the leaf certificate (DER) in lower-case hexadecimal; empty when none was seen."""


class TlsFailed(TunnelError):
    """The far end does not speak TLS that we accept."""


class HttpRejected(TunnelError):
    """The HTTP request that opens SSTP got another answer than 200 (MS-SSTP 3.2.4.1)."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        """The HTTP status code."""


class CallRejected(TunnelError):
    """The server refused or aborted the SSTP call before it carried traffic."""

    def __init__(self, message: str, *, sstp_status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sstp_status = sstp_status
        """The status of the Status Info attribute (MS-SSTP 2.2.8), None when there was none."""


class AuthenticationFailed(TunnelError):
    """The server refused the credentials, or could not prove that it knows the password."""

    exit_code = EXIT_AUTHENTICATION
    may_retry = False

    def __init__(self, message: str, *, code: int | None = None, retry_allowed: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        """The E= value of an MS-CHAPv2 Failure (RFC 2759 section 6), None when there was none."""
        self.retry_allowed = retry_allowed
        """R=1: the server would accept another try with new credentials."""


class ProxyLoginFailed(AuthenticationFailed):
    """The proxy on the way to the server wants a log-in that we do not have, or refused ours."""


class NegotiationFailed(TunnelError):
    """A PPP negotiation did not converge, was refused or took too long."""

    def __init__(self, message: str, *, protocol: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.protocol = protocol
        """"lcp", "authentication", "ipcp"."""


_LOST_HINT = "connect again, or have that done by itself (--reconnect auto, the default)"


class PeerUnresponsive(TunnelError):
    """An established tunnel fell silent and did not answer our echo requests."""

    exit_code = EXIT_LOST

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or _LOST_HINT)


class TunnelClosed(TunnelError):
    """An established tunnel ended: the server closed it, or the connection broke."""

    exit_code = EXIT_LOST

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or _LOST_HINT)


class SessionLimitReached(TunnelClosed):
    """The server ended an established tunnel in order because a limit of its own was reached: no failure."""


class DialError(SstpsocksError):
    """A connection inside the tunnel could not be opened."""

    socks_reply: ClassVar[int] = SOCKS_GENERAL_FAILURE
    """What a SOCKS5 client is told (RFC 1928 section 6)."""


class TunnelDown(DialError):
    """The tunnel is not up at the moment."""


class TooManyConnections(DialError):
    """A bound on connections was reached."""


class NameNotFound(DialError):
    """The tunnel's DNS says that the name does not exist, or has no address we can use."""

    socks_reply = SOCKS_HOST_UNREACHABLE


class NameLookupFailed(DialError):
    """The tunnel's DNS did not answer in time, or answered SERVFAIL or REFUSED."""


class NetworkUnreachable(DialError):
    """No route: ICMP network unreachable, or an IPv6 target in a tunnel without IPv6."""

    socks_reply = SOCKS_NETWORK_UNREACHABLE


class HostUnreachable(DialError):
    """ICMP host unreachable or administratively prohibited."""

    socks_reply = SOCKS_HOST_UNREACHABLE


class ConnectionRefused(DialError):
    """The target answered with a reset."""

    socks_reply = SOCKS_CONNECTION_REFUSED


class ConnectTimedOut(DialError):
    """The target did not answer in time."""

    socks_reply = SOCKS_TTL_EXPIRED


class DeniedByRule(DialError):
    """A destination that is never dialled: loopback, link-local, multicast, broadcast."""

    socks_reply = SOCKS_NOT_ALLOWED


class ConnectionLost(SstpsocksError):
    """An established connection inside the tunnel ended abnormally: reset, time-out or the tunnel went away."""


class ConfigError(SstpsocksError):
    """The command line, the environment or the configuration file is wrong."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, path: str = "", line: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        """The file, or empty."""
        self.line = line
        """The line in it, counted from 1; 0 when not known."""
