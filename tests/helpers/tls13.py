"""The sending side of a TLS 1.3 server, written out, to send what OpenSSL's interface gives no way to send.

It takes over behind the handshake of a real server: from then on every record from the server is made here (RFC 8446
section 5.2), with the traffic secret out of the server's key log. So it can send tickets at any time, ask for or
announce new keys (section 4.6.3), and read what the client answers.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDSHAKE, APPLICATION_DATA = 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24


def expand_label(secret: bytes, label: str, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1), for SHA-384."""
    full = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + b"\x00"
    block, output = b"", b""
    for number in range(1, 3):
        block = hmac.digest(secret, block + info + bytes((number,)), hashlib.sha384)
        output += block
    return output[:length]


class Direction:
    """One direction of a connection with TLS_AES_256_GCM_SHA384."""

    def __init__(self, secret: bytes, records: int = 0) -> None:
        self.sequence = records
        self._set(secret)

    def _set(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(expand_label(secret, "key", 32))
        self._iv = int.from_bytes(expand_label(secret, "iv", 12), "big")

    def new_keys(self) -> None:
        """Go on with the next generation (RFC 8446 section 7.2)."""
        self._set(expand_label(self._secret, "traffic upd", 48))
        self.sequence = 0

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self.sequence).to_bytes(12, "big")
        self.sequence += 1
        return nonce

    def seal(self, kind: int, content: bytes) -> bytes:
        """Return one record."""
        header = b"\x17\x03\x03" + (len(content) + 1 + 16).to_bytes(2, "big")
        return header + self._cipher.encrypt(self._nonce(), content + bytes((kind,)), header)

    def open(self, records: bytes) -> list[tuple[int, bytes]]:
        """Return kind and content of each record; follows the peer's KeyUpdate."""
        found = []
        while records:
            size = 5 + int.from_bytes(records[3:5], "big")
            record, records = records[:size], records[size:]
            plaintext = self._cipher.decrypt(self._nonce(), record[5:], record[:5])
            kind, content = plaintext[-1], plaintext[:-1]
            found.append((kind, content))
            if kind == HANDSHAKE and content[0] == KEY_UPDATE:
                self.new_keys()
        return found


def key_update(*, requested: bool) -> bytes:
    """A KeyUpdate message (RFC 8446 section 4.6.3)."""
    return bytes((KEY_UPDATE, 0, 0, 1, requested))


def new_session_ticket(number: int) -> bytes:
    """A NewSessionTicket message (RFC 8446 section 4.6.1)."""
    ticket = number.to_bytes(4, "big") * 40
    body = (7200).to_bytes(4, "big") + number.to_bytes(4, "big") + b"\x02" + number.to_bytes(2, "big")
    body += len(ticket).to_bytes(2, "big") + ticket + b"\x00\x00"
    return bytes((NEW_SESSION_TICKET,)) + len(body).to_bytes(3, "big") + body
