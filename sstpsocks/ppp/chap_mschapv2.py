"""MS-CHAPv2 (RFC 2759) as a CHAP algorithm: both sides prove themselves, and the HLAK comes out of it."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from ..base.entropy import Entropy
from ..errors import LocalProtocolError, RemoteProtocolError
from .auth import AuthEvent, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from .auth_packet import ChapValue
from .auth_text import CREDENTIALS_HINT, clean_text, with_server_text
from .chap_machine import ChapClient, ChapClientState, ChapServer, Lookup, Verdict
from .mschapv2 import (
    AUTHENTICATOR_RESPONSE_SIZE,
    CHALLENGE_SIZE,
    NT_RESPONSE_SIZE,
    check_authenticator_response,
    generate_authenticator_response,
    generate_nt_response,
    higher_layer_authentication_key,
    nt_password_hash,
)

ERROR_AUTHENTICATION_FAILURE = 691

# RFC 2759 section 6: what the codes mean, and what the user can do.
_FAILURES = {
    646: (
        "this account may not log in at this time of day",
        "Try again within the allowed hours, or ask the administrator.",
    ),
    647: ("this account is disabled", "Ask the administrator to enable it."),
    648: (
        "the password has expired",
        "Change it first, for instance at a computer in the organisation's network, or ask the administrator.",
    ),
    649: ("this account has no permission to dial in", "Ask the administrator for remote access."),
    ERROR_AUTHENTICATION_FAILURE: (
        "wrong user name or password",
        f"{CREDENTIALS_HINT} Some servers want DOMAIN\\user or user@domain.",
    ),
    709: ("the password could not be changed", "Ask the administrator."),
}

_FIELD = re.compile(r"\s*([ERCVS])=(\S*)")
_TRAILING_FIELDS = re.compile(r"(?:\s+[ERCVS]=\S+)+\s*$")
_NUMBER = re.compile(r"[0-9]{1,10}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def _parse_fields(message: bytes) -> tuple[dict[str, str], str]:
    """Return the first of each one-letter field of a Success or Failure, and the cleaned text of ``M=``.

    Any order and any omission is taken; text without a field name counts as ``M=``.
    """
    text = message.rstrip(b"\x00").decode("utf-8", "replace")
    fields: dict[str, str] = {}
    position = 0
    while match := _FIELD.match(text, position):
        fields.setdefault(match[1], match[2])
        position = match.end()
    rest = text[position:].strip()
    shown = rest.removeprefix("M=")
    # M= is the last field by rule, so only a run of fields at the very end is not part of the text.
    if shown != rest and (trailing := _TRAILING_FIELDS.search(shown)):
        for match in _FIELD.finditer(shown, trailing.start()):
            fields.setdefault(match[1], match[2])
        shown = shown[: trailing.start()]
    return fields, clean_text(shown)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def _octets(text: str | None, size: int) -> bytes | None:
    return bytes.fromhex(text) if text is not None and len(text) == 2 * size and _HEXADECIMAL.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """The message of a Failure: ``E=eeeeeeeeee R=r C=cc...cc V=vvvvvvvvvv M=<msg>`` (RFC 2759 section 6)."""

    error: int | None
    """The error code, None when there was none."""
    retry_allowed: bool
    """R=1."""
    challenge: bytes | None = field(default=None, repr=False)
    """16 bytes for the next try, None when missing or malformed."""
    version: int | None = 3
    """Of the password change protocol; 3 is MS-CHAPv2's. None when missing."""
    text: str = ""
    """For the user, cleaned."""

    @classmethod
    def parse(cls, message: bytes) -> FailureMessage:
        """Parse whatever came; servers leave out C, V and M, and this is no place to fail."""
        fields, text = _parse_fields(message)
        return cls(
            error=_number(fields.get("E")),
            retry_allowed=fields.get("R") == "1",
            challenge=_octets(fields.get("C"), CHALLENGE_SIZE),
            version=_number(fields.get("V")),
            text=text,
        )

    def to_bytes(self) -> bytes:
        """Return the message as it is sent."""
        parts = [] if self.error is None else [f"E={self.error}"]
        parts.append(f"R={int(self.retry_allowed)}")
        if self.challenge is not None:
            parts.append(f"C={self.challenge.hex().upper()}")
        if self.version is not None:
            parts.append(f"V={self.version}")
        if self.text:
            parts.append(f"M={self.text}")
        return " ".join(parts).encode()


@dataclass(frozen=True, slots=True)
class SuccessMessage:
    """The message of a Success: ``S=<auth_string> M=<message>`` (RFC 2759 section 5)."""

    authenticator_response: bytes | None = field(repr=False)
    """20 bytes, None when missing or malformed."""
    text: str = ""
    """For the user, cleaned."""

    @classmethod
    def parse(cls, message: bytes) -> SuccessMessage:
        """Parse whatever came; the case of the digits varies between servers, and M= may be missing."""
        fields, text = _parse_fields(message)
        # What follows the digits without a space is not the proof's concern.
        digits = fields.get("S", "")[: 2 * AUTHENTICATOR_RESPONSE_SIZE]
        return cls(_octets(digits, AUTHENTICATOR_RESPONSE_SIZE), text)

    def to_bytes(self) -> bytes:
        """Return the message as it is sent."""
        parts = [] if self.authenticator_response is None else [f"S={self.authenticator_response.hex().upper()}"]
        if self.text:
            parts.append(f"M={self.text}")
        return " ".join(parts).encode()


@dataclass(frozen=True, slots=True)
class ResponseValue:
    """The value of a Response (RFC 2759 section 4)."""

    peer_challenge: bytes = field(repr=False)
    """16 bytes."""
    nt_response: bytes = field(repr=False)
    """24 bytes."""

    SIZE = 49

    @classmethod
    def parse(cls, value: bytes) -> ResponseValue:
        """Parse; raises RemoteProtocolError when the size is wrong. Reserved bytes and flags are ignored."""
        if len(value) != cls.SIZE:
            raise RemoteProtocolError(
                f"an MS-CHAPv2 Response holds {len(value)} bytes instead of {cls.SIZE}", layer="mschapv2"
            )
        return cls(value[:CHALLENGE_SIZE], value[CHALLENGE_SIZE + 8 : CHALLENGE_SIZE + 8 + NT_RESPONSE_SIZE])

    def to_bytes(self) -> bytes:
        """Return the value as it is sent."""
        return self.peer_challenge + bytes(8) + self.nt_response + b"\x00"


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
        self._nt_response = generate_nt_response(challenge, peer_challenge, self._name, self._password_hash)
        self._expected_proof = generate_authenticator_response(
            self._password_hash, self._nt_response, peer_challenge, challenge, self._name
        )
        return ResponseValue(peer_challenge, self._nt_response).to_bytes()

    def _on_success(self, message: bytes) -> AuthEvent:
        success = SuccessMessage.parse(message)
        proof = success.authenticator_response
        # RFC 2759 section 5: "If the authenticator response is either missing or incorrect, the peer MUST end the
        # session."
        if proof is None or not check_authenticator_response(self._expected_proof, proof):
            return AuthRefused(
                self.method,
                None,
                False,
                "the server could not prove that it knows the password",
                "It may be an impostor, or relay to one: check the server's name and certificate before trying again.",
            )
        hlak = higher_layer_authentication_key(self._password_hash, self._nt_response)
        return AuthSucceeded(self.method, hlak, self._credentials.username, success.text)

    def _on_failure(self, identifier: int, message: bytes) -> AuthRefused:
        failure = FailureMessage.parse(message)
        self._refused.append(self._credentials)
        if self._challenge is not None:
            self._refused_challenges.append(self._challenge)
        # Without a challenge to answer there is nothing to try with.
        retry_allowed = failure.retry_allowed and failure.challenge is not None
        if retry_allowed and failure.challenge is not None:
            self._next_challenge = ((identifier + 1) % 256, failure.challenge)
        meaning, hint = _FAILURES.get(failure.error or 0, ("the server refused the log-in", CREDENTIALS_HINT))
        if failure.error is not None:
            meaning = f"{meaning} (error {failure.error})"
        return AuthRefused(self.method, failure.error, retry_allowed, with_server_text(meaning, failure.text), hint)

    def retry(self, credentials: Credentials, now: float) -> None:
        """Answer the challenge of the refusal with other credentials.

        Raises LocalProtocolError when no retry is allowed or these credentials were refused before, ConfigError
        when they cannot be sent.
        """
        if self.state is not ChapClientState.MAY_RETRY or self._next_challenge is None:
            raise LocalProtocolError(f"the server allows no other try ({self.state.value})", layer=self.layer)
        if credentials in self._refused:
            raise LocalProtocolError("these credentials were refused and are not sent again", layer=self.layer)
        self._take_credentials(credentials)
        challenge, self._next_challenge = self._next_challenge, None
        self._respond(challenge, now)


class MsChapV2Server(ChapServer):
    """The asking side. ``retries`` is how many further tries a refused client gets (R=1)."""

    method = AuthMethod.MSCHAPV2
    layer = "mschapv2"

    def __init__(self, lookup: Lookup, entropy: Entropy, *, name: str = "sstpsocks", retries: int = 0) -> None:
        """Raises ConfigError when ``name`` cannot be sent."""
        super().__init__(lookup, entropy, name=name)
        self._retries = retries

    def _judge(self, identifier: int, response: ChapValue) -> Verdict:
        value = ResponseValue.parse(response.value)
        username = response.name.decode("utf-8", "replace")
        password = self._lookup(username)
        if password is not None:
            password_hash = nt_password_hash(password)
            expected = generate_nt_response(self._challenge, value.peer_challenge, response.name, password_hash)
            if hmac.compare_digest(expected, value.nt_response):
                proof = generate_authenticator_response(
                    password_hash, expected, value.peer_challenge, self._challenge, response.name
                )
                message = SuccessMessage(proof, "Welcome").to_bytes()
                hlak = higher_layer_authentication_key(password_hash, expected)
                return Verdict(True, message, AuthSucceeded(self.method, hlak, username))
        return self._refuse(username)

    def _refuse(self, username: str) -> Verdict:
        may_retry = self._retries > 0
        self._retries -= may_retry
        # RFC 2759 section 6 wants a challenge in every Failure; it counts only with R=1.
        challenge = self._entropy.random_bytes(CHALLENGE_SIZE)
        failure = FailureMessage(ERROR_AUTHENTICATION_FAILURE, may_retry, challenge, text="Wrong user name or password")
        message = f"wrong user name or password for {clean_text(username)!r}"
        event = AuthRefused(self.method, ERROR_AUTHENTICATION_FAILURE, may_retry, message)
        return Verdict(False, failure.to_bytes(), event, challenge if may_retry else None)
