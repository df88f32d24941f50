"""One end of a PPP link: the phases of RFC 1661 section 3 over LCP, authentication, IPCP and IPV6CP.

Theory of operation. Frames go to the machine of their protocol. After every input _pump() takes what the machines have
to send and to say until they are silent: LCP's this-layer-up starts the authentication (login.py), its success makes
the phase NETWORK, and the owner's start_network() starts the NCPs (network.py), because SSTP must have sent
CALL_CONNECTED before the first packet of one (MS-SSTP 3.2.5.2). One deadline at a time watches over the phase. Bad
frames are dropped and counted, as RFC 1661 has it, so that nothing a peer sends raises an error.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from ..base.entropy import Entropy
from ..errors import AuthenticationFailed, LocalProtocolError, NegotiationFailed, RemoteProtocolError, TunnelError
from .auth import ZERO_HLAK, AuthEvent, AuthRefused, Credentials
from .automaton import Event, State
from .config import PppConfig, Role
from .control import EchoReply, LayerDown, LayerFailed, LayerFinished, LayerUp, PeerTerminated, ProtocolRejected, Signal
from .events import (
    AuthenticationRefused,
    AuthenticationSucceeded,
    EchoReplied,
    Failed,
    Finished,
    IpPacketReceived,
    LcpOpened,
    PppEvent,
)
from .lcp import Lcp
from .login import Login
from .network import NetworkProtocols
from .packet import DEFAULT_MRU, PROTOCOL_EAP, PROTOCOL_IP, PROTOCOL_IPV6, PROTOCOL_LCP, build_frame, parse_frame
from .texts import Limit, limit_named, no_answer, peer_ended_login, terminate_text

__all__ = ["Limit", "Phase", "PppConfig", "PppCounters", "PppPeer", "Role"]

# Seconds that a server which rejects an EAP packet has for asking for something else in LCP. SoftEther does at once.
EAP_REJECT_GRACE = 3.0

_REJECTS_LCP = "rejects the essentials of LCP"


class Phase(Enum):
    """The phases of RFC 1661 section 3.2."""

    DEAD = "dead"
    ESTABLISH = "establish"
    AUTHENTICATE = "authenticate"
    NETWORK = "network"
    TERMINATE = "terminate"


@dataclass(slots=True)
class PppCounters:
    """Frames that did not do what their sender wanted."""

    malformed: int = 0
    """Frames without a whole protocol field."""
    discarded: int = 0
    """Packets that RFC 1661 has discarded: malformed, unexpected, or not for this phase."""
    protocol_rejects_sent: int = 0
    """Packets of protocols that we do not speak: CCP, ECP, CBCP and so on."""


class PppPeer:
    """The whole of PPP for one link, sans IO. See config.py for what it is told and events.py for what it tells."""

    def __init__(self, config: PppConfig, entropy: Entropy) -> None:
        self._config = config
        self._client = config.role is Role.CLIENT
        self._lcp = Lcp(config, entropy)
        self._login = Login(config, entropy)
        self._frames: list[bytes] = []
        self._events: deque[PppEvent] = deque()
        self.network = NetworkProtocols(config, entropy, self._events.append)
        """IPCP and IPV6CP."""
        self._deadline: float | None = None
        self._late_error: NegotiationFailed | None = None
        """What the deadline means, when it is not that the peer was too slow."""
        self._authenticated = False
        self._end_reason = ""
        self._ended_by_peer = False
        self._over = False
        self.phase = Phase.DEAD
        """Where the link stands."""
        self.peer_mru = DEFAULT_MRU
        """The largest IP packet, in octets, that the peer takes."""
        self.limit: Limit | None = None
        """The limit that the peer named when it ended PPP, None when it named none."""
        self.counters = PppCounters()
        """What was dropped."""

    def __repr__(self) -> str:
        """Show the phase and the states of the control protocols."""
        role, over = self._config.role.value, " over" if self._over else ""
        return f"<PppPeer {role} {self.phase.name} LCP {self._lcp.state.name} {self.network!r}{over}>"

    @property
    def ipv4_open(self) -> bool:
        """Whether IPv4 packets may pass."""
        return self.network.ipv4_open

    @property
    def ipv6_open(self) -> bool:
        """Whether IPv6 packets may pass."""
        return self.network.ipv6_open

    # What the owner does.

    def open(self, now: float) -> None:
        """Begin: the carrier is up. We speak first, since SoftEther waits for it."""
        if self._over or self.phase is not Phase.DEAD:
            raise LocalProtocolError(f"PPP cannot be opened in phase {self.phase.name}", layer="ppp")
        self._enter_establish(now)
        self._lcp.open(now)
        self._lcp.up(now)
        self._pump(now)

    def lower_layer_down(self, now: float) -> None:
        """Learn that the carrier is gone. Nothing is sent and no Finished comes."""
        self._lcp.down(now)
        self._leave_network("the connection to the peer is gone", now)
        self._pump(now)
        self._frames.clear()
        self._deadline = None
        self.phase = Phase.DEAD
        self._over = True

    def close(self, now: float) -> None:
        """Terminate LCP in order; Finished comes when the peer has agreed or stays silent."""
        if self._over:
            return
        if self.phase is Phase.DEAD:
            self._finish("closed before it was opened")
            return
        self._terminate("closed by us", now)
        self._pump(now)

    def start_network(self, now: float) -> None:
        """Start IPCP and IPV6CP: CALL_CONNECTED has been sent or verified.

        Raises LocalProtocolError before AuthenticationSucceeded. When the peer has begun to renegotiate LCP since then,
        they start after the next authentication.
        """
        if self._over or self.network.started:
            return
        if not self._authenticated:
            raise LocalProtocolError(f"no network protocols in phase {self.phase.name}", layer="ppp")
        for protocol, information in self.network.start(now):
            self._deliver(protocol, memoryview(information), now)
        self._pump(now)

    def retry_authentication(self, credentials: Credentials, now: float) -> None:
        """Answer an AuthenticationRefused that allows it.

        Raises LocalProtocolError when no retry is due or the credentials were refused before, ConfigError when the
        method cannot carry them; either leaves the machine waiting.
        """
        if self._over:
            raise LocalProtocolError("no other log-in is due", layer="ppp")
        self._login.retry(credentials, now)
        self._deadline = now + self._config.authentication_timeout
        self._pump(now)

    def send_echo_request(self, now: float) -> int | None:
        """Send an LCP Echo-Request and return its identifier; EchoReplied follows. None when LCP is not open."""
        identifier = None if self._over else self._lcp.send_echo_request()
        self._pump(now)
        return identifier

    # The contract of a machine.

    def receive_frame(self, frame: bytes, now: float) -> None:
        """Take one PPP frame, in any of its forms. Never raises because of what is in it."""
        if self._over:
            return
        try:
            protocol, offset = parse_frame(frame)
        except RemoteProtocolError:
            self.counters.malformed += 1
            return
        if protocol in (PROTOCOL_IP, PROTOCOL_IPV6):
            if self.ipv4_open if protocol == PROTOCOL_IP else self.ipv6_open:
                self._events.append(IpPacketReceived(frame[offset:]))
            else:
                self.counters.discarded += 1
            return
        self._deliver(protocol, memoryview(frame)[offset:], now)
        self._pump(now)

    def frames_to_send(self, now: float) -> list[bytes]:
        """Return the frames to send now and forget them."""
        frames, self._frames = self._frames, []
        return frames

    def next_event(self) -> PppEvent | None:
        """Return the next event, or None."""
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        if self._over:
            return None
        times = [self._deadline, self._lcp.poll_at(), self._login.poll_at(), self.network.poll_at()]
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Let whatever is due happen."""
        if self._over:
            return
        self._lcp.handle_timer(now)
        self.network.handle_timer(now)
        self._login.handle_timer(now)
        self._pump(now)
        if self._deadline is not None and now >= self._deadline:
            protocol = "lcp" if self.phase is Phase.ESTABLISH else "authentication"
            self._fail(self._late_error or no_answer(protocol, self._config), now)
        elif (error := self.network.overdue(now)) is not None:
            self._fail(error, now)

    # Frames in and out.

    def _deliver(self, protocol: int, information: memoryview, now: float) -> None:
        try:
            self._route(protocol, information, now)
        except RemoteProtocolError:
            self.counters.discarded += 1

    def _route(self, protocol: int, information: memoryview, now: float) -> None:
        if protocol == PROTOCOL_LCP:
            self._lcp.receive_packet(information, now)
        elif protocol == self._login.protocol:
            self._login.receive(information, now)
        elif self.phase is not Phase.NETWORK:
            # RFC 1661 sections 3.4, 3.5 and 3.7: whatever else comes before the network phase or after it "MUST be
            # silently discarded".
            self.counters.discarded += 1
        elif not self.network.speaks(protocol):
            # Windows and pppd repeat CCP until it is rejected, some even after: answering each costs nothing.
            self.counters.protocol_rejects_sent += 1
            self._lcp.protocol_reject(protocol, information)
        elif not self.network.receive(protocol, information, now):
            self.counters.discarded += 1

    def _collect(self, now: float) -> None:
        self._frames += [build_frame(PROTOCOL_LCP, packet) for packet in self._lcp.packets_to_send()]
        self._frames += self._login.frames_to_send(now)
        self._frames += self.network.frames_to_send()

    def _pump(self, now: float) -> None:
        """Let the machines' signals act until there are none; what a machine sent goes out before what follows."""
        while not self._over:
            self._collect(now)
            if (signal := self._lcp.next_signal()) is not None:
                self._on_lcp_signal(signal, now)
            elif (verdict := self._login.next_event()) is not None:
                self._on_verdict(verdict, now)
            elif (result := self.network.step(now)) is False:
                return
            elif result is not True:
                self._fail(result, now)

    # LCP.

    def _on_lcp_signal(self, signal: Signal, now: float) -> None:
        match signal:
            case LayerUp():
                self._on_lcp_up(now)
            case LayerDown(cause):
                self._on_lcp_down(cause, now)
            case LayerFinished(cause):
                self._on_lcp_finished(cause, now)
            case PeerTerminated():
                self._on_peer_terminated(signal, now)
            case LayerFailed(error):
                self._fail(error, now)
            case ProtocolRejected(protocol):
                self._on_protocol_rejected(protocol, now)
            case EchoReply(identifier):
                self._events.append(EchoReplied(identifier))

    def _on_lcp_up(self, now: float) -> None:
        method = self._lcp.method
        self.peer_mru = self._lcp.peer_mru
        self._events.append(LcpOpened(self.peer_mru, method))
        if method is None:
            self._on_authenticated(AuthenticationSucceeded(None, ZERO_HLAK, ""), now)
            return
        self.phase = Phase.AUTHENTICATE
        self._deadline = now + self._config.authentication_timeout
        if self._login.refused:
            # LCP was renegotiated while the owner was to find other credentials: the refused ones stay unsent.
            self._refuse(AuthRefused(method, None, False, "the server started the log-in anew after refusing it"), now)
            return
        try:
            self._login.begin(method, now)
        except AuthenticationFailed as error:
            self._fail(error, now)

    def _on_lcp_down(self, cause: Event, now: float) -> None:
        if cause in {Event.RTR, Event.CLOSE, Event.DOWN, Event.RXJ_MINUS}:
            self.phase = Phase.TERMINATE
            self._deadline = None
            if cause is Event.RXJ_MINUS:
                self._end_reason = f"{self._config.peer_name} {_REJECTS_LCP}"
            self._leave_network(self._end_reason, now)
        else:
            self._enter_establish(now)
            self._leave_network(f"{self._config.peer_name} renegotiates LCP", now, renegotiated=True)

    def _enter_establish(self, now: float) -> None:
        self.phase = Phase.ESTABLISH
        self._deadline = now + self._config.lcp_timeout
        self._late_error = None

    def _leave_network(self, reason: str, now: float, *, renegotiated: bool = False) -> None:
        self._login.end()
        self.network.down(reason, now, renegotiated=renegotiated)

    def _on_lcp_finished(self, cause: Event, now: float) -> None:
        if cause is Event.RXJ_MINUS:
            self._fail(NegotiationFailed(f"{self._config.peer_name} {_REJECTS_LCP}", protocol="lcp"), now)
        elif self.phase is Phase.ESTABLISH:
            self._fail(no_answer("lcp", self._config), now)
        else:
            self._finish(self._end_reason)

    def _on_peer_terminated(self, signal: PeerTerminated, now: float) -> None:
        who, text = self._config.peer_name, terminate_text(signal.data)
        if self.phase is Phase.TERMINATE:
            return  # both ends close
        self._end_reason = f"{who} ended PPP{text}"
        self._ended_by_peer = True
        self.limit = limit_named(text)
        if signal.before_open:
            if not self._client:
                self._terminate(self._end_reason, now)
            elif self._lcp.choice.refused_any:
                self._fail(self._lcp.choice.failure(f"it ended PPP{text}"), now)
            else:
                message = f"the server ended PPP in the middle of LCP{text}"
                self._fail(NegotiationFailed(message, protocol="lcp", hint="Try again."), now)
        elif self.phase is Phase.AUTHENTICATE and self._client and not self._login.refused:
            self._events.append(peer_ended_login(self._lcp.method, text))

    def _on_protocol_rejected(self, protocol: int, now: float) -> None:
        if protocol == self._login.protocol:
            message = f"{self._config.peer_name} rejects the authentication protocol that it agreed to"
            rejection = NegotiationFailed(message, protocol="authentication")
            if protocol == PROTOCOL_EAP:
                # SoftEther answers a Nak of EAP-TLS so, and then asks for something else in LCP.
                self._late_error = rejection
                self._deadline = now + EAP_REJECT_GRACE
            else:
                self._fail(rejection, now)
        elif (error := self.network.reject(protocol, now)) is not None:
            self._fail(error, now)

    # Authentication.

    def _on_verdict(self, verdict: AuthEvent, now: float) -> None:
        if isinstance(verdict, AuthRefused):
            self._refuse(verdict, now)
        elif self.phase is Phase.AUTHENTICATE:
            event = AuthenticationSucceeded(
                verdict.method, verdict.hlak, verdict.username, verdict.message, verdict.password_changed
            )
            self._on_authenticated(event, now)

    def _on_authenticated(self, event: AuthenticationSucceeded, now: float) -> None:
        self.phase = Phase.NETWORK
        self._authenticated = True
        self._deadline = None
        if not self.network.started:
            self._events.append(event)
        # else: LCP was renegotiated later on. SSTP has had its CALL_CONNECTED, and there is only one.
        self.network.up(self.peer_mru, now, peer_is_plain=self._lcp.peer_is_plain)

    def _refuse(self, verdict: AuthRefused, now: float) -> None:
        self._login.refused = True
        self._events.append(
            AuthenticationRefused(verdict.method, verdict.code, verdict.retry_allowed, verdict.message, verdict.hint)
        )
        if not verdict.retry_allowed:
            self._terminate("the authentication was refused", now)
        elif self._client:
            self._deadline = None  # the owner asks the user

    # Ends.

    def _terminate(self, reason: str, now: float) -> None:
        self._end_reason = self._end_reason or reason
        self.phase = Phase.TERMINATE
        self._deadline = None
        self._lcp.close(now)
        self._leave_network(self._end_reason, now)

    def _finish(self, reason: str) -> None:
        self.network.close(reason)
        self._events.append(Finished(reason, self._ended_by_peer))
        self._end()

    def _fail(self, error: TunnelError, now: float) -> None:
        self._collect(now)
        if self._lcp.state >= State.REQ_SENT:
            # As a courtesy: nobody waits for the answer.
            self._lcp.close(now)
        self._collect(now)
        self.network.close(str(error))
        self._events.append(Failed(error))
        self._end()

    def _end(self) -> None:
        self.phase = Phase.TERMINATE
        self._login.end()
        self._deadline = None
        self._over = True
