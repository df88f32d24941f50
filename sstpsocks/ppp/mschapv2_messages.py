"""What MS-CHAPv2 says (RFC 2759 sections 4 to 7), in CHAP and in EAP alike: values and messages, not their packets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import RemoteProtocolError
from .auth_text import CREDENTIALS_HINT, clean_text, with_server_text
from .mschapv2 import AUTHENTICATOR_RESPONSE_SIZE, CHALLENGE_SIZE, NT_RESPONSE_SIZE

ERROR_PASSWORD_EXPIRED = 648
ERROR_AUTHENTICATION_FAILURE = 691
ERROR_CHANGING_PASSWORD = 709
NO_PROOF = "the server could not prove that it knows the password"
IMPOSTOR_HINT = "It may be an impostor, or relay to one: check the server's name and certificate before trying again."
_CHANGE_VERSION = 3  # RFC 2759 section 6: the V= of MS-CHAPv2's Change-Password packet

# RFC 2759 section 6: what the codes mean, and what the user can do.
_FAILURES = {
    646: (
        "this account may not log in at this time of day",
        "Try again within the allowed hours, or ask the administrator.",
    ),
    647: ("this account is disabled", "Ask the administrator to enable it."),
    ERROR_PASSWORD_EXPIRED: (
        "the password has expired",
        "Choose a new one with --new-password-file, or change it at a computer in the organisation's network.",
    ),
    649: ("this account has no permission to dial in", "Ask the administrator for remote access."),
    ERROR_AUTHENTICATION_FAILURE: (
        "wrong user name or password",
        f"{CREDENTIALS_HINT} Some servers want DOMAIN\\user or user@domain.",
    ),
    ERROR_CHANGING_PASSWORD: (
        "the password could not be changed",
        "The server may want a longer one, or one that was not used before; its administrator knows the rules.",
    ),
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

    @property
    def may_change_password(self) -> bool:
        """Whether a Change-Password packet may follow (RFC 2759 section 7); R= says nothing about that."""
        return self.error == ERROR_PASSWORD_EXPIRED and self.version == _CHANGE_VERSION and self.challenge is not None

    def explain(self) -> tuple[str, str]:
        """Return what to tell the user, and what to try."""
        meaning, hint = _FAILURES.get(self.error or 0, ("the server refused the log-in", CREDENTIALS_HINT))
        if self.error is not None:
            meaning = f"{meaning} (error {self.error})"
        return with_server_text(meaning, self.text), hint

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
