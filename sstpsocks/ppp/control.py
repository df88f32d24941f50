"""What LCP and every NCP do alike: packets 1 to 7 of RFC 1661 section 5 on the automaton of section 4.

A child says which options it asks for and how it judges those of the peer; everything else is here. Malformed and
unexpected packets raise RemoteProtocolError and leave the machine as it was: RFC 1661 has them "silently discarded",
which the owner does, with a counter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import NegotiationFailed, RemoteProtocolError
from . import automaton
from .automaton import Action, Automaton, Event, State
from .packet import CONTROL_HEADER_SIZE, DEFAULT_MRU, Code, ControlPacket, Option, options_to_bytes, parse_options

# Rounds of Naks and Rejects, of ours or of the peer, before we call it hopeless. Two machines that disagree answer each
# other as fast as the wire allows, so that the time limit alone would let them spin. An honest negotiation takes at
# most a handful: every round settles an option.
MAX_ROUNDS = 20

NEGOTIATING = frozenset({State.STOPPED, State.REQ_SENT, State.ACK_RCVD, State.ACK_SENT, State.OPENED})

# A Code-Reject of one of these is "catastrophic" (RXJ-): without them there is no negotiation.
ESSENTIAL_CODES = frozenset(range(Code.CONFIGURE_REQUEST, Code.CODE_REJECT + 1))


@dataclass(frozen=True, slots=True)
class LayerUp:
    """tlu: negotiated."""


@dataclass(frozen=True, slots=True)
class LayerDown:
    """tld: not usable any more, because of ``cause``."""

    cause: Event


@dataclass(frozen=True, slots=True)
class LayerFinished:
    """tlf: ended, because of ``cause``."""

    cause: Event


@dataclass(frozen=True, slots=True)
class PeerTerminated:
    """A Terminate-Request came; precedes the LayerDown it causes, if any."""

    data: bytes
    before_open: bool
    """Whether it came in the middle of a negotiation."""


@dataclass(frozen=True, slots=True)
class LayerFailed:
    """The negotiation cannot succeed."""

    error: NegotiationFailed


@dataclass(frozen=True, slots=True)
class ProtocolRejected:
    """LCP only: the peer does not speak ``protocol``."""

    protocol: int


@dataclass(frozen=True, slots=True)
class EchoReply:
    """LCP only: the answer to our Echo-Request ``identifier``."""

    identifier: int


Signal = LayerUp | LayerDown | LayerFinished | PeerTerminated | LayerFailed | ProtocolRejected | EchoReply


@dataclass(frozen=True, slots=True)
class Judgement:
    """What we make of a Configure-Request. Rejecting goes before Naking, and that before acknowledging (section 5)."""

    rejected: tuple[Option, ...] = ()
    """Options, as received, that we do not take."""
    suggested: tuple[Option, ...] = ()
    """Options we would take, with the value we would take."""


class ControlProtocol:
    """One control protocol. Children give the hooks at the end."""

    protocol: int
    """The PPP protocol number."""
    name: str
    """What messages call it."""

    def __init__(
        self,
        *,
        peer_name: str,
        restart_timer: float = automaton.RESTART_TIMER,
        max_configure: int = automaton.MAX_CONFIGURE,
        max_terminate: int = automaton.MAX_TERMINATE,
        max_failure: int = automaton.MAX_FAILURE,
    ) -> None:
        self._automaton = Automaton(
            restart_timer=restart_timer, max_configure=max_configure, max_terminate=max_terminate
        )
        self._peer_name = peer_name
        self._max_failure = max_failure
        self._outgoing: list[bytes] = []
        self._signals: deque[Signal] = deque()
        self._identifier = 0
        self._request_identifier = 0
        self._request: tuple[Option, ...] = ()
        self._request_outstanding = False
        self._naks_sent = 0
        self._rounds = 0
        self.peer_mru = DEFAULT_MRU
        """The largest packet the peer takes; bounds what we echo and quote."""

    def __repr__(self) -> str:
        """Show the state."""
        return f"<{type(self).__name__} {self.state.name}>"

    @property
    def state(self) -> State:
        """The state of the automaton."""
        return self._automaton.state

    # What the layer above and below say.

    def up(self, now: float) -> None:
        """Tell that the lower layer can carry packets."""
        self._dispatch(Event.UP, now)

    def down(self, now: float) -> None:
        """Tell that the lower layer cannot carry packets any more; does nothing when it could not before."""
        if self.state not in {State.INITIAL, State.STARTING}:
            self._dispatch(Event.DOWN, now)

    def open(self, now: float) -> None:
        """Allow the negotiation."""
        self._reset_negotiation()
        self._dispatch(Event.OPEN, now)

    def close(self, now: float) -> None:
        """End in order, with Terminate-Request where there is something to end."""
        self._dispatch(Event.CLOSE, now)

    # The contract of a machine.

    def receive_packet(self, information: bytes | memoryview, now: float) -> None:
        """Take the Information field of one frame. Raises RemoteProtocolError for what is to be discarded."""
        packet = ControlPacket.parse(information)
        match packet.code:
            case Code.CONFIGURE_REQUEST:
                self._receive_configure_request(packet, now)
            case Code.CONFIGURE_ACK:
                self._receive_configure_ack(packet, now)
            case Code.CONFIGURE_NAK | Code.CONFIGURE_REJECT:
                self._receive_configure_refusal(packet, now)
            case Code.TERMINATE_REQUEST:
                before_open = self.state in {State.REQ_SENT, State.ACK_RCVD, State.ACK_SENT}
                if before_open or self.state is State.OPENED:
                    self._signals.append(PeerTerminated(packet.data, before_open))
                self._dispatch(Event.RTR, now, packet)
            case Code.TERMINATE_ACK:
                self._dispatch(Event.RTA, now, packet)
            case Code.CODE_REJECT:
                essential = bool(packet.data) and packet.data[0] in ESSENTIAL_CODES
                self._dispatch(Event.RXJ_MINUS if essential else Event.RXJ_PLUS, now, packet)
            case _:
                if not self._receive_other(packet, now):
                    self._dispatch(Event.RUC, now, packet)

    def next_signal(self) -> Signal | None:
        """Return the next thing the owner must know, or None."""
        return self._signals.popleft() if self._signals else None

    def packets_to_send(self) -> list[bytes]:
        """Return the Information fields to send now and forget them."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        return self._automaton.expires_at

    def handle_timer(self, now: float) -> None:
        """Send again, or give up, when the Restart timer has expired."""
        event = self._automaton.expired(now)
        if event is not None:
            self._dispatch(event, now)

    # Receiving.

    def _receive_configure_request(self, packet: ControlPacket, now: float) -> None:
        options = parse_options(packet.data)
        if self.state not in NEGOTIATING:
            # What is in it makes no difference there.
            self._dispatch(Event.RCR_PLUS, now, packet)
            return
        judgement = self._judge_request(options)
        answer, listed = self._choose_answer(options, judgement)
        if answer is Code.CONFIGURE_ACK:
            self._naks_sent = 0
            # Taken before the automaton moves: this-layer-up may be what follows.
            self._request_accepted(options)
            # RFC 1661 section 5.2: the options "MUST NOT be reordered or modified in any way".
            self._dispatch(Event.RCR_PLUS, now, packet, ControlPacket(answer, packet.identifier, packet.data))
            return
        if answer is Code.CONFIGURE_NAK:
            self._naks_sent += 1
        self._dispatch(Event.RCR_MINUS, now, packet, ControlPacket(answer, packet.identifier, options_to_bytes(listed)))
        self._count_round()

    def _choose_answer(self, options: Iterable[Option], judgement: Judgement) -> tuple[Code, tuple[Option, ...]]:
        if judgement.rejected:
            return Code.CONFIGURE_REJECT, judgement.rejected
        if not judgement.suggested:
            return Code.CONFIGURE_ACK, ()
        if self._naks_sent < self._max_failure:
            return Code.CONFIGURE_NAK, judgement.suggested
        # RFC 1661 section 4.6, Max-Failure: "further Configure-Nak packets for peer requested options are converted to
        # Configure-Reject packets, and locally desired options are no longer appended".
        suggested = {option.type for option in judgement.suggested}
        refused = tuple(option for option in options if option.type in suggested)
        return (Code.CONFIGURE_REJECT, refused) if refused else (Code.CONFIGURE_ACK, ())

    def _take_reply(self, packet: ControlPacket) -> None:
        # RFC 1661 section 5.2: "the Identifier field MUST match that of the last transmitted Configure-Request [...]
        # Invalid packets are silently discarded". A reply to a request that has had one is a duplicate, and taking it
        # would tear down what was just negotiated.
        if not self._request_outstanding or packet.identifier != self._request_identifier:
            raise RemoteProtocolError(f"{self.name} reply to no outstanding request", layer=self.name)

    def _receive_configure_ack(self, packet: ControlPacket, now: float) -> None:
        self._take_reply(packet)
        if packet.data != options_to_bytes(self._request):
            raise RemoteProtocolError(f"{self.name} Configure-Ack with other options", layer=self.name)
        self._request_outstanding = False
        self._acknowledged()
        self._dispatch(Event.RCA, now, packet)

    def _receive_configure_refusal(self, packet: ControlPacket, now: float) -> None:
        self._take_reply(packet)
        options = parse_options(packet.data)
        if packet.code == Code.CONFIGURE_REJECT:
            requested = {option.type for option in self._request}
            rejected = frozenset(option.type for option in options) & requested
            # RFC 1661 section 5.4: "the Configuration Options in a Configure-Reject MUST be a proper subset".
            if not rejected:
                raise RemoteProtocolError(f"{self.name} Configure-Reject of nothing we sent", layer=self.name)
            self._request_outstanding = False
            self._take_reject(rejected)
        else:
            self._request_outstanding = False
            self._take_nak(options)
        self._dispatch(Event.RCN, now, packet)
        self._count_round()

    def _count_round(self) -> None:
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            self._fail(f"{self._peer_name} and we did not agree on {self.name} options in {MAX_ROUNDS} rounds")

    def _reset_negotiation(self) -> None:
        self._naks_sent = 0
        self._rounds = 0

    # Doing what the automaton says.

    def _dispatch(
        self, event: Event, now: float, packet: ControlPacket | None = None, answer: ControlPacket | None = None
    ) -> None:
        for action in self._automaton.handle(event, now):
            match action:
                case Action.TLU:
                    self._reset_negotiation()
                    self._signals.append(LayerUp())
                case Action.TLD:
                    self._signals.append(LayerDown(event))
                case Action.TLF:
                    self._signals.append(LayerFinished(event))
                case Action.SCR:
                    self._send_configure_request()
                case Action.STR:
                    self._send(Code.TERMINATE_REQUEST, self._next_identifier())
                case Action.SCA | Action.SCN:
                    if answer is not None:
                        self._outgoing.append(answer.to_bytes())
                case Action.STA:
                    self._send(Code.TERMINATE_ACK, packet.identifier if packet else self._next_identifier())
                case Action.SCJ:
                    if packet is not None:
                        quoted = packet.to_bytes()[: self.peer_mru - CONTROL_HEADER_SIZE]
                        self._send(Code.CODE_REJECT, self._next_identifier(), quoted)
                case Action.SER:
                    if packet is not None:
                        self._send_echo_reply(packet)
                case Action.TLS | Action.IRC | Action.ZRC:
                    pass  # the lower layer starts by itself; the counter is the automaton's own

    def _send_configure_request(self) -> None:
        request = self._request_options()
        # RFC 1661 section 5.1: the Identifier changes with the options and "whenever a valid reply has been received
        # for a previous request. For retransmissions, the Identifier MAY remain unchanged." It does remain: an answer
        # that comes late (RRAS takes 3.4 s) then still counts.
        if not self._request_outstanding or request != self._request:
            self._request_identifier = self._next_identifier()
        self._request = request
        self._request_outstanding = True
        self._send(Code.CONFIGURE_REQUEST, self._request_identifier, options_to_bytes(request))

    def _next_identifier(self) -> int:
        self._identifier = (self._identifier + 1) & 0xFF
        return self._identifier

    def _send(self, code: Code, identifier: int, data: bytes = b"") -> None:
        self._outgoing.append(ControlPacket(code, identifier, data).to_bytes())

    def _fail(self, message: str, *, protocol: str | None = None, hint: str = "") -> None:
        self._signals.append(LayerFailed(NegotiationFailed(message, protocol=protocol or self.name, hint=hint)))

    # Hooks.

    def _request_options(self) -> tuple[Option, ...]:
        """Return the options to ask for now."""
        return ()

    def _judge_request(self, options: tuple[Option, ...]) -> Judgement:
        """Judge what the peer asks for."""
        return Judgement(rejected=options)

    def _request_accepted(self, options: tuple[Option, ...]) -> None:
        """Learn what the peer asked for and gets."""

    def _acknowledged(self) -> None:
        """Learn that the peer agreed to all of our request."""

    def _take_nak(self, options: tuple[Option, ...]) -> None:
        """Take the values the peer suggests into the next request."""

    def _take_reject(self, types: frozenset[int]) -> None:
        """Leave out what the peer rejects from the next request."""

    def _receive_other(self, packet: ControlPacket, now: float) -> bool:
        """Take a packet with a code above 7; return False when it is unknown."""
        return False

    def _send_echo_reply(self, packet: ControlPacket) -> None:
        """Answer an Echo-Request."""
