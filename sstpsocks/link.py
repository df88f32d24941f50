"""The link: TLS plaintext on one side, IP packets and tunnel events on the other (MS-SSTP over RFC 1661).

Theory of operation
-------------------
The link is the only place that knows both SSTP and PPP. It carries each machine's events to the other:

* SSTP accepted the call -> PPP opens LCP; PPP authenticated -> SSTP sends CALL_CONNECTED with the key (the server
  role verifies it); SSTP connected -> PPP may start its network protocols. MS-SSTP 3.2.4.3 and 3.3.4: the binding
  goes out before any network control packet, and IP passes only in Call_Connected.
* SSTP's hello timer expired -> an LCP Echo-Request goes with the SSTP one, because some servers answer only that.
* PPP ended or failed -> SSTP disconnects; SSTP ended -> PPP's lower layer is down.
* A server may negotiate IPCP or LCP anew at any time (RFC 1661 section 3.4). Until that is done no IP passes, as if the
  network were slow; then the link goes on, unless it came back with another address, which no flow survives.

Everything but IP packets takes the road through the two machines. IP packets of an open link are recognised in
receive_data() itself, in the common case by sstp/data_run.py from the fixed eight octets ``10 00 LL LL FF 03 00 21``
(``00 57`` for IPv6), and are returned as spans of the input, so that no packet becomes an object of its own. The
versions are mixed in them: a packet's first octet tells its version, and by it frame_packets() chooses the header too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from typing import Final

from .errors import (
    AuthenticationFailed,
    CallRejected,
    LocalProtocolError,
    NegotiationFailed,
    PeerUnresponsive,
    RemoteProtocolError,
    SessionLimitReached,
    TunnelClosed,
    TunnelError,
)
from .ppp import events as ppp_events
from .ppp.auth import AuthMethod, Credentials
from .ppp.packet import PROTOCOL_IP, PROTOCOL_IPV6, parse_frame
from .ppp.peer import PppPeer
from .sstp import events as sstp_events
from .sstp.client import SstpClient
from .sstp.data_run import data_header, find_frames
from .sstp.events import EndReason
from .sstp.packet import HEADER_SIZE, VERSION
from .sstp.server import SstpServer

_IP_FRAME: Final = 0xFF030021
_IPV6_FRAME: Final = 0xFF030057
"""How frames with IP packets begin (RFC 1661 section 2, without compression)."""
_IPV6_FIRST_OCTET: Final = 0x60
"""The least first octet of an IPv6 packet; those of IPv4 are below."""

# A witness that got no answer is followed by another after so many seconds, while one is wanted.
WITNESS_INTERVAL: Final = 1.0

# How long close() waits for the peer's LCP Terminate-Ack before it disconnects SSTP all the same. RFC 1661 would wait
# for six seconds, but the carrier is reliable, and a peer that means to answer does so in one round trip.
PPP_FAREWELL_TIME: Final = 1.5


_ORDERLY_HINT: Final = (
    "the server ended it in order: a limit on idle or session time, an administrator, or a restart; "
    "connect again, or have that done by itself (--reconnect auto, the default)"
)


class LinkPhase(Enum):
    """How far the link has come. The value is the step a person is shown."""

    SSTP = "SSTP"
    LCP = "LCP"
    AUTHENTICATION = "authentication"
    ADDRESSES = "addresses"
    UP = "up"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    """A step has succeeded and the next has begun."""

    phase: LinkPhase
    text: str
    """What came of the step before; one line without secrets."""


@dataclass(frozen=True, slots=True)
class CredentialsWanted:
    """The server refused the credentials and allows another try: call retry_authentication() or close()."""

    code: int | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """The server has taken the new password of the credentials: the old one is of no use any more."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """IP packets pass from now on."""

    local: IPv4Address
    peer: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    nbns: tuple[IPv4Address, ...]
    peer_mru: int
    """The largest IP packet the peer takes, in octets."""
    username: str
    """Who logged in: on the server's side the client's name."""


@dataclass(frozen=True, slots=True)
class LinkResumed:
    """The server had PPP negotiated anew, with the same address; in between nothing passed."""

    up: LinkUp
    """What holds now."""


@dataclass(frozen=True, slots=True)
class Ipv6Up:
    """IPv6 packets pass too, as soon as the link is up: before LinkUp, after it, or never."""

    local_identifier: bytes
    """Our interface identifier, eight octets."""


@dataclass(frozen=True, slots=True)
class Ipv6Down:
    """IPv6 packets pass no more; nothing else changes."""

    reason: str


@dataclass(frozen=True, slots=True)
class LinkFailing:
    """The link will end, for this reason; LinkDown follows after the farewells."""

    error: TunnelError


@dataclass(frozen=True, slots=True)
class LinkDown:
    """Terminal: send what data_to_send() gives and close the transport."""

    error: TunnelError | None
    """None when close() was the reason."""


LinkEvent = (
    PhaseEntered
    | CredentialsWanted
    | PasswordChanged
    | LinkUp
    | LinkResumed
    | Ipv6Up
    | Ipv6Down
    | LinkFailing
    | LinkDown
)


class _Headers(dict[int, bytes]):
    """The headers of data packets with one kind of frame, by the size of what they carry; made when first asked for."""

    def __init__(self, kind: int) -> None:
        self._kind = kind

    def __missing__(self, size: int) -> bytes:
        header = self[size] = data_header(size, self._kind)
        return header


class Link:
    """SSTP and PPP of one connection, in either role."""

    def __init__(self, sstp: SstpClient | SstpServer, ppp: PppPeer) -> None:
        self.sstp = sstp
        self.ppp = ppp
        self.phase = LinkPhase.SSTP
        self.error: TunnelError | None = None
        """Why the link ended or is ending; None while it runs and after close()."""
        self._rest = b""
        self._events: deque[LinkEvent] = deque()
        self._username = ""
        self.method: AuthMethod | None = None
        """How the client has logged in; None: not yet, or without having to."""
        self._closing = False
        self._up: LinkUp | None = None
        self._farewell_deadline: float | None = None
        self._headers = _Headers(_IP_FRAME)
        self._ipv6_headers = _Headers(_IPV6_FRAME)
        self._witnesses: dict[int, float] = {}
        self.watch: Callable[[bytes, float], None] | None = None
        """Shown each SSTP packet from the server that is none of an open link's IP packets."""
        self.asked_at = -math.inf
        """When the server was asked last whether it lives."""
        self.echo_seconds: float | None = None
        """How long the last answer to an echo request took."""
        self.answered_through = -math.inf
        """When the latest LCP Echo-Request was sent that the peer has answered: it has seen all we sent before."""

    def __repr__(self) -> str:
        return f"<Link {self.phase.value} {self.sstp!r} {self.ppp!r}>"

    @property
    def carries_ip(self) -> bool:
        """Whether IP packets may be sent now: the link is up and has not begun to end."""
        return self.phase is LinkPhase.UP and self.error is None

    # Called by the driver

    def start(self, now: float) -> None:
        """Begin: the HTTP prelude is done. The server role waits for the client's call, but not for ever."""
        if isinstance(self.sstp, SstpClient):
            self.sstp.connect(now)
        else:
            self.sstp.accept(now)

    def receive_data(self, data: bytes, now: float) -> tuple[bytes, list[tuple[int, int]]]:
        """Take decrypted bytes; return ``(buffer, spans)``: the IP packets among them are ``buffer[start:end]``.

        Never raises on what the peer sent: a broken rule ends the link (LinkDown).
        """
        spans: list[tuple[int, int]] = []
        if self.phase is LinkPhase.CLOSED or not data:
            return data, spans
        if self._rest:
            data = self._rest + data
        self.sstp.last_received = now
        try:
            position = self._receive_run(data, spans, now)
        except RemoteProtocolError as error:
            self._broken(error, now)
            return data, spans
        self._rest = data[position:] if position < len(data) else b""
        return data, spans

    def _receive_run(self, data: bytes, spans: list[tuple[int, int]], now: float) -> int:
        """Walk the SSTP packets in ``data``; return the position of the first incomplete one."""
        position = 0
        size = len(data)
        while True:
            ip_frame, ipv6_frame = self._open_frames()
            position = find_frames(data, position, ip_frame, ipv6_frame, spans)
            if size - position < HEADER_SIZE:
                break
            # MS-SSTP 2.2.1: the four reserved bits above the length are ignored on receipt.
            length = (data[position + 2] & 0x0F) << 8 | data[position + 3]
            well_formed = data[position] == VERSION and length >= HEADER_SIZE
            end = position + (length if well_formed else HEADER_SIZE)
            if end > size:
                break
            if not self._take_compressed_ip(data, position, end, spans):
                if self.watch is not None:
                    self.watch(data[position:end], now)
                self.sstp.receive_packet(data[position:end], now)
                self._exchange(now)
                if self.phase is LinkPhase.CLOSED:
                    return size
            position = end
        return position

    def _open_frames(self) -> tuple[int, int]:
        """Return how frames of IPv4 and of IPv6 begin that may pass now, -1 for what may not."""
        if not self.sstp.passes_data:
            return -1, -1
        return (_IP_FRAME if self.ppp.ipv4_open else -1, _IPV6_FRAME if self.ppp.ipv6_open else -1)

    def _take_compressed_ip(self, data: bytes, position: int, end: int, spans: list[tuple[int, int]]) -> bool:
        """Take an IP frame with a compressed header (RFC 1661 6.5, 6.6); return whether it was one that may pass."""
        if not self.sstp.passes_data:
            return False
        if data[position] != VERSION or data[position + 1] & 1 or end - position <= HEADER_SIZE:
            return False
        try:
            protocol, offset = parse_frame(data[position + HEADER_SIZE : end])
        except RemoteProtocolError:
            return False  # PPP drops and counts it
        if not (self.ppp.ipv4_open if protocol == PROTOCOL_IP else protocol == PROTOCOL_IPV6 and self.ppp.ipv6_open):
            return False
        spans.append((position + HEADER_SIZE + offset, end))
        return True

    def frame_packets(self, packets: list[bytes]) -> bytes:
        """Wrap IP packets of either version into SSTP data packets; only while ``carries_ip``.

        IPv6 packets are left out while IPV6CP is not open: RFC 5072 section 2, "Before any IPv6 packets may be
        communicated, [...] the IPv6 Control Protocol MUST reach the Opened state".
        """
        headers, ipv6_headers, ipv6_open = self._headers, self._ipv6_headers, self.ppp.ipv6_open
        pieces: list[bytes] = []
        for packet in packets:
            if packet[0] < _IPV6_FIRST_OCTET:
                pieces.append(headers[len(packet)])
            elif ipv6_open:
                pieces.append(ipv6_headers[len(packet)])
            else:
                continue
            pieces.append(packet)
        return b"".join(pieces)

    def data_to_send(self, now: float) -> list[bytes]:
        """Return the control packets to send now, in order."""
        return self.sstp.data_to_send(now)

    def next_event(self) -> LinkEvent | None:
        """Return the next event, or None."""
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        if self.phase is LinkPhase.CLOSED:
            return None
        times = (self.sstp.poll_at(), self.ppp.poll_at(), self._farewell_deadline)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Let the timers of both machines act."""
        if self.phase is LinkPhase.CLOSED:
            return
        self.sstp.handle_timer(now)
        self.ppp.handle_timer(now)
        self._exchange(now)
        if self._farewell_deadline is not None and now >= self._farewell_deadline:
            self._disconnect(now)
            self._exchange(now)

    def send_witness(self, now: float) -> None:
        """Send an LCP Echo-Request, unless one is under way: the answer moves answered_through."""
        if self._witnesses and now - max(self._witnesses.values()) < WITNESS_INTERVAL:
            return
        identifier = self.ppp.send_echo_request(now)
        if identifier is not None:
            self._witnesses[identifier] = now
        self._exchange(now)

    def ask_for_life(self, now: float) -> None:
        """Have the server answer, by SSTP and by LCP, as some answer only one of them (MS-SSTP 3.1.6.3, RFC 1661)."""
        if self.carries_ip:
            self.sstp.send_echo_request()
            self.asked_at = now
            self.send_witness(now)

    def retry_authentication(self, credentials: Credentials, now: float) -> None:
        """Answer CredentialsWanted. Raises LocalProtocolError for credentials that were refused before."""
        self.ppp.retry_authentication(credentials, now)
        self._exchange(now)

    def close(self, now: float) -> None:
        """End in order: LCP Terminate-Request, then CALL_DISCONNECT; LinkDown follows."""
        if self.phase in (LinkPhase.CLOSED, LinkPhase.CLOSING):
            return
        self._closing = True
        self.phase = LinkPhase.CLOSING
        self._farewell_deadline = now + PPP_FAREWELL_TIME
        self.ppp.close(now)
        self._exchange(now)

    def fail(self, error: TunnelError, now: float) -> None:
        """End in order because of ``error``, which LinkDown will carry."""
        self._fail(error)
        self.close(now)

    def transport_lost(self, error: TunnelError, now: float) -> None:
        """The connection is gone: clean up at once with nothing sent (MS-SSTP 3.2.7.1)."""
        if self.phase is LinkPhase.CLOSED:
            return
        if self._up is not None and not self._closing:
            self._fail(error)
        # Before the link was up the machine's own words say more: they know what the moment means.
        self.sstp.lower_layer_lost(now)
        self._exchange(now)
        if not self._closing:
            self._fail(error)
        self._down()

    # Carrying events from one machine to the other

    def _exchange(self, now: float) -> None:
        busy = True
        while busy and self.phase is not LinkPhase.CLOSED:
            busy = False
            while (sstp_event := self.sstp.next_event()) is not None:
                busy = True
                self._on_sstp(sstp_event, now)
            while (ppp_event := self.ppp.next_event()) is not None:
                busy = True
                self._on_ppp(ppp_event, now)
            for frame in self.ppp.frames_to_send(now):
                busy = True
                if not self.sstp.closed:
                    self.sstp.send_frame(frame, now)

    def _on_sstp(self, event: sstp_events.SstpEvent, now: float) -> None:
        match event:
            case sstp_events.CallAccepted():
                self._enter(LinkPhase.LCP, "call accepted")
                self.ppp.open(now)
            case sstp_events.FrameReceived(frame):
                try:
                    self.ppp.receive_frame(frame, now)
                except RemoteProtocolError as error:
                    self._broken(error, now)
            case sstp_events.CallConnected():
                self._enter(
                    LinkPhase.ADDRESSES, "crypto binding sent" if self._is_client else "crypto binding verified"
                )
                self.ppp.start_network(now)
            case sstp_events.EchoRequested():
                self.asked_at = now
                identifier = self.ppp.send_echo_request(now)
                if identifier is not None:
                    self._witnesses[identifier] = now
            case sstp_events.CallEnding():
                if not self._closing:
                    self._fail(self._error_of(event.reason, event.status, event.text))
            case sstp_events.CallEnded():
                if not self._closing:
                    self._fail(self._error_of(event.reason, event.status, event.text))
                self.ppp.lower_layer_down(now)
                self._down()

    def _on_ppp(self, event: ppp_events.PppEvent, now: float) -> None:
        match event:
            case ppp_events.LcpOpened(peer_mru, method):
                name = "no authentication" if method is None else "EAP" if method.is_eap else method.value
                wanted = f"server asks for {name}"
                self._enter(LinkPhase.AUTHENTICATION, f"MRU {peer_mru}, {wanted}")
            case ppp_events.AuthenticationSucceeded():
                self._authenticated(event, now)
            case ppp_events.AuthenticationRefused():
                if event.retry_allowed:
                    self._events.append(CredentialsWanted(event.code, event.message, event.hint))
                else:
                    self._fail(AuthenticationFailed(event.message, code=event.code, hint=event.hint))
            case ppp_events.Ipv4Opened(local, peer, dns, nbns):
                self._addressed(LinkUp(local, peer, dns, nbns, self.ppp.peer_mru, self._username), now)
            case ppp_events.Ipv4Closed(_, True) if not self._closing and self.error is None:
                self.phase = LinkPhase.ADDRESSES
            case ppp_events.Ipv4Closed(reason):
                if not self._closing:
                    self._fail(self._ended_by_ppp(reason))
                self.ppp.close(now)
            case ppp_events.Ipv6Opened(local_identifier, _):
                self._events.append(Ipv6Up(local_identifier))
            case ppp_events.Ipv6Closed(reason):
                self._events.append(Ipv6Down(reason))
            case ppp_events.Failed(error):
                self._fail(error)
                self._disconnect(now)
            case ppp_events.Finished(reason, _by_peer):
                if not self._closing and self.error is None:
                    self._fail(self._ended_by_ppp(reason))
                self._disconnect(now)
            case ppp_events.EchoReplied(identifier):
                sent_at = self._witnesses.pop(identifier, None)
                if sent_at is not None:
                    self.echo_seconds = now - sent_at
                if sent_at is not None and sent_at > self.answered_through:
                    self.answered_through = sent_at
            case ppp_events.IpPacketReceived():
                # Any packet counted as life already (MS-SSTP 3.2.6); IP of an open link never comes this way.
                pass

    def _addressed(self, up: LinkUp, now: float) -> None:
        """IPCP is open, for the first time or anew: then everything that runs needs the same address."""
        self.phase = LinkPhase.UP
        before = self._up
        if before is None:
            self._up = up
            self._events.append(up)
        elif up.local == before.local:
            self._up = up
            self._events.append(LinkResumed(up))
        else:
            self._fail(TunnelClosed(f"server renegotiated IPCP, and gives {up.local} instead of {before.local}"))
            self.ppp.close(now)

    def _authenticated(self, event: ppp_events.AuthenticationSucceeded, now: float) -> None:
        self._username = event.username
        self.method = event.method
        if event.password_changed:
            self._events.append(PasswordChanged())
        method = event.method.value if isinstance(event.method, AuthMethod) else "no authentication"
        self._enter(LinkPhase.ADDRESSES if self._is_client else self.phase, f"{method} succeeded")
        self.sstp.authenticated(event.hlak, now)

    def _disconnect(self, now: float) -> None:
        if self.phase is LinkPhase.CLOSED:
            return  # both machines have ended at the same moment
        self.phase = LinkPhase.CLOSING
        self._farewell_deadline = None
        if self.sstp.closed:
            self._down()
            return
        try:
            self.sstp.disconnect(now)
        except LocalProtocolError:
            # Already ending: the machine's own timers finish it.
            return

    # Ends

    @property
    def _is_client(self) -> bool:
        return isinstance(self.sstp, SstpClient)

    def _enter(self, phase: LinkPhase, text: str) -> None:
        if self.phase in (LinkPhase.CLOSING, LinkPhase.CLOSED) or phase is self.phase:
            return
        self.phase = phase
        if self._up is None:
            self._events.append(PhaseEntered(phase, text))

    def _fail(self, error: TunnelError) -> None:
        """Record why the link ends; the first reason is the one that counts."""
        if self.error is None:
            self.error = error
            self._events.append(LinkFailing(error))

    def _broken(self, error: RemoteProtocolError, now: float) -> None:
        text = f"server broke the protocol ({error.layer or 'sstp'}): {error}"
        self._fail(TunnelClosed(text) if self._up is not None else CallRejected(text, hint=error.hint))
        self.sstp.lower_layer_lost(now)
        self.ppp.lower_layer_down(now)
        self._down()

    def _down(self) -> None:
        if self.phase is not LinkPhase.CLOSED:
            self.phase = LinkPhase.CLOSED
            self._rest = b""
            self._events.append(LinkDown(self.error))

    def _ended_by_ppp(self, reason: str) -> TunnelError:
        if self._up is not None and self.ppp.limit is not None:
            return SessionLimitReached(f"server ended the session, as {self.ppp.limit.value}: {reason}")
        if self._up is not None:
            return TunnelClosed(f"server ended the PPP link: {reason}")
        return CallRejected(f"server ended the PPP link during {self.phase.value}: {reason}")

    def _error_of(self, reason: EndReason, status: int | None, text: str) -> TunnelError:
        if reason is EndReason.PEER_SILENT:
            return PeerUnresponsive(text, hint="the network path or the server is gone")
        if self._up is not None and reason is EndReason.PEER_DISCONNECTED:
            return TunnelClosed(text, hint=_ORDERLY_HINT)
        if self._up is not None:
            return TunnelClosed(text)
        if reason is EndReason.NEGOTIATION_TIMEOUT:
            return NegotiationFailed(text, protocol="sstp", hint="the server may be overloaded; try again")
        return CallRejected(text, sstp_status=status)
