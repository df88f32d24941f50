"""The Link Control Protocol: RFC 1661 sections 5 and 6, with the codes of RFC 1570."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import IntEnum

from ..base.entropy import Entropy, random_uint32
from ..errors import RemoteProtocolError
from .auth import AuthMethod
from .auth_option import OPTION_VALUES, ClientChoice, ServerDemand, method_of
from .automaton import Event, State
from .config import PppConfig, Role
from .control import ControlProtocol, EchoReply, Judgement, ProtocolRejected
from .packet import CONTROL_HEADER_SIZE, DEFAULT_MRU, PROTOCOL_LCP, Code, ControlPacket, Option


class LcpOption(IntEnum):
    """Options that we ask for, take, or name in messages."""

    MRU = 1
    ACCM = 2
    AUTHENTICATION = 3
    MAGIC_NUMBER = 5
    PFC = 7
    ACFC = 8


# Octets of the value of each option that we acknowledge as it stands. The character map and the compressions cost
# nothing: we never escape and never compress, and take both forms.
_TAKEN_AS_IT_IS: dict[int, int] = {LcpOption.ACCM: 4, LcpOption.PFC: 0, LcpOption.ACFC: 0}

MINIMUM_PEER_MRU = 68  # RFC 791: every internet module forwards datagrams of 68 octets without fragmentation
MAX_MAGIC_COLLISIONS = 4  # by chance: 2**-32 each; RFC 1661 section 6.4 speaks of looped-back links
MAX_OUTSTANDING_ECHOES = 16


class Lcp(ControlProtocol):
    """LCP of the client or the server. ``method`` and ``peer_mru`` hold once it has opened."""

    protocol = PROTOCOL_LCP
    name = "lcp"

    def __init__(self, config: PppConfig, entropy: Entropy) -> None:
        super().__init__(
            peer_name=config.peer_name,
            restart_timer=config.restart_timer,
            max_configure=config.tries_within(config.lcp_timeout),
        )
        self._config = config
        self._entropy = entropy
        self._mru: int | None = config.mru
        self._magic = self._new_magic()
        self._tells_magic = config.magic_number
        self._peer_tells_magic = False
        self._magic_collisions = 0
        self._demanded: AuthMethod | None = None
        self._choice = ClientChoice(config.methods)
        self._demand = ServerDemand(config.methods if config.role is Role.SERVER else ())
        self._echoes: deque[int] = deque(maxlen=MAX_OUTSTANDING_ECHOES)

    @property
    def peer_is_plain(self) -> bool:
        """Whether the peer rejects our Magic-Number or, where we ask for none, tells none: SoftEther and hardly any."""
        return not (self._tells_magic if self._config.magic_number else self._peer_tells_magic)

    @property
    def magic_number(self) -> int:
        """What our Echo packets carry: our Magic-Number, 0 when it was not asked for or rejected."""
        # RFC 1661 section 5.8: "Until the Magic-Number Configuration Option has been successfully negotiated, the
        # Magic-Number MUST be transmitted as zero."
        return self._magic if self._tells_magic else 0

    @property
    def method(self) -> AuthMethod | None:
        """How the client authenticates itself; None for not at all."""
        return self._demanded if self._config.role is Role.CLIENT else self._demand.method

    @property
    def choice(self) -> ClientChoice:
        """What the server demanded for authentication and was refused."""
        return self._choice

    def protocol_reject(self, protocol: int, information: bytes | memoryview) -> None:
        """Answer a packet of a protocol that we do not speak."""
        # RFC 1661 section 5.7: sent "in the LCP Opened state" only; "MUST be truncated to comply with the peer's
        # established MRU".
        if self.state is State.OPENED:
            room = self.peer_mru - CONTROL_HEADER_SIZE - 2
            self._send(
                Code.PROTOCOL_REJECT,
                self._next_identifier(),
                protocol.to_bytes(2, "big") + bytes(information[:room]),
            )

    def send_echo_request(self) -> int | None:
        """Queue an Echo-Request and return its identifier; None when LCP is not open."""
        if self.state is not State.OPENED:
            return None
        identifier = self._next_identifier()
        self._echoes.append(identifier)
        self._send(Code.ECHO_REQUEST, identifier, self.magic_number.to_bytes(4, "big"))
        return identifier

    def _new_magic(self) -> int:
        # "A Magic-Number of zero is illegal" (RFC 1661 section 6.4).
        return random_uint32(self._entropy) or 1

    # What we ask for: MRU and magic at most, and the server its authentication. SoftEther rejects everything but MRU.

    def _request_options(self) -> tuple[Option, ...]:
        options = []
        if self._mru is not None:
            options.append(Option(LcpOption.MRU, self._mru.to_bytes(2, "big")))
        if self._demand.method is not None:
            options.append(Option(LcpOption.AUTHENTICATION, OPTION_VALUES[self._demand.method]))
        if self._tells_magic:
            options.append(Option(LcpOption.MAGIC_NUMBER, self._magic.to_bytes(4, "big")))
        return tuple(options)

    def _take_nak(self, options: tuple[Option, ...]) -> None:
        for option in options:
            if option.type == LcpOption.MRU and len(option.value) == 2:
                suggested = int.from_bytes(option.value, "big")
                # An MRU is what we are ready to receive: any smaller one is no loss to us. More than we asked for does
                # not fit into SSTP.
                self._mru = suggested if MINIMUM_PEER_MRU <= suggested <= self._config.mru else None
            elif option.type == LcpOption.MAGIC_NUMBER:
                # Never the number the peer suggests: on a looped-back link that is our own suggestion come back.
                self._magic = self._new_magic()
                self._count_magic_collision()
            elif (
                option.type == LcpOption.AUTHENTICATION
                and self._demand.method is not None
                and not self._demand.take_nak(option.value)
            ):
                self._fail("the client accepts none of our authentication methods", protocol="authentication")

    def _take_reject(self, types: frozenset[int]) -> None:
        if LcpOption.MRU in types:
            self._mru = None
        if LcpOption.MAGIC_NUMBER in types:
            self._tells_magic = False
        if LcpOption.AUTHENTICATION in types:
            self._fail("the client refuses to authenticate itself", protocol="authentication")

    # What the peer asks for.

    def _judge_request(self, options: tuple[Option, ...]) -> Judgement:
        rejected, suggested = [], []
        for option in options:
            verdict = self._judge_option(option)
            if verdict is None:
                rejected.append(option)
            elif verdict != option.value:
                suggested.append(Option(option.type, verdict))
        return Judgement(tuple(rejected), tuple(suggested))

    def _judge_option(self, option: Option) -> bytes | None:
        """Return the value that we would take, None to reject the option."""
        size = len(option.value)
        if option.type == LcpOption.MRU and size == 2:
            mru = int.from_bytes(option.value, "big")
            # Any usable MRU is taken: SoftEther breaks on a Nak of it.
            return option.value if mru >= MINIMUM_PEER_MRU else DEFAULT_MRU.to_bytes(2, "big")
        if option.type == LcpOption.AUTHENTICATION and size >= 2 and self._config.role is Role.CLIENT:
            return self._judge_authentication(option.value)
        if option.type == LcpOption.MAGIC_NUMBER and size == 4:
            return self._judge_magic(option.value)
        return option.value if _TAKEN_AS_IT_IS.get(option.type) == size else None

    def _judge_authentication(self, value: bytes) -> bytes | None:
        if self._choice.accepts(value):
            return value
        suggestion = self._choice.refuse(value)
        if suggestion is None:
            error = self._choice.failure()
            self._fail(str(error), protocol=error.protocol, hint=error.hint)
        return suggestion

    def _judge_magic(self, value: bytes) -> bytes:
        number = int.from_bytes(value, "big")
        # RFC 1661 section 6.4: "If the two Magic-Numbers are equal, then it is possible, but not certain, that the link
        # is looped-back" and "a Configure-Nak MUST be sent"; zero "MUST always be Nak'd".
        collides = number == self._magic and self._tells_magic
        if collides:
            self._count_magic_collision()
        elif number != 0:
            return value
        return self._new_magic().to_bytes(4, "big")

    def _count_magic_collision(self) -> None:
        self._magic_collisions += 1
        if self._magic_collisions > MAX_MAGIC_COLLISIONS:
            self._fail("the PPP link is looped back: our own packets come back to us")

    def _choose_answer(self, options: Iterable[Option], judgement: Judgement) -> tuple[Code, tuple[Option, ...]]:
        # Authentication is never converted to a Reject by Max-Failure: it has a limit of its own.
        if not judgement.rejected and any(o.type == LcpOption.AUTHENTICATION for o in judgement.suggested):
            return Code.CONFIGURE_NAK, judgement.suggested
        return super()._choose_answer(options, judgement)

    def _request_accepted(self, options: tuple[Option, ...]) -> None:
        # RFC 1661 section 6: an option that is not listed has its default.
        self.peer_mru = DEFAULT_MRU
        self._demanded = None
        self._peer_tells_magic = any(option.type == LcpOption.MAGIC_NUMBER for option in options)
        for option in options:
            if option.type == LcpOption.MRU:
                self.peer_mru = int.from_bytes(option.value, "big")
            elif option.type == LcpOption.AUTHENTICATION:
                self._demanded = method_of(option.value, self._config.methods)

    def _acknowledged(self) -> None:
        self._magic_collisions = 0

    def _reset_negotiation(self) -> None:
        super()._reset_negotiation()
        self._choice = ClientChoice(self._config.methods)

    # Codes above 7.

    def _receive_other(self, packet: ControlPacket, now: float) -> bool:
        match packet.code:
            case Code.PROTOCOL_REJECT:
                self._receive_protocol_reject(packet, now)
            case Code.ECHO_REQUEST:
                # SoftEther sends them from the first exchange on; only the Opened state answers.
                self._dispatch(Event.RXR, now, packet)
            case Code.ECHO_REPLY:
                if packet.identifier in self._echoes:
                    self._echoes.remove(packet.identifier)
                    self._signals.append(EchoReply(packet.identifier))
            case Code.DISCARD_REQUEST | Code.IDENTIFICATION | Code.TIME_REMAINING:
                pass  # RFC 1661 section 5.9, RFC 1570 sections 2.1 and 2.2: to be received, nothing to be done
            case _:
                return False
        return True

    def _receive_protocol_reject(self, packet: ControlPacket, now: float) -> None:
        # RFC 1661 section 5.7: "Upon reception [...] in any state other than the LCP Opened state SHOULD be discarded".
        if self.state is not State.OPENED or len(packet.data) < 2:
            raise RemoteProtocolError("Protocol-Reject out of place", layer=self.name)
        protocol = int.from_bytes(packet.data[:2], "big")
        self._signals.append(ProtocolRejected(protocol))
        self._dispatch(Event.RXJ_MINUS if protocol == PROTOCOL_LCP else Event.RXJ_PLUS, now, packet)

    def _send_echo_reply(self, packet: ControlPacket) -> None:
        if len(packet.data) < 4:
            raise RemoteProtocolError("LCP Echo-Request without Magic-Number", layer=self.name)
        # Our number instead of the peer's, its data behind it, and no more than the peer can receive.
        room = self.peer_mru - CONTROL_HEADER_SIZE
        data = self.magic_number.to_bytes(4, "big") + packet.data[4:]
        self._send(Code.ECHO_REPLY, packet.identifier, data[:room])
