"""What the proxy itself answers: a status, one plain sentence, and why in a word that programs read (RFC 9209).

Proxy-Status tells a program a proxy's "no" from a server's. The text is plain and may not be taken for anything else,
since browsers show it as if the server had sent it.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from ...errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    DialError,
    HostUnreachable,
    NameLookupFailed,
    NameNotFound,
    NetworkUnreachable,
    TooManyConnections,
    TunnelDown,
)
from .head import Fields, MessageError, write_head

REALM = b'Basic realm="sstpsocks", charset="UTF-8"'

# RFC 9209 section 2.3: the types of errors and the statuses recommended for them. One that this table does not know is
# answered as "bad gateway".
_DIAL_ERRORS: dict[type[DialError], tuple[int, str]] = {
    ConnectionRefused: (502, "connection_refused"),
    HostUnreachable: (502, "destination_ip_unroutable"),
    NetworkUnreachable: (502, "destination_ip_unroutable"),
    NameNotFound: (502, "dns_error"),
    NameLookupFailed: (502, "dns_error"),
    ConnectTimedOut: (504, "connection_timeout"),
    DeniedByRule: (403, "destination_ip_prohibited"),
    TooManyConnections: (503, "connection_limit_reached"),
    TunnelDown: (503, "destination_unavailable"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of our own."""

    status: int
    text: str
    """One or two sentences for the user."""
    error: str = ""
    """RFC 9209's error type, or empty."""
    fields: Fields = ()

    def to_bytes(self, *, head_only: bool = False, keep_alive: bool = False) -> bytes:
        """Write it. ``head_only``: it answers HEAD."""
        body = self.text.encode("utf-8", "backslashreplace") + b"\r\n"
        fields = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"keep-alive" if keep_alive else b"close"),
        ]
        if self.error:
            fields.append((b"Proxy-Status", f"sstpsocks; error={self.error}".encode("ascii")))
        head = write_head(status_line(self.status), [*fields, *self.fields])
        return head if head_only else head + body


def status_line(status: int) -> bytes:
    """Return the status line with the usual reason."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode("ascii")


def answer_to_dial_error(error: DialError) -> Answer:
    """Say why there is no connection to the target."""
    status, kind = next(
        (_DIAL_ERRORS[base] for base in type(error).__mro__ if base in _DIAL_ERRORS), (502, "destination_unavailable")
    )
    return Answer(status, _sentences("sstpsocks", error), kind)


def answer_to_message_error(error: MessageError) -> Answer:
    """Say what is wrong with the client's request."""
    return Answer(error.status, _sentences("sstpsocks refused the request", error), "http_request_error")


def answer_to_bad_response(error: MessageError) -> Answer:
    """Say that the server's response cannot be passed on."""
    return Answer(502, _sentences("the server's answer was refused by sstpsocks", error), "http_protocol_error")


def _sentences(who: str, error: MessageError | DialError) -> str:
    hint = f" ({error.hint})" if error.hint else ""
    return f"{who}: {error}{hint}."


def ask_for_login() -> Answer:
    """Ask for a user name and a password (RFC 7617)."""
    return Answer(
        407,
        "sstpsocks wants a user name and a password on this port.",
        "http_request_denied",
        ((b"Proxy-Authenticate", REALM),),
    )


NOT_A_WEB_SERVER = Answer(
    403,
    "This is a proxy and not a web server: set it as the HTTP or SOCKS5 proxy of the program.",
    "http_request_denied",
)
ENDED_WITHOUT_ANSWER = Answer(
    502, "sstpsocks: the server ended the connection without an answer.", "connection_terminated"
)
