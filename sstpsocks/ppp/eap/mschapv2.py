"""EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02, as Microsoft's [MS-CHAP] has it): MS-CHAPv2 within EAP.

Both sides prove themselves. The server's Success, with its proof, and its Failure are Requests, which the peer
acknowledges before the outer Success or Failure comes. The MSK is the peer's send key and then its receive key, 16
bytes each, padded with zeroes; its first half is the HLAK of plain MS-CHAPv2.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import IntEnum

from ...base.entropy import Entropy
from ...errors import LocalProtocolError, RemoteProtocolError
from ..auth import AuthMethod, Credentials
from ..auth_text import clean_text, encode_name
from ..mschapv2 import (
    CHALLENGE_SIZE,
    check_authenticator_response,
    generate_authenticator_response,
    generate_nt_response,
    higher_layer_authentication_key,
    nt_password_hash,
)
from ..mschapv2_change import ChangePassword, new_password_of
from ..mschapv2_messages import (
    ERROR_AUTHENTICATION_FAILURE,
    ERROR_CHANGING_PASSWORD,
    ERROR_PASSWORD_EXPIRED,
    IMPOSTOR_HINT,
    NO_PROOF,
    FailureMessage,
    ResponseValue,
    SuccessMessage,
)
from .keys import MSK_SIZE
from .method import Decision, PeerMethod, Refusal, ServerMethod, Users
from .packet import MSCHAPV2, EapPacket

_LAYER = "eap-mschapv2"
_HEADER_SIZE = 4


class OpCode(IntEnum):
    """What an EAP-MSCHAPv2 packet is (section 2 of the draft)."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4
    CHANGE_PASSWORD = 7


@dataclass(frozen=True, slots=True)
class MsChapPacket:
    """The data of an EAP-MSCHAPv2 Request or Response."""

    op_code: int
    identifier: int = 0
    """The MS-CHAPv2-ID; it need not be that of EAP."""
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, data: bytes) -> MsChapPacket:
        """Parse; raises RemoteProtocolError when there is no whole header.

        The length field is not needed, and some senders count it wrong: it is ignored. An acknowledgement is the
        opcode alone.
        """
        if data and len(data) < _HEADER_SIZE and data[0] in (OpCode.SUCCESS, OpCode.FAILURE):
            return cls(data[0])
        if len(data) < _HEADER_SIZE:
            raise RemoteProtocolError("EAP-MSCHAPv2 packet shorter than its header", layer=_LAYER)
        return cls(data[0], data[1], data[_HEADER_SIZE:])

    def to_bytes(self) -> bytes:
        """Return the data as it is sent."""
        return bytes((self.op_code, self.identifier)) + (_HEADER_SIZE + len(self.data)).to_bytes(2, "big") + self.data


def _counted(value: bytes, name: bytes) -> bytes:
    return bytes((len(value),)) + value + name


def _take_counted(data: bytes, what: str) -> tuple[bytes, bytes]:
    if not data or len(data) < 1 + data[0]:
        raise RemoteProtocolError(f"the {what} of EAP-MSCHAPv2 is cut short", layer=_LAYER)
    return data[1 : 1 + data[0]], data[1 + data[0] :]


class MsChapV2Peer(PeerMethod):
    """The side that logs in. It can try again with other credentials, and change an expired password."""

    kind = MSCHAPV2
    method = AuthMethod.EAP_MSCHAPV2

    def __init__(self, credentials: Credentials, entropy: Entropy) -> None:
        """Raises ConfigError when user name or password cannot be sent."""
        super().__init__()
        self._entropy = entropy
        self._take(credentials)
        self._nt_response = b""
        self._expected_proof = b""
        self._failure = FailureMessage(None, False)
        self._next_identifier = 0

    def _take(self, credentials: Credentials) -> None:
        self._name = encode_name(credentials.username)
        self._password_hash = nt_password_hash(credentials.password)
        self._credentials = credentials
        self.username = credentials.username

    def answer(self, request: EapPacket) -> bytes | None:
        """Answer a Challenge, the server's proof or its refusal."""
        packet = MsChapPacket.parse(request.data)
        match packet.op_code:
            case OpCode.CHALLENGE:
                challenge, _ = _take_counted(packet.data, "Challenge")
                if len(challenge) != CHALLENGE_SIZE:
                    raise RemoteProtocolError(f"EAP-MSCHAPv2 Challenge of {len(challenge)} bytes", layer=_LAYER)
                return self._respond(packet.identifier, challenge)
            case OpCode.SUCCESS if self._nt_response:
                return self._on_success(SuccessMessage.parse(packet.data))
            case OpCode.FAILURE if self._nt_response:
                return self._on_failure(packet.identifier, FailureMessage.parse(packet.data))
            case _:
                raise RemoteProtocolError(f"EAP-MSCHAPv2 opcode {packet.op_code} out of place", layer=_LAYER)

    def retry(self, credentials: Credentials) -> bytes:
        """Answer a Failure that allows it with other credentials, or one of an expired password with a new one."""
        challenge = self._failure.challenge
        if challenge is None:
            raise LocalProtocolError("the server allows no other try", layer=_LAYER)
        if self._failure.may_change_password:
            if credentials.new_password is None:
                raise LocalProtocolError("a new password is needed", layer=_LAYER)
            return self._change(challenge, credentials, credentials.new_password)
        self._take(credentials)
        return self._respond(self._next_identifier, challenge)

    def _respond(self, identifier: int, challenge: bytes) -> bytes:
        peer_challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        self._prove(challenge, peer_challenge)
        value = ResponseValue(peer_challenge, self._nt_response).to_bytes()
        return MsChapPacket(OpCode.RESPONSE, identifier, _counted(value, self._name)).to_bytes()

    def _change(self, challenge: bytes, credentials: Credentials, new_password: str) -> bytes:
        change = ChangePassword.make(
            credentials.password,
            new_password,
            authenticator_challenge=challenge,
            username=encode_name(credentials.username),
            entropy=self._entropy,
        )
        self._take(Credentials(credentials.username, new_password))
        self._prove(challenge, change.peer_challenge)
        self.password_changed = True
        return MsChapPacket(OpCode.CHANGE_PASSWORD, self._next_identifier, change.to_bytes()).to_bytes()

    def _prove(self, challenge: bytes, peer_challenge: bytes) -> None:
        self._nt_response = generate_nt_response(challenge, peer_challenge, self._name, self._password_hash)
        self._expected_proof = generate_authenticator_response(
            self._password_hash, self._nt_response, peer_challenge, challenge, self._name
        )

    def _on_success(self, success: SuccessMessage) -> bytes | None:
        proof = success.authenticator_response
        if proof is None or not check_authenticator_response(self._expected_proof, proof):
            self.refusal = Refusal(NO_PROOF, IMPOSTOR_HINT)
            return None
        self.message = success.text
        self.msk = higher_layer_authentication_key(self._password_hash, self._nt_response).ljust(MSK_SIZE, b"\x00")
        self.decision = Decision.UNCONDITIONAL_SUCCESS
        return bytes((OpCode.SUCCESS,))

    def _on_failure(self, identifier: int, failure: FailureMessage) -> bytes | None:
        self.decision = Decision.FAIL
        self._failure = failure
        self._next_identifier = (identifier + 1) % 256
        message, hint = failure.explain()
        changed, self.password_changed = self.password_changed, False
        new_password = self._credentials.new_password
        if failure.may_change_password and new_password is not None and failure.challenge is not None and not changed:
            return self._change(failure.challenge, self._credentials, new_password)
        retry_allowed = failure.may_change_password or (failure.retry_allowed and failure.challenge is not None)
        self.refusal = Refusal(message, hint, failure.error, retry_allowed)
        return None if retry_allowed else bytes((OpCode.FAILURE,))


class MsChapV2Server(ServerMethod):
    """The asking side. ``retries`` is how many further tries a refused client gets (R=1)."""

    kind = MSCHAPV2
    method = AuthMethod.EAP_MSCHAPV2

    def __init__(self, identity: str, users: Users, entropy: Entropy, *, retries: int = 0) -> None:
        super().__init__()
        self.username = identity
        self._users = users
        self._entropy = entropy
        self._retries = retries
        self._challenge = entropy.random_bytes(CHALLENGE_SIZE)
        self._identifier = entropy.random_bytes(1)[0]
        self._op_code = OpCode.CHALLENGE
        self._message = b""
        self._awaits_change = False
        self._changed = False

    def request(self, identifier: int) -> bytes:
        """Return the Challenge, or the verdict."""
        data = self._message
        if self._op_code is OpCode.CHALLENGE:
            data = _counted(self._challenge, encode_name(self._users.name))
        return MsChapPacket(self._op_code, self._identifier, data).to_bytes()

    def take(self, response: EapPacket) -> None:
        """Judge a Response or a Change-Password; or take the acknowledgement of the verdict."""
        packet = MsChapPacket.parse(response.data)
        if self._op_code is OpCode.CHALLENGE or (self._op_code is OpCode.FAILURE and self.refusal is None):
            expects = OpCode.CHANGE_PASSWORD if self._awaits_change else OpCode.RESPONSE
        else:
            expects = self._op_code
        if packet.op_code == OpCode.FAILURE and self._op_code is OpCode.FAILURE:
            # The acknowledgement; or the client gives up, though it may try again.
            self.refusal = self.refusal or Refusal(f"{clean_text(self.username)!r} gave up after a refusal")
            self.done = True
        elif packet.op_code != expects:
            raise RemoteProtocolError(f"EAP-MSCHAPv2 opcode {packet.op_code} out of place", layer=_LAYER)
        elif expects is OpCode.RESPONSE:
            value, name = _take_counted(packet.data, "Response")
            self._judge(ResponseValue.parse(value), name)
        elif expects is OpCode.CHANGE_PASSWORD:
            self._judge_change(ChangePassword.parse(packet.data))
        else:
            self.done = True

    def _judge(self, value: ResponseValue, name: bytes) -> None:
        self.username = name.decode("utf-8", "replace")
        password = self._users.lookup(self.username)
        if password is None or not self._accept(password, name, value.peer_challenge, value.nt_response):
            self._refuse(ERROR_AUTHENTICATION_FAILURE, "Wrong user name or password")
        elif self.username in self._users.expired and not self._changed:
            self._awaits_change = True
            self._refuse(ERROR_PASSWORD_EXPIRED, "Password expired")

    def _judge_change(self, change: ChangePassword) -> None:
        self._awaits_change = False
        password = self._users.lookup(self.username)
        new_password = new_password_of(change, password) if password is not None else None
        name = self.username.encode()
        if new_password is None or self._users.change_password is None:
            self._refuse(ERROR_AUTHENTICATION_FAILURE, "Wrong user name or password")
        elif not self._users.change_password(self.username, new_password):
            self._refuse(ERROR_CHANGING_PASSWORD, "Password not changed")
        elif not self._accept(new_password, name, change.peer_challenge, change.nt_response):
            self._refuse(ERROR_AUTHENTICATION_FAILURE, "Wrong user name or password")
        else:
            self._changed = True

    def _accept(self, password: str, name: bytes, peer_challenge: bytes, nt_response: bytes) -> bool:
        password_hash = nt_password_hash(password)
        expected = generate_nt_response(self._challenge, peer_challenge, name, password_hash)
        if not hmac.compare_digest(expected, nt_response):
            return False
        proof = generate_authenticator_response(password_hash, expected, peer_challenge, self._challenge, name)
        self._op_code = OpCode.SUCCESS
        self._message = SuccessMessage(proof, "Welcome").to_bytes()
        self.msk = higher_layer_authentication_key(password_hash, expected).ljust(MSK_SIZE, b"\x00")
        return True

    def _refuse(self, error: int, text: str) -> None:
        self.msk = None
        may_retry = error == ERROR_AUTHENTICATION_FAILURE and self._retries > 0
        self._retries -= may_retry
        self._challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        self._message = FailureMessage(error, may_retry, self._challenge, text=text).to_bytes()
        self._op_code = OpCode.FAILURE
        if not may_retry and not self._awaits_change:
            self.refusal = Refusal(f"{text.lower()} for {clean_text(self.username)!r}", code=error)
        # The next Response carries the next MS-CHAPv2-ID; that of the Failure is still the old one.
