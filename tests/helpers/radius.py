"""A small RADIUS client: carries EAP to a server as an access server does, and reads the keys out of its Accept.

RFC 2865 packets, EAP-Message and Message-Authenticator of RFC 3579, MS-MPPE keys of RFC 2548.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from dataclasses import dataclass, field

from sstpsocks.ppp.auth import Authenticator, AuthEvent
from sstpsocks.ppp.eap.packet import IDENTITY, EapCode, EapPacket

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE = 1, 2, 3, 11
USER_NAME, NAS_IDENTIFIER, STATE, VENDOR_SPECIFIC, EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 1, 32, 24, 26, 79, 80
MICROSOFT, MPPE_SEND_KEY, MPPE_RECV_KEY = 311, 16, 17
TIMEOUT = 5.0
ATTRIBUTE_ROOM = 253


@dataclass
class Reply:
    """What the server said."""

    code: int
    attributes: list[tuple[int, bytes]]
    authenticator: bytes

    def all(self, kind: int) -> list[bytes]:
        return [value for number, value in self.attributes if number == kind]

    @property
    def eap(self) -> bytes:
        return b"".join(self.all(EAP_MESSAGE))


@dataclass
class Outcome:
    """How a log-in through the server ended."""

    accepted: bool
    msk: bytes
    """MS-MPPE-Recv-Key and MS-MPPE-Send-Key, which are MSK[0:32] and MSK[32:64]; empty without keys."""
    events: list[AuthEvent]
    requests: list[EapPacket] = field(default_factory=list)
    """What the server sent."""


def attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def parse_attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        assert 2 <= data[1] <= len(data)
        found.append((data[0], data[2 : data[1]]))
        data = data[data[1] :]
    return found


def decrypt_key(value: bytes, secret: bytes, request_authenticator: bytes) -> bytes:
    """RFC 2548 section 2.4.2: salt, then blocks XORed with a chain of MD5."""
    salt, encrypted = value[:2], value[2:]
    clear, previous = b"", request_authenticator + salt
    for start in range(0, len(encrypted), 16):
        block = encrypted[start : start + 16]
        pad = hashlib.md5(secret + previous, usedforsecurity=False).digest()
        clear += bytes(a ^ b for a, b in zip(block, pad, strict=False))
        previous = block
    return clear[1 : 1 + clear[0]]


class RadiusClient:
    """Speaks to one server."""

    def __init__(self, address: tuple[str, int], secret: bytes) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(address)
        self._secret = secret
        self._identifier = 0

    def close(self) -> None:
        self._socket.close()

    def exchange(self, user: bytes, eap: bytes, state: bytes | None) -> tuple[Reply, bytes]:
        """Send one Access-Request and return the checked reply, and the request's authenticator."""
        self._identifier = (self._identifier + 1) % 256
        authenticator = os.urandom(16)
        attributes = attribute(USER_NAME, user) + attribute(NAS_IDENTIFIER, b"sstpsocks-test")
        for start in range(0, len(eap), ATTRIBUTE_ROOM):
            attributes += attribute(EAP_MESSAGE, eap[start : start + ATTRIBUTE_ROOM])
        if state is not None:
            attributes += attribute(STATE, state)
        signed_at = 20 + len(attributes) + 2
        attributes += attribute(MESSAGE_AUTHENTICATOR, bytes(16))
        head = bytes((ACCESS_REQUEST, self._identifier)) + (20 + len(attributes)).to_bytes(2, "big") + authenticator
        packet = bytearray(head + attributes)
        packet[signed_at : signed_at + 16] = hmac.digest(self._secret, bytes(packet), "md5")
        self._socket.send(packet)
        answer = self._socket.recv(4096)
        assert answer[1] == self._identifier
        expected = hashlib.md5(answer[:4] + authenticator + answer[20:] + self._secret, usedforsecurity=False).digest()
        assert expected == answer[4:20], "the server does not share the secret"
        return Reply(answer[0], parse_attributes(answer[20:]), answer[4:20]), authenticator

    def log_in(self, machine: Authenticator) -> Outcome:
        """Let an EAP client log in; the access server's part is to ask for the identity and to carry packets."""
        machine.start(0.0)
        machine.receive_packet(EapPacket(EapCode.REQUEST, 1, IDENTITY).to_bytes(), 0.0)
        outcome = Outcome(False, b"", [])
        user, state = b"", None
        for _ in range(80):
            responses = machine.packets_to_send(0.0)
            while (event := machine.next_event()) is not None:
                outcome.events.append(event)
            if not responses:
                return outcome
            (response,) = responses
            parsed = EapPacket.parse(response)
            user = parsed.data if parsed.kind == IDENTITY else user
            reply, authenticator = self.exchange(user, response, state)
            state = next(iter(reply.all(STATE)), None)
            outcome.requests.append(EapPacket.parse(reply.eap))
            if reply.code == ACCESS_ACCEPT:
                outcome.accepted = True
                outcome.msk = self._keys(reply, authenticator)
            machine.receive_packet(reply.eap, 0.0)
        raise AssertionError("the log-in does not end")

    def _keys(self, reply: Reply, request_authenticator: bytes) -> bytes:
        keys = {}
        for value in reply.all(VENDOR_SPECIFIC):
            if int.from_bytes(value[:4], "big") == MICROSOFT:
                for kind, inner in parse_attributes(value[4:]):
                    keys[kind] = inner
        if MPPE_RECV_KEY not in keys:
            return b""
        return b"".join(
            decrypt_key(keys[kind], self._secret, request_authenticator) for kind in (MPPE_RECV_KEY, MPPE_SEND_KEY)
        )
