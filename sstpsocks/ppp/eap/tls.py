"""EAP-TLS with TLS 1.2 (RFC 5216) and TLS 1.3 (RFC 9190): both sides prove themselves by certificates.

With TLS 1.3 the server says that it is content by one byte of application data, zero, behind the handshake: the
protected success indication, without which a Success counts for nothing (RFC 9190 section 2.1.1).
"""

from __future__ import annotations

from ..auth import AuthMethod
from .keys import MSK_SIZE
from .method import Decision, Refusal
from .packet import TLS, EapType
from .tls_engine import EapTlsEngine
from .tls_method import TlsPeerMethod, TlsServerMethod, key_material

SUCCESS_INDICATION = b"\x00"


class EapTlsPeer(TlsPeerMethod):
    """The side that logs in with its certificate."""

    kind = TLS
    method = AuthMethod.EAP_TLS

    def __init__(self, engine: EapTlsEngine, username: str, *, in_tunnel: bool = False) -> None:
        """``in_tunnel``: it runs inside PEAP, whose Result TLV is the protected indication."""
        super().__init__(engine)
        self.username = username
        self._in_tunnel = in_tunnel

    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        self.msk = key_material(self._engine, EapType.TLS)[:MSK_SIZE]
        if not self._engine.is_tls13 or self._in_tunnel:
            # RFC 5216 knows no indication: a server may still refuse a good certificate, by a Failure. hostapd leaves
            # it out inside PEAP also with TLS 1.3.
            self.decision = Decision.CONDITIONAL_SUCCESS
        if data == SUCCESS_INDICATION:
            self.decision = Decision.UNCONDITIONAL_SUCCESS
        if data and (data != SUCCESS_INDICATION or not self._engine.is_tls13):
            self.decision = Decision.FAIL
            self.refusal = Refusal("the server sends application data within EAP-TLS, against RFC 9190")


class EapTlsServer(TlsServerMethod):
    """The asking side: whoever has a certificate that the engine trusts gets in."""

    kind = TLS
    method = AuthMethod.EAP_TLS

    def __init__(self, engine: EapTlsEngine) -> None:
        super().__init__(engine)

    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        if data:
            self.fail("the client sends application data within EAP-TLS")
            return
        self.msk = key_material(self._engine, EapType.TLS)[:MSK_SIZE]
        self.username = self._engine.peer_name
        if self._engine.is_tls13:
            self._engine.write(SUCCESS_INDICATION)
        last_words = self._engine.data_to_send()
        if last_words:
            self._next = self._transport.send(last_words)
        else:
            self.done = True

    def _acknowledged(self) -> None:
        self.done = True
