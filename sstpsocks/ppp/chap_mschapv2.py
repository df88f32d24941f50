"""MS-CHAPv2 (RFC 2759) as a CHAP algorithm: both sides prove themselves, and the HLAK comes out of it."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from ..base.entropy import Entropy
from ..errors import LocalProtocolError, RemoteProtocolError
from .auth import AuthEvent, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from .auth_packet import AuthPacket, ChapCode, ChapValue
from .auth_text import clean_text, encode_name
from .chap_machine import ChapClient, ChapClientState, ChapServer, Lookup, Verdict
from .mschapv2 import (
    CHALLENGE_SIZE,
    check_authenticator_response,
    generate_authenticator_response,
    generate_nt_response,
    higher_layer_authentication_key,
    nt_password_hash,
)
from .mschapv2_change import ChangePassword, new_password_of
from .mschapv2_messages import (
    ERROR_AUTHENTICATION_FAILURE,
    ERROR_CHANGING_PASSWORD,
    ERROR_PASSWORD_EXPIRED,
    IMPOSTOR_HINT,
    NO_PROOF,
    FailureMessage,
    ResponseValue,
    SuccessMessage,
)


class MsChapV2Client(ChapClient):
    """The side that logs in. It verifies the server's proof, too, and can try again with other credentials."""

    method = AuthMethod.MSCHAPV2
    layer = "mschapv2"

    def __init__(self, credentials: Credentials, entropy: Entropy) -> None:
        """Raises ConfigError when the user name or the password cannot be sent."""
        super().__init__(credentials)
        self._entropy = entropy
        self._nt_response = b""
        self._expected_proof = b""
        self._refused: list[Credentials] = []
        """All that were refused; none of them is sent again."""
        self._refused_challenges: list[tuple[int, bytes]] = []
        """What they had been sent for: a late duplicate of such a Challenge must not draw the new ones."""
        self._next_challenge: tuple[int, bytes] | None = None
        """What retry() is to answer."""
        self._wants_change = False
        """The server's refusal says that the password has expired."""
        self._changed = False
        """The password is being changed, or has been."""

    def _encode_secret(self, password: str) -> None:
        self._password_hash = nt_password_hash(password)

    def _check_challenge(self, value: bytes) -> None:
        # RFC 2759 section 3: "MS-CHAP-V2 authenticators send a sixteen-octet challenge Value field."
        if len(value) != CHALLENGE_SIZE:
            raise RemoteProtocolError(
                f"the server's MS-CHAPv2 Challenge holds {len(value)} bytes instead of {CHALLENGE_SIZE}",
                layer=self.layer,
            )

    def _may_answer(self, challenge: tuple[int, bytes]) -> bool:
        if challenge in self._refused_challenges:
            return False
        if self.state is ChapClientState.MAY_RETRY:
            # The server asks afresh instead of waiting for an answer to its C=: that is what retry() will answer.
            self._next_challenge = challenge
        return super()._may_answer(challenge)

    def _answer(self, identifier: int, challenge: bytes) -> bytes:
        peer_challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        self._prove(challenge, peer_challenge)
        return ResponseValue(peer_challenge, self._nt_response).to_bytes()

    def _prove(self, challenge: bytes, peer_challenge: bytes) -> None:
        self._nt_response = generate_nt_response(challenge, peer_challenge, self._name, self._password_hash)
        self._expected_proof = generate_authenticator_response(
            self._password_hash, self._nt_response, peer_challenge, challenge, self._name
        )

    def _on_success(self, message: bytes) -> AuthEvent:
        success = SuccessMessage.parse(message)
        proof = success.authenticator_response
        # RFC 2759 section 5: "If the authenticator response is either missing or incorrect, the peer MUST end the
        # session."
        if proof is None or not check_authenticator_response(self._expected_proof, proof):
            return AuthRefused(self.method, None, False, NO_PROOF, IMPOSTOR_HINT)
        hlak = higher_layer_authentication_key(self._password_hash, self._nt_response)
        return AuthSucceeded(self.method, hlak, self._credentials.username, success.text, self._changed)

    def _on_failure(self, identifier: int, message: bytes, now: float) -> AuthRefused | None:
        failure = FailureMessage.parse(message)
        changed, self._changed = self._changed, False
        if failure.may_change_password and failure.challenge is not None:
            self._next_challenge = ((identifier + 1) % 256, failure.challenge)
            if self._credentials.new_password is not None and not changed:
                self._change(self._credentials, self._credentials.new_password, now)
                return None
            self._wants_change = True
        self._refused.append(self._credentials)
        if self._challenge is not None:
            self._refused_challenges.append(self._challenge)
        # Without a challenge to answer there is nothing to try with.
        retry_allowed = failure.challenge is not None and (failure.retry_allowed or failure.may_change_password)
        if retry_allowed and failure.challenge is not None:
            self._next_challenge = ((identifier + 1) % 256, failure.challenge)
        meaning, hint = failure.explain()
        return AuthRefused(self.method, failure.error, retry_allowed, meaning, hint)

    def _change(self, credentials: Credentials, new_password: str, now: float) -> None:
        """Send a Change-Password packet; what comes out of it is judged by the new password."""
        if self._next_challenge is None:
            return
        challenge, self._next_challenge = self._next_challenge, None
        change = ChangePassword.make(
            credentials.password,
            new_password,
            authenticator_challenge=challenge[1],
            username=encode_name(credentials.username),
            entropy=self._entropy,
        )
        self._take_credentials(Credentials(credentials.username, new_password))
        self._prove(challenge[1], change.peer_challenge)
        self._changed, self._wants_change = True, False
        self._respond_with(ChapCode.CHANGE_PASSWORD, challenge, change.to_bytes(), now)

    def retry(self, credentials: Credentials, now: float) -> None:
        """Answer the challenge of the refusal with other credentials, or with a new password for one that has expired.

        Raises LocalProtocolError when no retry is allowed or these credentials were refused before, ConfigError
        when they cannot be sent.
        """
        if self.state is not ChapClientState.MAY_RETRY or self._next_challenge is None:
            raise LocalProtocolError(f"the server allows no other try ({self.state.value})", layer=self.layer)
        if credentials in self._refused:
            raise LocalProtocolError("these credentials were refused and are not sent again", layer=self.layer)
        if self._wants_change:
            if credentials.new_password is None:
                raise LocalProtocolError("the password has expired: a new one is needed", layer=self.layer)
            self._change(credentials, credentials.new_password, now)
            return
        self._take_credentials(credentials)
        challenge, self._next_challenge = self._next_challenge, None
        self._respond(challenge, now)


class MsChapV2Server(ChapServer):
    """The asking side. ``retries`` is how many further tries a refused client gets (R=1).

    A user in ``expired`` gets in only by a change of the password, which ``change_password`` takes (user name, new
    password) and may decline.
    """

    method = AuthMethod.MSCHAPV2
    layer = "mschapv2"

    def __init__(
        self,
        lookup: Lookup,
        entropy: Entropy,
        *,
        name: str = "sstpsocks",
        retries: int = 0,
        expired: frozenset[str] = frozenset(),
        change_password: Callable[[str, str], bool] | None = None,
    ) -> None:
        """Raises ConfigError when ``name`` cannot be sent."""
        super().__init__(lookup, entropy, name=name)
        self._retries = retries
        self._expired = expired
        self._change_password = change_password
        self._changing: bytes | None = None
        """The Name of the client whose Change-Password is awaited."""

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed."""
        parsed = AuthPacket.parse(packet)
        if parsed.code != ChapCode.CHANGE_PASSWORD or self._changing is None or parsed.identifier != self._identifier:
            super().receive_packet(packet, now)
            return
        change = ChangePassword.parse(parsed.data)
        name, self._changing = self._changing, None
        self._take_verdict(self._judge_change(change, name), parsed.identifier)

    def _judge(self, identifier: int, response: ChapValue) -> Verdict:
        value = ResponseValue.parse(response.value)
        username = response.name.decode("utf-8", "replace")
        password = self._lookup(username)
        accepted = self._accept(password, response.name, value.peer_challenge, value.nt_response)
        if accepted is None:
            return self._refuse(username)
        if username in self._expired:
            self._changing = response.name
            return self._refuse(username, ERROR_PASSWORD_EXPIRED, "Password expired")
        return accepted

    def _judge_change(self, change: ChangePassword, name: bytes) -> Verdict:
        username = name.decode("utf-8", "replace")
        password = self._lookup(username)
        new_password = new_password_of(change, password) if password is not None else None
        accepted = self._accept(new_password, name, change.peer_challenge, change.nt_response)
        if accepted is None or new_password is None:
            return self._refuse(username)
        if self._change_password is None or not self._change_password(username, new_password):
            return self._refuse(username, ERROR_CHANGING_PASSWORD, "Password not changed")
        return accepted

    def _accept(self, password: str | None, name: bytes, peer_challenge: bytes, nt_response: bytes) -> Verdict | None:
        if password is None:
            return None
        password_hash = nt_password_hash(password)
        expected = generate_nt_response(self._challenge, peer_challenge, name, password_hash)
        if not hmac.compare_digest(expected, nt_response):
            return None
        proof = generate_authenticator_response(password_hash, expected, peer_challenge, self._challenge, name)
        hlak = higher_layer_authentication_key(password_hash, expected)
        event = AuthSucceeded(self.method, hlak, name.decode("utf-8", "replace"))
        return Verdict(True, SuccessMessage(proof, "Welcome").to_bytes(), event)

    def _refuse(
        self, username: str, error: int = ERROR_AUTHENTICATION_FAILURE, text: str = "Wrong user name or password"
    ) -> Verdict:
        may_retry = error == ERROR_AUTHENTICATION_FAILURE and self._retries > 0
        self._retries -= may_retry
        # RFC 2759 section 6 wants a challenge in every Failure; it counts only with R=1, or for a change of password.
        challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        failure = FailureMessage(error, may_retry, challenge, text=text)
        message = f"{text[0].lower()}{text[1:]} for {clean_text(username)!r}"
        event = AuthRefused(self.method, error, may_retry, message)
        waits = may_retry or self._changing is not None
        return Verdict(False, failure.to_bytes(), event, challenge if waits else None)
