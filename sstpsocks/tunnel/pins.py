"""How a SHA-256 digest of a certificate or public key is written: the form that curl and HPKP made usual, or digits.

``sha256//`` is followed by base64, as curl's ``--pinnedpubkey`` has it (RFC 7469 section 2.4 hashes the same octets).
Hexadecimal digits, with or without colons, are what ``openssl x509 -fingerprint -sha256`` and browsers show.
"""

from __future__ import annotations

import base64
import binascii
import re

PIN_SIZE = 32
"""Octets of SHA-256."""

_PREFIX = "sha256//"


def parse_pin(text: str) -> bytes:
    """Return the 32 octets of a digest in either form. Raises ValueError with a text that says what is wrong."""
    stripped = text.strip()
    if stripped.lower().startswith(_PREFIX):
        try:
            digest = base64.b64decode(stripped[len(_PREFIX) :], validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if len(digest) != PIN_SIZE:
            raise ValueError(f'"{text}" is not {_PREFIX} with the base64 of a SHA-256 digest')
        return digest
    digits = stripped.lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(rf"[0-9a-f]{{{2 * PIN_SIZE}}}", digits):
        raise ValueError(f'"{text}" is not a SHA-256 digest of {2 * PIN_SIZE} hexadecimal digits')
    return bytes.fromhex(digits)


def pin_text(digest: bytes) -> str:
    """Return the digest as ``sha256//`` and base64."""
    return _PREFIX + base64.b64encode(digest).decode("ascii")
