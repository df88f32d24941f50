"""The functions of MS-CHAPv2 (RFC 2759 section 8) and the keys that come out of it (RFC 3079 section 3).

Names are those of the RFCs in snake_case. Everything here is a pure function; the machines are in
chap_mschapv2.py.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from ..base.md4 import md4
from .auth_text import encode_password_utf16

CHALLENGE_SIZE = 16
NT_RESPONSE_SIZE = 24
AUTHENTICATOR_RESPONSE_SIZE = 20
PASSWORD_HASH_SIZE = 16

# RFC 2759 section 8.7.
_MAGIC_1 = b"Magic server to client signing constant"
_MAGIC_2 = b"Pad to make it do more than one iteration"

# RFC 3079 section 3.4.
_MASTER_KEY_MAGIC = b"This is the MPPE Master Key"
_CLIENT_SEND_MAGIC = b"On the client side, this is the send key; on the server side, it is the receive key."
_CLIENT_RECEIVE_MAGIC = b"On the client side, this is the receive key; on the server side, it is the send key."
_SHS_PAD_1 = bytes(40)
_SHS_PAD_2 = b"\xf2" * 40
_SESSION_KEY_SIZE = 16  # RFC 3079: 128-bit keys


def _sha1(*parts: bytes) -> bytes:
    # RFC 2759 fixes SHA-1; it protects nothing beyond what the protocol is worth inside TLS.
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def strip_domain(username: bytes) -> bytes:
    r"""Return the user name that is hashed: without ``DOMAIN\``; ``user@realm`` stays whole.

    RFC 2759 section 8.2: only the user name, "excluding any prepended domain name", goes into the hash.
    """
    return username.rpartition(b"\\")[2]


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, username: bytes) -> bytes:
    r"""Return the 8-byte challenge (RFC 2759 section 8.2). ``username`` may still carry ``DOMAIN\``."""
    return _sha1(peer_challenge, authenticator_challenge, strip_domain(username))[:8]


def nt_password_hash(password: str) -> bytes:
    """Return MD4 of the password in UTF-16LE (RFC 2759 section 8.3).

    Raises ConfigError when the password cannot be encoded.
    """
    return md4(encode_password_utf16(password))


def hash_nt_password_hash(password_hash: bytes) -> bytes:
    """Return MD4 of the password hash (RFC 2759 section 8.4)."""
    return md4(password_hash)


def _spread_key(key: bytes) -> bytes:
    """Spread 56 bits over eight bytes, seven in each; DES ignores the lowest bit, the parity."""
    bits = int.from_bytes(key, "big")
    return bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))


def des_encrypt(clear: bytes, key: bytes) -> bytes:
    """Encrypt one block of 8 bytes with a key of 7 bytes (RFC 2759 section 8.6).

    Triple DES with three equal keys is single DES: the second pass undoes the first.
    """
    # One block has no mode; ECB is its name in the library.
    cipher = Cipher(TripleDES(_spread_key(key) * 3), modes.ECB())  # noqa: S305
    encryptor = cipher.encryptor()
    return encryptor.update(clear) + encryptor.finalize()


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """Return the 24-byte response to an 8-byte challenge (RFC 2759 section 8.5)."""
    padded = password_hash.ljust(21, b"\x00")
    return b"".join(des_encrypt(challenge, padded[start : start + 7]) for start in (0, 7, 14))


def generate_nt_response(
    authenticator_challenge: bytes, peer_challenge: bytes, username: bytes, password_hash: bytes
) -> bytes:
    r"""Return the NT-Response (RFC 2759 section 8.1). ``username`` may still carry ``DOMAIN\``."""
    return challenge_response(challenge_hash(peer_challenge, authenticator_challenge, username), password_hash)


def generate_authenticator_response(
    password_hash: bytes,
    nt_response: bytes,
    peer_challenge: bytes,
    authenticator_challenge: bytes,
    username: bytes,
) -> bytes:
    """Return the 20 bytes that prove the server's knowledge, sent as ``S=`` in hex (RFC 2759 section 8.7)."""
    digest = _sha1(hash_nt_password_hash(password_hash), nt_response, _MAGIC_1)
    return _sha1(digest, challenge_hash(peer_challenge, authenticator_challenge, username), _MAGIC_2)


def check_authenticator_response(expected: bytes, received: bytes) -> bool:
    """Compare two authenticator responses in constant time (RFC 2759 section 8.8)."""
    return hmac.compare_digest(expected, received)


def get_master_key(password_hash_hash: bytes, nt_response: bytes) -> bytes:
    """Return the 16-byte MPPE master key (RFC 3079 section 3.4, GetMasterKey)."""
    return _sha1(password_hash_hash, nt_response, _MASTER_KEY_MAGIC)[:_SESSION_KEY_SIZE]


def get_client_master_keys(master_key: bytes) -> tuple[bytes, bytes]:
    """Return MasterSendKey and MasterReceiveKey as the client sees them (RFC 3079, GetAsymmetricStartKey).

    16 bytes each. The server's are the same two with the names exchanged.
    """
    send = _sha1(master_key, _SHS_PAD_1, _CLIENT_SEND_MAGIC, _SHS_PAD_2)[:_SESSION_KEY_SIZE]
    receive = _sha1(master_key, _SHS_PAD_1, _CLIENT_RECEIVE_MAGIC, _SHS_PAD_2)[:_SESSION_KEY_SIZE]
    return send, receive


def higher_layer_authentication_key(password_hash: bytes, nt_response: bytes) -> bytes:
    """Return the 32-byte HLAK: the client's MasterSendKey, then its MasterReceiveKey (MS-SSTP 3.2.5.2.2).

    The server, whose receive key is the client's send key, computes the same bytes.
    """
    send, receive = get_client_master_keys(get_master_key(hash_nt_password_hash(password_hash), nt_response))
    return send + receive
