"""PEAPv0 ([MS-PEAP], draft-kamath-pppext-peapv0-00): another EAP conversation inside TLS.

Theory of operation. Phase 1 is EAP-TLS without a client certificate. In phase 2 the packets of the inner conversation
are application data, "compressed": without code, identifier and length, which the outer packet has. Those of the
Extensions Method (type 33) keep their header, as do Microsoft's of type 254, and FreeRADIUS' first Identity. When the
inner method is through the server says how it ended by a Result TLV, with a Cryptobinding TLV if it has that, and the
peer answers in kind; only then does the outer Success count. A server that resumes the TLS session goes straight to
the Result TLV: fast reconnect.
"""

from __future__ import annotations

from ...base.entropy import Entropy
from ...errors import RemoteProtocolError
from ..auth import AuthMethod, Credentials
from ..auth_text import clean_text
from .keys import MSK_SIZE
from .method import Decision, Refusal
from .packet import HEADER_SIZE, PEAP, TLV, EapCode, EapPacket, EapType
from .peap_keys import PeapKeys
from .peap_tlv import (
    NONCE_SIZE,
    BindingSubtype,
    CryptoBinding,
    Result,
    Tlv,
    TlvType,
    find_result,
    nak_tlv,
    parse_tlvs,
    result_tlv,
)
from .peer_conversation import PeerConversation, PeerMethods
from .server_conversation import ServerConversation, ServerMethods
from .tls_engine import EapTlsEngine
from .tls_method import KEY_MATERIAL_SIZE, TlsPeerMethod, TlsServerMethod, key_material

_LAYER = "peap"
_KNOWN_TLVS = (TlvType.RESULT, TlvType.NAK, TlvType.CRYPTO_BINDING)


def decompress(data: bytes, code: EapCode, identifier: int) -> EapPacket:
    """Return the inner packet of one side, whose header may be missing; raises RemoteProtocolError."""
    if len(data) > HEADER_SIZE and data[0] == code and int.from_bytes(data[2:4], "big") == len(data):
        # What begins like a whole packet may also be a compressed Identity with a text: Types decide.
        is_bare_identity = data[HEADER_SIZE] == EapType.IDENTITY and len(data) == HEADER_SIZE + 1
        if is_bare_identity or data[HEADER_SIZE] in (EapType.TLV, EapType.EXPANDED):
            return EapPacket.parse(data)
    if len(data) == HEADER_SIZE and data[0] in (EapCode.SUCCESS, EapCode.FAILURE) and data[2:] == b"\x00\x04":
        return EapPacket.parse(data)
    return EapPacket.parse_body(code, identifier, data)


def compress(packet: EapPacket) -> bytes:
    """Return an inner packet as it goes into the tunnel."""
    keeps_header = packet.kind is not None and (packet.kind == TLV or packet.expanded)
    return packet.to_bytes() if keeps_header else packet.body()


class PeapPeer(TlsPeerMethod):
    """The side that logs in."""

    kind = PEAP
    method = AuthMethod.PEAP

    def __init__(self, engine: EapTlsEngine, methods: PeerMethods, credentials: Credentials, entropy: Entropy) -> None:
        """``methods`` are those of phase 2. Raises ConfigError when the user name cannot be sent."""
        super().__init__(engine)
        self.username = credentials.username
        self._entropy = entropy
        self._inner = PeerConversation(credentials.username, methods, credentials)
        self._server_version = 0

    def retry(self, credentials: Credentials) -> bytes:
        """Let the inner method try other credentials."""
        self._engine.write(compress(self._inner.retry(credentials)))
        self.username = credentials.username
        return self._send()

    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        if not data:
            return
        request = decompress(data, EapCode.REQUEST, identifier)
        if request.code == EapCode.SUCCESS:
            return  # some servers say so before the Result TLV that counts
        if request.code == EapCode.FAILURE:
            self._refuse()
            return
        response = self._answer_tlvs(request) if request.kind == TLV else self._inner.answer(request)
        if response is not None:
            self._engine.write(compress(response))
        if self._inner.method is not None:
            self.username = self._inner.method.username
            self.password_changed = self._inner.method.password_changed
        self.message = self._inner.text
        if response is None:
            self.refusal = self._inner.refusal
        else:
            # The server has still to say so by a Result TLV, and to get its answer.
            self.pending = self._inner.refusal

    def _answer_tlvs(self, request: EapPacket) -> EapPacket:
        tlvs = parse_tlvs(request.data)
        unknown = next((tlv.type for tlv in tlvs if tlv.mandatory and tlv.type not in _KNOWN_TLVS), None)
        if unknown is not None:
            return request.answer(nak_tlv(unknown).to_bytes())
        binding, result = CryptoBinding.find(tlvs), find_result(tlvs)
        fast_reconnect = self._engine.session_resumed and self._inner.method is None
        # An inner method that is not through makes a server's success a lie: somebody left out the proof.
        fine = result is Result.SUCCESS and (fast_reconnect or self._inner.decision is not Decision.FAIL)
        self.msk = key_material(self._engine, EapType.PEAP)[:MSK_SIZE]
        answers: list[Tlv] = []
        if binding is not None:
            keys = self._keys_of(binding, fast_reconnect=fast_reconnect)
            if not keys.verifies(binding) or binding.subtype != BindingSubtype.REQUEST:
                fine = False
                self.refusal = Refusal(
                    "the server's PEAP tunnel does not belong to the log-in inside it (crypto binding)",
                    "Somebody in between may relay the log-in; check the certificate of the authentication server.",
                )
            nonce = self._entropy.random_bytes(NONCE_SIZE)
            answer = CryptoBinding(0, binding.version, BindingSubtype.RESPONSE, nonce)
            answers.append(keys.sign(answer).to_tlv())
            self.msk = keys.msk()
        answers.insert(0, result_tlv(Result.SUCCESS if fine else Result.FAILURE))
        if fine:
            self.decision = Decision.UNCONDITIONAL_SUCCESS
        elif self.refusal is None:
            self._refuse()
        return request.answer(b"".join(tlv.to_bytes() for tlv in answers))

    def _keys_of(self, binding: CryptoBinding, *, fast_reconnect: bool) -> PeapKeys:
        """Return the keys that the server has signed with; if that is unknown, those of the specification."""
        inner_msk = self._inner.method.msk if self._inner.method is not None else None
        # hostapd 2.10 exports no more than it needs, which is not the start of the whole in TLS 1.3.
        sizes = (KEY_MATERIAL_SIZE, MSK_SIZE) if self._engine.is_tls13 else (KEY_MATERIAL_SIZE,)
        materials = [key_material(self._engine, EapType.PEAP, size) for size in sizes]
        candidates = [PeapKeys.derive(one, inner_msk, fast_reconnect=fast_reconnect) for one in materials]
        return next((keys for keys in candidates if keys.verifies(binding)), candidates[0])

    def _refuse(self) -> None:
        self.decision = Decision.FAIL
        said = f"; the server says: {self._inner.text}" if self._inner.text else ""
        self.refusal = self._inner.refusal or Refusal(
            f"the server refused the log-in inside PEAP{said}", "Check the user name and the password."
        )


class PeapServer(TlsServerMethod):
    """The asking side. A resumed session stands for the inner method; the engine resumes only those that succeeded."""

    kind = PEAP
    method = AuthMethod.PEAP

    def __init__(self, engine: EapTlsEngine, methods: ServerMethods, identity: str, entropy: Entropy) -> None:
        """``methods`` are those of phase 2; ``identity`` is that of phase 1."""
        super().__init__(engine)
        self.username = identity
        self._entropy = entropy
        self._inner = ServerConversation(methods)
        self._result: Result | None = None
        """What the Result TLV says, once it is due."""
        self._keys: PeapKeys | None = None
        self._material = b""

    def _message(self, identifier: int) -> bytes:
        message = super()._message(identifier)
        if message or not self._engine.handshake_complete:
            return message  # TLS's own last words go alone; the peer acknowledges them
        self._engine.write(compress(self._tlvs(identifier) if self._result else self._inner.request(identifier)))
        return self._engine.data_to_send()

    def _tlvs(self, identifier: int) -> EapPacket:
        tlvs = [result_tlv(self._result or Result.FAILURE)]
        if self._keys is not None:
            binding = CryptoBinding(0, 0, BindingSubtype.REQUEST, self._entropy.random_bytes(NONCE_SIZE))
            tlvs.append(self._keys.sign(binding).to_tlv())
        return EapPacket(EapCode.REQUEST, identifier, TLV, b"".join(tlv.to_bytes() for tlv in tlvs))

    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        if not self._material:
            self._material = key_material(self._engine, EapType.PEAP)
            if self._engine.session_resumed:
                self._succeed(None, fast_reconnect=True)
        if not data:
            return
        response = decompress(data, EapCode.RESPONSE, identifier)
        if self._result is not None:
            self._take_result(response)
            return
        self._inner.take(response)
        if not self._inner.done:
            return
        self.refusal = self._inner.refusal
        if self._inner.method is None or self.refusal is not None:
            self._result = Result.FAILURE
        else:
            self.username = self._inner.method.username
            self._succeed(self._inner.method.msk, fast_reconnect=False)

    def _succeed(self, inner_msk: bytes | None, *, fast_reconnect: bool) -> None:
        self._result = Result.SUCCESS
        self._keys = PeapKeys.derive(self._material, inner_msk, fast_reconnect=fast_reconnect)
        self.msk = self._keys.msk()

    def _take_result(self, response: EapPacket) -> None:
        if response.kind != TLV:
            raise RemoteProtocolError("PEAP Response other than the Result", layer=_LAYER)
        tlvs = parse_tlvs(response.data)
        binding = CryptoBinding.find(tlvs)
        if self.refusal is None and find_result(tlvs) is not Result.SUCCESS:
            self.refusal = Refusal(f"{clean_text(self.username)!r} refused the result of PEAP")
        elif self._keys is not None and (
            binding is None or binding.subtype != BindingSubtype.RESPONSE or not self._keys.verifies(binding)
        ):
            self.refusal = Refusal(f"the crypto binding of {clean_text(self.username)!r} is wrong or missing")
        self.done = True

    def _acknowledged(self) -> None:
        """Go on with phase 2 (see _message)."""
