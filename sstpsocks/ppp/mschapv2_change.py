"""Changing an expired password with MS-CHAPv2 (RFC 2759 sections 7 and 8.9 to 8.13), in CHAP and in EAP alike.

The new password goes to the server encrypted with the hash of the old one, and the hash of the old one encrypted with
that of the new one, by which the server sees that the old one was known. What is here are pure functions and the value
of the packet; names are those of the RFC in snake_case.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

from ..base.entropy import Entropy
from ..errors import ConfigError, RemoteProtocolError
from .auth_text import encode_password_utf16
from .mschapv2 import (
    CHALLENGE_SIZE,
    NT_RESPONSE_SIZE,
    PASSWORD_HASH_SIZE,
    des_encrypt,
    generate_nt_response,
    nt_password_hash,
)

_PASSWORD_FIELD = 512  # octets: 256 characters of UTF-16
_ENCRYPTED_PASSWORD_SIZE = _PASSWORD_FIELD + 4
_RESERVED_SIZE = 8
_FLAGS_SIZE = 2


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """The value of a Change-Password packet (RFC 2759 section 7)."""

    encrypted_password: bytes = field(repr=False)
    """516 bytes."""
    encrypted_hash: bytes = field(repr=False)
    """16 bytes."""
    peer_challenge: bytes = field(repr=False)
    """16 bytes."""
    nt_response: bytes = field(repr=False)
    """24 bytes, made with the new password."""

    SIZE = (
        _ENCRYPTED_PASSWORD_SIZE + PASSWORD_HASH_SIZE + CHALLENGE_SIZE + _RESERVED_SIZE + NT_RESPONSE_SIZE + _FLAGS_SIZE
    )

    @classmethod
    def parse(cls, value: bytes) -> ChangePassword:
        """Parse; raises RemoteProtocolError when the size is wrong. Reserved bytes and flags are ignored."""
        if len(value) != cls.SIZE:
            raise RemoteProtocolError(
                f"an MS-CHAPv2 Change-Password holds {len(value)} bytes instead of {cls.SIZE}", layer="mschapv2"
            )
        hash_at = _ENCRYPTED_PASSWORD_SIZE
        challenge_at = hash_at + PASSWORD_HASH_SIZE
        response_at = challenge_at + CHALLENGE_SIZE + _RESERVED_SIZE
        return cls(
            value[:hash_at],
            value[hash_at:challenge_at],
            value[challenge_at : challenge_at + CHALLENGE_SIZE],
            value[response_at : response_at + NT_RESPONSE_SIZE],
        )

    def to_bytes(self) -> bytes:
        """Return the value as it is sent."""
        return (
            self.encrypted_password
            + self.encrypted_hash
            + self.peer_challenge
            + bytes(_RESERVED_SIZE)
            + self.nt_response
            + bytes(_FLAGS_SIZE)
        )

    @classmethod
    def make(
        cls,
        old_password: str,
        new_password: str,
        *,
        authenticator_challenge: bytes,
        username: bytes,
        entropy: Entropy,
    ) -> ChangePassword:
        """Return the value for a change. Raises ConfigError when a password cannot be sent."""
        old_hash, new_hash = nt_password_hash(old_password), nt_password_hash(new_password)
        peer_challenge = entropy.random_bytes(CHALLENGE_SIZE)
        return cls(
            new_password_encrypted_with_old_nt_password_hash(new_password, old_hash, entropy),
            nt_password_hash_encrypted_with_block(old_hash, new_hash),
            peer_challenge,
            generate_nt_response(authenticator_challenge, peer_challenge, username, new_hash),
        )


def _rc4(key: bytes, data: bytes) -> bytes:
    return Cipher(ARC4(key), mode=None).encryptor().update(data)


def new_password_encrypted_with_old_nt_password_hash(new_password: str, old_hash: bytes, entropy: Entropy) -> bytes:
    """Return 516 bytes (RFC 2759 sections 8.9 and 8.10). Raises ConfigError when the password is too long."""
    encoded = encode_password_utf16(new_password)
    if not encoded or len(encoded) > _PASSWORD_FIELD:
        raise ConfigError("the new password must have 1 to 256 characters")
    padding = entropy.random_bytes(_PASSWORD_FIELD - len(encoded))
    return _rc4(old_hash, padding + encoded + len(encoded).to_bytes(4, "little"))


def decrypt_new_password(encrypted_password: bytes, old_hash: bytes) -> str | None:
    """Return the new password on the server's side; None when it was not encrypted with that hash."""
    clear = _rc4(old_hash, encrypted_password)
    size = int.from_bytes(clear[_PASSWORD_FIELD:], "little")
    if not 0 < size <= _PASSWORD_FIELD or size % 2:
        return None
    try:
        return clear[_PASSWORD_FIELD - size : _PASSWORD_FIELD].decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def nt_password_hash_encrypted_with_block(password_hash: bytes, block: bytes) -> bytes:
    """Return the 16-byte hash encrypted with another (RFC 2759 sections 8.12 and 8.13)."""
    return des_encrypt(password_hash[:8], block[:7]) + des_encrypt(password_hash[8:], block[7:14])


def new_password_of(change: ChangePassword, old_password: str) -> str | None:
    """Return the new password of a change on the server's side, None when the old one was not known to the client."""
    old_hash = nt_password_hash(old_password)
    new_password = decrypt_new_password(change.encrypted_password, old_hash)
    if new_password is None:
        return None
    expected = nt_password_hash_encrypted_with_block(old_hash, nt_password_hash(new_password))
    return new_password if expected == change.encrypted_hash else None
