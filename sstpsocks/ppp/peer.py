"""One end of a PPP link: the phases of RFC 1661 section 3 over LCP, authentication, IPCP and IPV6CP.

Theory of operation. Frames go to the machine of their protocol. After every input _pump() takes what the machines have
to send and to say until they are silent: LCP's this-layer-up starts the authentication, its success makes the phase
NETWORK, and the owner's start_network() starts the NCPs, because SSTP must have sent CALL_CONNECTED before the first
packet of one (MS-SSTP 3.2.5.2). One deadline at a time watches over the phase; IPV6CP is outside of it, since the link
lives by IPCP, and whatever happens to IPv6 means at most that there is none. Bad frames are dropped and counted, as RFC
1661 has it, so that nothing a peer sends raises an error.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from ..base.entropy import Entropy
from ..errors import (
    AuthenticationFailed,
    ConfigError,
    LocalProtocolError,
    NegotiationFailed,
    RemoteProtocolError,
    TunnelError,
)
from .auth import ZERO_HLAK, Authenticator, AuthEvent, AuthMethod, AuthRefused, Credentials
from .authenticators import make_client, make_server
from .automaton import Event, State
from .config import PppConfig, Role
from .control import (
    EchoReply,
    LayerDown,
    LayerFailed,
    LayerFinished,
    LayerUp,
    PeerTerminated,
    ProtocolRejected,
    Signal,
)
from .events import (
    AuthenticationRefused,
    AuthenticationSucceeded,
    EchoReplied,
    Failed,
    Finished,
    IpPacketReceived,
    Ipv4Closed,
    Ipv4Opened,
    Ipv6Closed,
    Ipv6Opened,
    LcpOpened,
    PppEvent,
)
from .ipcp import Ipcp
from .ipv6cp import Ipv6cp
from .lcp import Lcp
from .packet import (
    DEFAULT_MRU,
    PROTOCOL_IP,
    PROTOCOL_IPCP,
    PROTOCOL_IPV6,
    PROTOCOL_IPV6CP,
    PROTOCOL_LCP,
    build_frame,
    parse_frame,
)
from .texts import no_answer, peer_ended_login, terminate_text

__all__ = ["Phase", "PppConfig", "PppCounters", "PppPeer", "Role"]

# A peer may send its first packets of an NCP before start_network(). A handful is all that an honest one has to say.
MAX_HELD_PACKETS = 16

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
        self._entropy = entropy
        self._client = config.role is Role.CLIENT
        self._lcp = Lcp(config, entropy)
        self._ipcp = Ipcp(config)
        self._ipv6cp = Ipv6cp(config, entropy) if config.ipv6 else None
        self._authenticator: Authenticator | None = None
        self._credentials = config.credentials
        self._credentials_refused = False
        self._frames: list[bytes] = []
        self._events: deque[PppEvent] = deque()
        self._deadline: float | None = None
        self._held: list[tuple[int, bytes]] = []
        self._authenticated = False
        self._network_started = False
        self._ipv6cp_started = False
        self._terminated_ipcp = False
        self._end_reason = ""
        self._ended_by_peer = False
        self._over = False
        self.phase = Phase.DEAD
        """Where the link stands."""
        self.peer_mru = DEFAULT_MRU
        """The largest IP packet, in octets, that the peer takes."""
        self.ipv4_open = False
        """Whether IPv4 packets may pass."""
        self.ipv6_open = False
        """Whether IPv6 packets may pass."""
        self.counters = PppCounters()
        """What was dropped."""

    def __repr__(self) -> str:
        """Show the phase and the states of the control protocols."""
        return (
            f"<PppPeer {self._config.role.value} {self.phase.name} LCP {self._lcp.state.name} "
            f"IPCP {self._ipcp.state.name}{' IPv6' if self.ipv6_open else ''}{' over' if self._over else ''}>"
        )

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
        if self._over or self._network_started:
            return
        if not self._authenticated:
            raise LocalProtocolError(f"no network protocols in phase {self.phase.name}", layer="ppp")
        self._network_started = True
        self._ipcp.open(now)
        if self._ipv6cp is not None:
            self._ipv6cp.open(now)
        if self.phase is not Phase.NETWORK:
            return
        self._start_ncps(now)
        held, self._held = self._held, []
        for protocol, information in held:
            self._deliver(protocol, memoryview(information), now)
        self._pump(now)

    def retry_authentication(self, credentials: Credentials, now: float) -> None:
        """Answer an AuthenticationRefused that allows it.

        Raises LocalProtocolError when no retry is due or the credentials were refused before, ConfigError when the
        method cannot carry them; either leaves the machine waiting.
        """
        if self._over or self._authenticator is None or not self._credentials_refused:
            raise LocalProtocolError("no other log-in is due", layer="ppp")
        self._authenticator.retry(credentials, now)
        self._credentials = credentials
        self._credentials_refused = False
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
        times = [self._deadline, self._lcp.poll_at(), self._ipcp.poll_at()]
        if self._ipv6cp is not None:
            times.append(self._ipv6cp.poll_at())
        if self._authenticator is not None:
            times.append(self._authenticator.poll_at())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Let whatever is due happen."""
        if self._over:
            return
        self._lcp.handle_timer(now)
        self._ipcp.handle_timer(now)
        if self._ipv6cp is not None:
            self._ipv6cp.handle_timer(now)
        if self._authenticator is not None:
            self._authenticator.handle_timer(now)
        self._pump(now)
        if self._deadline is not None and now >= self._deadline:
            protocol = {Phase.ESTABLISH: "lcp", Phase.AUTHENTICATE: "authentication"}.get(self.phase, "ipcp")
            self._fail(no_answer(protocol, self._config), now)

    # Frames in and out.

    def _deliver(self, protocol: int, information: memoryview, now: float) -> None:
        try:
            self._route(protocol, information, now)
        except RemoteProtocolError:
            self.counters.discarded += 1

    def _route(self, protocol: int, information: memoryview, now: float) -> None:
        if protocol == PROTOCOL_LCP:
            self._lcp.receive_packet(information, now)
        elif self._authenticator is not None and protocol == self._authenticator.protocol:
            self._authenticator.receive_packet(bytes(information), now)
        elif self.phase is not Phase.NETWORK:
            # RFC 1661 sections 3.4, 3.5 and 3.7: whatever else comes before the network phase or after it "MUST be
            # silently discarded".
            self.counters.discarded += 1
        elif (ncp := self._ncp(protocol)) is None:
            # Windows and pppd repeat CCP until it is rejected, some even after: answering each costs nothing.
            self.counters.protocol_rejects_sent += 1
            self._lcp.protocol_reject(protocol, information)
        elif self._network_started:
            if ncp is self._ipv6cp:
                self._start_ipv6cp(now)
            ncp.receive_packet(information, now)
        elif len(self._held) < MAX_HELD_PACKETS:
            self._held.append((protocol, bytes(information)))
        else:
            self.counters.discarded += 1

    def _ncp(self, protocol: int) -> Ipcp | Ipv6cp | None:
        if protocol == PROTOCOL_IPCP:
            return self._ipcp
        return self._ipv6cp if protocol == PROTOCOL_IPV6CP else None

    def _collect(self, now: float) -> None:
        self._frames += [build_frame(PROTOCOL_LCP, packet) for packet in self._lcp.packets_to_send()]
        if self._authenticator is not None:
            protocol = self._authenticator.protocol
            self._frames += [build_frame(protocol, packet) for packet in self._authenticator.packets_to_send(now)]
        self._frames += [build_frame(PROTOCOL_IPCP, packet) for packet in self._ipcp.packets_to_send()]
        if self._ipv6cp is not None:
            self._frames += [build_frame(PROTOCOL_IPV6CP, packet) for packet in self._ipv6cp.packets_to_send()]

    def _pump(self, now: float) -> None:
        """Let the machines' signals act until there are none; what a machine sent goes out before what follows."""
        while not self._over:
            self._collect(now)
            if (signal := self._lcp.next_signal()) is not None:
                self._on_lcp_signal(signal, now)
            elif self._authenticator is not None and (verdict := self._authenticator.next_event()) is not None:
                self._on_verdict(verdict, now)
            elif (signal := self._ipcp.next_signal()) is not None:
                self._on_ipcp_signal(signal, now)
            elif self._ipv6cp is not None and (signal := self._ipv6cp.next_signal()) is not None:
                self._on_ipv6cp_signal(signal, self._ipv6cp, now)
            else:
                return

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
        self.peer_mru = self._ipcp.peer_mru = self._lcp.peer_mru
        if self._ipv6cp is not None:
            self._ipv6cp.peer_mru = self.peer_mru
        self._events.append(LcpOpened(self.peer_mru, method))
        if method is None:
            self._on_authenticated(AuthenticationSucceeded(None, ZERO_HLAK, ""), now)
            return
        self.phase = Phase.AUTHENTICATE
        self._deadline = now + self._config.authentication_timeout
        if self._credentials_refused:
            # LCP was renegotiated while the owner was to find other credentials: the refused ones stay unsent.
            self._refuse(AuthRefused(method, None, False, "the server started the log-in anew after refusing it"), now)
            return
        try:
            self._authenticator = authenticator = self._make_authenticator(method)
        except ConfigError as error:
            self._fail(AuthenticationFailed(str(error), hint=error.hint), now)
            return
        authenticator.start(now)

    def _make_authenticator(self, method: AuthMethod) -> Authenticator:
        if self._client and self._credentials is not None:
            return make_client(method, self._credentials, self._entropy)
        if not self._client and self._config.lookup is not None:
            return make_server(method, self._config.lookup, self._entropy, self._config.name)
        raise LocalProtocolError("nothing to authenticate with", layer="ppp")

    def _on_lcp_down(self, cause: Event, now: float) -> None:
        if cause in {Event.RTR, Event.CLOSE, Event.DOWN, Event.RXJ_MINUS}:
            self.phase = Phase.TERMINATE
            self._deadline = None
            if cause is Event.RXJ_MINUS:
                self._end_reason = f"{self._config.peer_name} {_REJECTS_LCP}"
            self._leave_network(self._end_reason, now)
        else:
            self._enter_establish(now)
            self._leave_network(f"{self._config.peer_name} renegotiates LCP", now)

    def _enter_establish(self, now: float) -> None:
        self.phase = Phase.ESTABLISH
        self._deadline = now + self._config.lcp_timeout

    def _leave_network(self, reason: str, now: float) -> None:
        self._authenticator = None
        self._held.clear()
        self._ipcp.down(now)
        if self._ipv6cp is not None and self._ipv6cp_started:
            self._ipv6cp_started = False
            self._ipv6cp.down(now)
        self._close_network(reason)

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
        if signal.before_open:
            if not self._client:
                self._terminate(self._end_reason, now)
            elif self._lcp.choice.refused_any:
                self._fail(self._lcp.choice.failure(f"it ended PPP{text}"), now)
            else:
                message = f"the server ended PPP in the middle of LCP{text}"
                self._fail(NegotiationFailed(message, protocol="lcp", hint="Try again."), now)
        elif self.phase is Phase.AUTHENTICATE and self._client and not self._credentials_refused:
            self._events.append(peer_ended_login(self._lcp.method, text))

    def _on_protocol_rejected(self, protocol: int, now: float) -> None:
        if protocol == PROTOCOL_IPCP and self._network_started:
            message = f"{self._config.peer_name} does not carry IPv4: it rejects IPCP"
            hint = "IPv4 is switched off for remote access there; ask the administrator."
            self._fail(NegotiationFailed(message, protocol="ipcp", hint=hint), now)
        elif protocol == PROTOCOL_IPV6CP and self._ipv6cp is not None:
            self._ipv6cp.reject(now)
        elif self._authenticator is not None and protocol == self._authenticator.protocol:
            message = f"{self._config.peer_name} rejects the authentication protocol that it agreed to"
            self._fail(NegotiationFailed(message, protocol="authentication"), now)

    # Authentication.

    def _on_verdict(self, verdict: AuthEvent, now: float) -> None:
        if isinstance(verdict, AuthRefused):
            self._refuse(verdict, now)
        elif self.phase is Phase.AUTHENTICATE:
            event = AuthenticationSucceeded(verdict.method, verdict.hlak, verdict.username, verdict.message)
            self._on_authenticated(event, now)

    def _on_authenticated(self, event: AuthenticationSucceeded, now: float) -> None:
        self.phase = Phase.NETWORK
        self._authenticated = True
        self._deadline = None
        if self._network_started:
            # LCP was renegotiated later on: SSTP has had its CALL_CONNECTED, and there is only one.
            self._start_ncps(now)
        else:
            self._events.append(event)

    def _refuse(self, verdict: AuthRefused, now: float) -> None:
        self._credentials_refused = True
        self._events.append(
            AuthenticationRefused(verdict.method, verdict.code, verdict.retry_allowed, verdict.message, verdict.hint)
        )
        if not verdict.retry_allowed:
            self._terminate("the authentication was refused", now)
        elif self._client:
            self._deadline = None  # the owner asks the user

    # IPCP and IPV6CP.

    def _start_ncps(self, now: float) -> None:
        self._deadline = now + self._config.address_timeout
        self._ipcp.up(now)

    def _start_ipv6cp(self, now: float) -> None:
        """Begin IPV6CP, once IPCP is through or the peer begins.

        SoftEther does one thing after the other, and when it is asked for IPv6 four seconds pass in which nothing else
        does, data included. So it is not asked before IPv4 is there, and if it is to be recognised, not at all.
        """
        if self._ipv6cp is not None and not self._ipv6cp_started:
            self._ipv6cp_started = True
            self._ipv6cp.up(now)

    def _on_ipcp_signal(self, signal: Signal, now: float) -> None:
        match signal:
            case LayerUp():
                self._deadline = None
                self.ipv4_open = True
                ipcp = self._ipcp
                self._events.append(Ipv4Opened(ipcp.local, ipcp.peer, ipcp.dns, ipcp.nbns))
                if self._config.ipv6_whatever_it_costs or not self._lcp.magic_refused:
                    self._start_ipv6cp(now)
            case LayerDown(cause):
                if cause is not Event.DOWN:
                    self._deadline = now + self._config.address_timeout
                self._close_ipv4(f"{self._config.peer_name} {'ended' if cause is Event.RTR else 'renegotiates'} IPCP")
            case PeerTerminated(data, before_open):
                self._terminated_ipcp = True
                if before_open:
                    self._fail(self._ipcp_ended(terminate_text(data)), now)
            case LayerFinished():
                error = self._ipcp_ended("") if self._terminated_ipcp else no_answer("ipcp", self._config)
                self._fail(error, now)
            case LayerFailed(error):
                self._fail(error, now)
            case _:
                pass  # the others are LCP's

    def _ipcp_ended(self, text: str) -> NegotiationFailed:
        message = f"{self._config.peer_name} ended IPCP{text}"
        return NegotiationFailed(
            message, protocol="ipcp", hint="It may have no address to give; ask its administrator."
        )

    def _on_ipv6cp_signal(self, signal: Signal, ipv6cp: Ipv6cp, now: float) -> None:
        match signal:
            case LayerUp():
                self.ipv6_open = True
                self._events.append(Ipv6Opened(ipv6cp.local_identifier, ipv6cp.peer_identifier))
            case LayerDown(cause):
                ended = "ended" if cause in {Event.RTR, Event.RXJ_MINUS} else "renegotiates"
                self._close_ipv6(f"{self._config.peer_name} {ended} IPV6CP")
            case LayerFailed():
                # No agreement in sight: deaf to it until LCP is negotiated anew.
                ipv6cp.down(now)
                self._close_ipv6(f"{self._config.peer_name} and we did not agree on IPV6CP")
            case _:
                pass  # it has ended or never began: no IPv6

    def _close_ipv4(self, reason: str) -> None:
        if self.ipv4_open:
            self.ipv4_open = False
            self._events.append(Ipv4Closed(reason))

    def _close_ipv6(self, reason: str) -> None:
        if self.ipv6_open:
            self.ipv6_open = False
            self._events.append(Ipv6Closed(reason))

    def _close_network(self, reason: str) -> None:
        self._close_ipv6(reason)
        self._close_ipv4(reason)

    # Ends.

    def _terminate(self, reason: str, now: float) -> None:
        self._end_reason = self._end_reason or reason
        self.phase = Phase.TERMINATE
        self._deadline = None
        self._lcp.close(now)
        self._leave_network(self._end_reason, now)

    def _finish(self, reason: str) -> None:
        self._close_network(reason)
        self._events.append(Finished(reason, self._ended_by_peer))
        self._end()

    def _fail(self, error: TunnelError, now: float) -> None:
        self._collect(now)
        if self._lcp.state >= State.REQ_SENT:
            # As a courtesy: nobody waits for the answer.
            self._lcp.close(now)
        self._collect(now)
        self._close_network(str(error))
        self._events.append(Failed(error))
        self._end()

    def _end(self) -> None:
        self.phase = Phase.TERMINATE
        self._authenticator = None
        self._deadline = None
        self._over = True
