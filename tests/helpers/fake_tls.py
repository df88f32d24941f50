"""A stand-in for TLS inside EAP: its flights have TLS's order and sizes, its secrets protect nothing.

Deterministic and fast, so that every loss and every duplicate can be tried. Real TLS is tested beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sstpsocks.ppp.eap.tls_engine import EapTlsEngine, TlsProblem, TlsUse

CLIENT_HELLO, SERVER_HELLO, CLIENT_FINISHED, SERVER_FINISHED, TICKET, DATA, ALERT = range(1, 8)
SIZES = {CLIENT_HELLO: 300, SERVER_HELLO: 2700, CLIENT_FINISHED: 1800, SERVER_FINISHED: 60, TICKET: 250}


def record(kind: int, data: bytes) -> bytes:
    return bytes((kind,)) + len(data).to_bytes(2, "big") + data


class FakeTls:
    """One connection (an EapTlsEngine)."""

    def __init__(self, parameters: FakeTlsParameters, use: TlsUse, *, server: bool, resumed: bool = False) -> None:
        self._parameters = parameters
        self._server = server
        self._use = use
        self._input = b""
        self._output = b""
        self._plaintext = b""
        self.handshake_complete = False
        self.is_tls13 = parameters.tls13
        self.session_resumed = resumed
        self.problem: TlsProblem | None = None
        self.remembered = False

    @property
    def peer_name(self) -> str:
        return self._parameters.client_name if self._use is TlsUse.EAP_TLS else ""

    def start(self) -> None:
        self._flight(CLIENT_HELLO)

    def receive_data(self, data: bytes) -> None:
        self._input += data
        while len(self._input) >= 3 and self.problem is None:
            size = int.from_bytes(self._input[1:3], "big")
            if len(self._input) < 3 + size:
                return
            kind, body, self._input = self._input[0], self._input[3 : 3 + size], self._input[3 + size :]
            self._take(kind, body)

    def data_to_send(self) -> bytes:
        output, self._output = self._output, b""
        return output

    def read(self) -> bytes:
        plaintext, self._plaintext = self._plaintext, b""
        return plaintext

    def write(self, data: bytes) -> None:
        self._output += record(DATA, bytes(byte ^ 0x55 for byte in data))

    def export_keying_material(self, label: str, length: int, context: bytes | None) -> bytes:
        return hashlib.shake_128(f"{label} {length} {context!r}".encode()).digest(length)

    def remember_session(self) -> None:
        self.remembered = True

    def _flight(self, kind: int) -> None:
        size = SIZES[kind]
        if kind == CLIENT_FINISHED and self._use is TlsUse.PEAP:
            size = 80  # no certificate
        if kind == SERVER_HELLO and self.session_resumed:
            size = 150
        self._output += record(kind, bytes(size))

    def _take(self, kind: int, body: bytes) -> None:
        if kind == DATA and self.handshake_complete:
            self._plaintext += bytes(byte ^ 0x55 for byte in body)
        elif kind == ALERT:
            self.problem = TlsProblem("TLS: the other side sent an alert")
        elif self._server and kind == CLIENT_HELLO:
            self._flight(SERVER_HELLO)
        elif self._server and kind == CLIENT_FINISHED:
            self.handshake_complete = True
            self._flight(TICKET if self.is_tls13 else SERVER_FINISHED)
        elif not self._server and kind == SERVER_HELLO:
            if self._parameters.trusted:
                self._flight(CLIENT_FINISHED)
                self.handshake_complete = self.is_tls13
            else:
                self.problem = TlsProblem("authentication server: certificate not trusted", "Pass --eap-ca-file.")
                self._output += record(ALERT, b"\x02\x30")
        elif not self._server and kind in (SERVER_FINISHED, TICKET):
            self.handshake_complete = True
        else:
            self.problem = TlsProblem("TLS: a message out of place")
            self._output += record(ALERT, b"\x02\x0a")


@dataclass(frozen=True)
class FakeTlsParameters:
    """Begins both sides (an EapTlsClient and an EapTlsServer)."""

    tls13: bool = False
    trusted: bool = True
    resumed: bool = False
    has_certificate: bool = True
    client_name: str = "alice"

    @property
    def certificate_name(self) -> str:
        return self.client_name if self.has_certificate else ""

    def connect(self, use: TlsUse) -> EapTlsEngine:
        return FakeTls(self, use, server=False, resumed=self.resumed)

    def accept(self, use: TlsUse) -> EapTlsEngine:
        return FakeTls(self, use, server=True, resumed=self.resumed)
