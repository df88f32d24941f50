"""CHAP (RFC 1994): what its client and server do, whatever the algorithm; chap.py and chap_mschapv2.py add those.

Malformed packets raise RemoteProtocolError and leave the machine as it was. Well-formed packets that do not fit
the state are discarded and counted: RFC 1994 section 4.1 has stray Responses "silently discarded".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from ..base.entropy import Entropy
from ..errors import LocalProtocolError
from .auth import AuthEvent, AuthMethod, AuthRefused, Credentials
from .auth_outbox import AuthOutbox
from .auth_packet import AuthPacket, ChapCode, ChapValue
from .auth_text import encode_name
from .packet import PROTOCOL_CHAP, ControlPacket

CHALLENGE_SIZE = 16  # RFC 1994 section 4.1 leaves it open; 16 is what MD5 gives back and MS-CHAPv2 demands
RESTART_TIMER = 3.0  # seconds; RFC 1661 section 4.6
MAX_ATTEMPTS = 10  # RFC 1661 section 4.6, Max-Configure

# Only the client knows whether a Success or Failure was lost, so it repeats its Response (RFC 1994 section 4.2
# obliges the server to answer it again). SSTP itself loses nothing, and a server that waits for RADIUS or for a
# second factor may take a repetition for a second log-in: so it is rare.
RESPONSE_TIMER = 20.0  # seconds
MAX_RESPONSES = 4


class ChapClientState(Enum):
    """What the client waits for."""

    WAITING_FOR_CHALLENGE = "waiting for the Challenge"
    RESPONSE_SENT = "Response sent"
    MAY_RETRY = "refused, another try is allowed"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class ChapClient(AuthOutbox, ABC):
    """The side that is asked to prove that it knows the password.

    It answers Challenges at any time, also after success (RFC 1994 section 2). There is one AuthSucceeded, for
    the first time; a refusal is an event whenever it comes. The machine sets no limit to the whole log-in.
    """

    protocol: int = PROTOCOL_CHAP
    method: ClassVar[AuthMethod]
    layer: ClassVar[str]
    """The protocol's name in errors."""

    def __init__(self, credentials: Credentials) -> None:
        """Raises ConfigError when the user name or the password cannot be sent."""
        super().__init__()
        self.state = ChapClientState.WAITING_FOR_CHALLENGE
        self._name = b""
        self._take_credentials(credentials)
        self._challenge: tuple[int, bytes] | None = None
        """Identifier and value of the Challenge that is being answered."""
        self._response = b""
        """The packet that answers it, kept to be repeated."""
        self._sent = 0
        """How often the present Response was sent because of the timer."""
        self._announced = False
        """Whether AuthSucceeded was given out."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.name} {self._credentials.username!r}>"

    # The algorithm.

    @abstractmethod
    def _check_challenge(self, value: bytes) -> None:
        """Raise RemoteProtocolError when the Challenge's value is not one of the algorithm's."""

    @abstractmethod
    def _answer(self, identifier: int, challenge: bytes) -> bytes:
        """Return the value of the Response."""

    @abstractmethod
    def _on_success(self, message: bytes) -> AuthEvent:
        """Judge a Success; the server may fail to prove itself."""

    @abstractmethod
    def _on_failure(self, identifier: int, message: bytes, now: float) -> AuthRefused | None:
        """Read a Failure; None: it has been answered with something else (see _respond_with)."""

    def _take_credentials(self, credentials: Credentials) -> None:
        name = encode_name(credentials.username)
        self._encode_secret(credentials.password)
        self._name = name
        self._credentials = credentials

    @abstractmethod
    def _encode_secret(self, password: str) -> None:
        """Keep the password in the form that the algorithm needs; raises ConfigError."""

    # The contract.

    # Empty for every algorithm, not a hook.
    def start(self, now: float) -> None:
        """Begin: the server speaks first, so there is nothing to do."""

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed."""
        parsed = AuthPacket.parse(packet)
        match parsed.code:
            case ChapCode.CHALLENGE:
                self._receive_challenge(parsed, now)
            case ChapCode.SUCCESS | ChapCode.FAILURE:
                self._receive_result(parsed, now)
            case _:
                self.discarded += 1

    def handle_timer(self, now: float) -> None:
        """Repeat the Response when its time has come."""
        if self._deadline is not None and now >= self._deadline:
            if self._sent < MAX_RESPONSES:
                self._send_response(now)
            else:
                self._deadline = None

    def retry(self, credentials: Credentials, now: float) -> None:
        """RFC 1994 knows no second try."""
        raise LocalProtocolError(f"the server allows no other try ({self.state.value})", layer=self.layer)

    # Inside.

    def _receive_challenge(self, packet: ControlPacket, now: float) -> None:
        value = ChapValue.parse(packet.data, self.layer).value
        self._check_challenge(value)
        challenge = (packet.identifier, value)
        if not self._may_answer(challenge):
            self.discarded += 1
        elif challenge == self._challenge:
            # The Response was lost, or the server was impatient. It must be the same one: a server may judge the
            # first and check the proof of the second.
            self._output = [self._response]
        else:
            self._respond(challenge, now)

    def _may_answer(self, challenge: tuple[int, bytes]) -> bool:
        """Refused credentials are never sent again."""
        return self.state not in (ChapClientState.REFUSED, ChapClientState.MAY_RETRY)

    def _respond(self, challenge: tuple[int, bytes], now: float) -> None:
        identifier, value = challenge
        data = ChapValue(self._answer(identifier, value), self._name).to_bytes()
        self._respond_with(ChapCode.RESPONSE, challenge, data, now)

    def _respond_with(self, code: ChapCode, challenge: tuple[int, bytes], data: bytes, now: float) -> None:
        self._challenge = challenge
        self._response = AuthPacket(code, challenge[0], data).to_bytes()
        self.state = ChapClientState.RESPONSE_SENT
        self._sent = 0
        self._send_response(now)

    def _send_response(self, now: float) -> None:
        # An older Response still in the queue answers a Challenge that the server has replaced.
        self._output = [self._response]
        self._sent += 1
        self._deadline = now + RESPONSE_TIMER

    def _receive_result(self, packet: ControlPacket, now: float) -> None:
        # RFC 1994 section 4.2: "The Identifier field is copied from the Identifier field of the Response".
        fits = self._challenge is not None and packet.identifier == self._challenge[0]
        if self.state is not ChapClientState.RESPONSE_SENT or not fits:
            self.discarded += 1
            return
        self._deadline = None
        self._output = []
        event: AuthEvent | None
        if packet.code == ChapCode.SUCCESS:
            event = self._on_success(packet.data)
        elif (event := self._on_failure(packet.identifier, packet.data, now)) is None:
            return
        if isinstance(event, AuthRefused):
            self.state = ChapClientState.MAY_RETRY if event.retry_allowed else ChapClientState.REFUSED
            self._events.append(event)
        else:
            self.state = ChapClientState.SUCCEEDED
            if not self._announced:
                self._announced = True
                self._events.append(event)


Lookup = Callable[[str], str | None]
"""Gives the password of a user name (the whole text that the client sent), None for an unknown user."""


class ChapServerState(Enum):
    """What the server waits for."""

    INITIAL = "not started"
    CHALLENGE_SENT = "Challenge sent"
    WAITING_FOR_RETRY = "refused, waiting for another try"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A server's judgement of a Response."""

    accepted: bool
    message: bytes
    """The data of the Success or Failure."""
    event: AuthEvent
    next_challenge: bytes | None = field(default=None, repr=False)
    """The challenge of the next try, when the refusal allows one."""


class ChapServer(AuthOutbox, ABC):
    """The side that asks: sends the Challenge until it is answered, and judges the Response.

    ``lookup`` sees the whole user name; a ConfigError of a password that it returns and that cannot be encoded
    passes through. start() may be called again for another Challenge on the open link (RFC 1994 section 2); only
    the first success is an event. The machine sets no limit to the whole log-in: after the last repetition of the
    Challenge it goes on waiting.
    """

    protocol: int = PROTOCOL_CHAP
    method: ClassVar[AuthMethod]
    layer: ClassVar[str]

    def __init__(self, lookup: Lookup, entropy: Entropy, *, name: str = "sstpsocks") -> None:
        """Raises ConfigError when ``name`` cannot be sent."""
        super().__init__()
        self.state = ChapServerState.INITIAL
        self._lookup = lookup
        self._entropy = entropy
        self._name = encode_name(name)
        self._identifier = entropy.random_bytes(1)[0]
        self._challenge = b""
        self._challenge_packet = b""
        self._answer_packet: bytes | None = None
        """The last Success or Failure; a repeated Response gets it again."""
        self._sent = 0
        self._announced = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.name}>"

    @abstractmethod
    def _judge(self, identifier: int, response: ChapValue) -> Verdict:
        """Judge a Response to the present challenge; raises RemoteProtocolError when its value is malformed."""

    def start(self, now: float) -> None:
        """Send a new Challenge."""
        # RFC 1994 section 4.1: "The Identifier field MUST be changed each time a Challenge is sent." A repetition
        # of the same Challenge is the same packet, so that an answer on its way still counts.
        self._identifier = (self._identifier + 1) % 256
        self._challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        data = ChapValue(self._challenge, self._name).to_bytes()
        self._challenge_packet = AuthPacket(ChapCode.CHALLENGE, self._identifier, data).to_bytes()
        self._answer_packet = None
        self.state = ChapServerState.CHALLENGE_SENT
        self._sent = 0
        self._send_challenge(now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed."""
        parsed = AuthPacket.parse(packet)
        if parsed.code != ChapCode.RESPONSE:
            self.discarded += 1
            return
        response = ChapValue.parse(parsed.data, self.layer)
        if self._answer_packet is not None and parsed.identifier == self._answer_packet[1]:
            # RFC 1994 section 4.1: "any Response packets received having the current Challenge Identifier MUST
            # return the same reply Code previously returned for that specific Challenge".
            if self._answer_packet not in self._output:
                self._output.append(self._answer_packet)
        elif parsed.identifier == self._identifier and self.state in (
            ChapServerState.CHALLENGE_SENT,
            ChapServerState.WAITING_FOR_RETRY,
        ):
            self._take_verdict(self._judge(parsed.identifier, response), parsed.identifier)
        else:
            self.discarded += 1

    def _take_verdict(self, verdict: Verdict, identifier: int) -> None:
        code = ChapCode.SUCCESS if verdict.accepted else ChapCode.FAILURE
        self._answer_packet = AuthPacket(code, identifier, verdict.message).to_bytes()
        self._output.append(self._answer_packet)
        self._deadline = None
        if verdict.next_challenge is not None:
            # RFC 2759 section 6: the server "disables short timeouts, expecting the peer to prompt the user".
            self._challenge = verdict.next_challenge
            self._identifier = (identifier + 1) % 256
            self.state = ChapServerState.WAITING_FOR_RETRY
            return
        self.state = ChapServerState.SUCCEEDED if verdict.accepted else ChapServerState.REFUSED
        if not (verdict.accepted and self._announced):
            self._announced = self._announced or verdict.accepted
            self._events.append(verdict.event)

    def handle_timer(self, now: float) -> None:
        """Repeat the Challenge when its time has come."""
        if self._deadline is not None and now >= self._deadline:
            if self._sent < MAX_ATTEMPTS:
                self._send_challenge(now)
            else:
                self._deadline = None

    def retry(self, credentials: Credentials, now: float) -> None:
        """A server has no credentials to try."""
        raise LocalProtocolError("the server's side of a log-in has no credentials", layer=self.layer)

    def _send_challenge(self, now: float) -> None:
        if self._challenge_packet not in self._output:
            self._output.append(self._challenge_packet)
        self._sent += 1
        self._deadline = now + RESTART_TIMER
