"""What is passed on of a message, and what ends here (RFC 9110 section 7.6).

Ends here: what is between the client and this proxy, or between this proxy and the server (Connection and what it
lists, Keep-Alive, TE, Transfer-Encoding, Upgrade unless it is asked for, Proxy-*). The framing is written anew, and
Host is the target's, whatever the client said (RFC 9112 section 3.2.2).

No Via field is added, and no Forwarded: they would tell every server that this is a proxy's request and, with a name in
them, whose. What Via is for, finding loops, cannot happen: this machine is never dialled through the tunnel. It is a
deviation from RFC 9110 section 7.6.3, made on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

from .body import BodyReader, LengthReader
from .head import Fields, RequestHead, ResponseHead, tokens_of, values_of, write_head
from .target import Authority

_HOP_BY_HOP = frozenset(
    b"connection keep-alive te transfer-encoding upgrade proxy-connection proxy-authenticate proxy-authorization "
    b"proxy-authentication-info content-length".split()
)
# RFC 9110 section 9.2.2. A request that was perhaps carried out is repeated only when that changes nothing.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """A request to be passed on to its server."""

    head: RequestHead
    authority: Authority
    path: bytes
    """The request-target in origin-form, or "*"."""
    length: int | None
    """Bytes of its body; None when it is in chunks."""
    wants_upgrade: bool
    keep_alive: bool
    """Whether the client will go on with another request."""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time when the server ended the connection instead of answering."""
        return self.length == 0 and self.head.method in _IDEMPOTENT and not self.wants_upgrade

    @property
    def chunked(self) -> bool:
        """Whether its body goes on in chunks."""
        return self.length is None

    def to_bytes(self) -> bytes:
        """Write the head for the server."""
        head = self.head
        fields = [(b"Host", self.authority.host_field())]
        for name, value in _end_to_end(head.fields, self.wants_upgrade):
            lower = name.lower()
            if lower == b"host" or (lower == b"expect" and head.minor == 0):
                continue
            if lower == b"max-forwards" and head.method in (b"OPTIONS", b"TRACE") and value.isdigit():
                value = b"%d" % max(int(value[:9]) - 1, 0)
            fields.append((name, value))
        if self.chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif values_of(head.fields, b"content-length"):
            fields.append((b"Content-Length", b"%d" % (self.length or 0)))
        if self.wants_upgrade:
            fields.append((b"Connection", b"Upgrade"))
        return write_head(head.method + b" " + self.path + b" HTTP/1.1", fields)


def asks_for_upgrade(head: RequestHead, body: BodyReader) -> bool:
    """Whether the request asks to go on in another protocol (RFC 9110 section 7.8), and may.

    Not to HTTP/2, which is another way of asking the same server, and not with a body, behind which it would begin.
    """
    return (
        head.minor > 0
        and b"upgrade" in tokens_of(head.fields, b"connection")
        and bool(offered := tokens_of(head.fields, b"upgrade"))
        and b"h2c" not in offered
        and isinstance(body, LengthReader)
        and body.done
    )


def client_keeps_alive(head: RequestHead) -> bool:
    """Whether the client goes on after this request (RFC 9112 section 9.3).

    Proxy-Connection is no standard, and what HTTP/1.0 clients of proxies send.
    """
    options = tokens_of(head.fields, b"connection") + tokens_of(head.fields, b"proxy-connection")
    return b"close" not in options and (head.minor > 0 or b"keep-alive" in options)


def server_keeps_alive(head: ResponseHead) -> bool:
    """Whether the server takes another request on this connection."""
    return head.minor > 0 and b"close" not in tokens_of(head.fields, b"connection")


def write_interim(head: ResponseHead) -> bytes:
    """Write an interim response (1xx but 101) for the client."""
    return write_head(_status_line(head), _end_to_end(head.fields, upgrade=False))


def write_switching(head: ResponseHead) -> bytes:
    """Write the 101 for the client."""
    return write_head(_status_line(head), [*_end_to_end(head.fields, upgrade=True), (b"Connection", b"Upgrade")])


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """How a response goes to the client."""

    head: bytes
    chunked: bool
    keep_alive: bool
    """Whether the client's connection can go on after it."""


def plan_response(request: ForwardRequest, head: ResponseHead, body: BodyReader) -> ResponsePlan:
    """Decide how a final response is passed on."""
    fields = list(_end_to_end(head.fields, upgrade=False))
    bodiless = request.head.method == b"HEAD" or head.status in (204, 304)
    keep_alive = request.keep_alive
    chunked = False
    if bodiless:
        # RFC 9110 section 8.6: the length a GET would have had; never with 204.
        if head.status != 204:
            fields += [(b"Content-Length", value) for value in values_of(head.fields, b"content-length")[:1]]
    elif body.length is not None:
        fields.append((b"Content-Length", b"%d" % body.length))
    elif values_of(head.fields, b"transfer-encoding") and request.head.minor > 0:
        chunked = True
        fields.append((b"Transfer-Encoding", b"chunked"))
    else:
        keep_alive = False  # it ends with the connection: the server's own way, or the only one an old client knows
    if not keep_alive:
        fields.append((b"Connection", b"close"))
    elif request.head.minor == 0:
        fields.append((b"Connection", b"keep-alive"))
    return ResponsePlan(write_head(_status_line(head), fields), chunked, keep_alive)


def _status_line(head: ResponseHead) -> bytes:
    return b"HTTP/1.1 %d %b" % (head.status, head.reason)


def _end_to_end(fields: Fields, upgrade: bool) -> list[tuple[bytes, bytes]]:
    dropped = _HOP_BY_HOP | set(tokens_of(fields, b"connection"))
    if upgrade:
        dropped -= {b"upgrade"}
    return [(name, value) for name, value in fields if name.lower() not in dropped]
