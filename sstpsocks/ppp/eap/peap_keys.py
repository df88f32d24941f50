"""The keys of PEAPv0 ([MS-PEAP] 3.1.5.5.2 and 3.1.5.7): what binds tunnel and inner method, and the MSK.

TK, the tunnel's key, is the start of the TLS key material, with TLS 1.3 that of RFC 9427 section 2.1. ISK comes from
the inner method. Both go into IPMK and CMK: the one gives the MSK, the other signs the Cryptobinding TLVs.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace

from .keys import MSK_SIZE
from .packet import EapType
from .peap_tlv import MAC_SIZE, CryptoBinding

_TEMP_KEY_SIZE = 40
_IPMK_SIZE = 40
_CMK_SIZE = 20
TK_SIZE = _IPMK_SIZE + _CMK_SIZE
_ISK_SIZE = 32
_CSK_SIZE = 128
_IPMK_LABEL = b"Inner Methods Compound Keys"
# The label of the CSK ends in a NUL, that of the IPMK does not.
_CSK_LABEL = b"Session Key Generating Function\x00"


def prf_plus(key: bytes, seed: bytes, length: int) -> bytes:
    """Return ``length`` bytes of PEAPv0's PRF+ ([MS-PEAP] 3.1.5.5.2.2): HMAC-SHA1 rounds that end in a 24-bit count."""
    result = block = b""
    count = 0
    while len(result) < length:
        count += 1
        block = hmac.digest(key, block + seed + bytes((count, 0, 0)), "sha1")
        result += block
    return result[:length]


@dataclass(frozen=True, slots=True)
class PeapKeys:
    """IPMK and CMK of one run."""

    ipmk: bytes = field(repr=False)
    """40 bytes."""
    cmk: bytes = field(repr=False)
    """20 bytes."""

    @classmethod
    def derive(cls, key_material: bytes, inner_msk: bytes | None, *, fast_reconnect: bool) -> PeapKeys:
        """Derive them from the tunnel's key material and what the inner method gave (None: no key)."""
        tunnel_key = key_material[:TK_SIZE]
        if fast_reconnect:
            # No inner method ran: IPMK and CMK are TK itself.
            return cls(tunnel_key[:_IPMK_SIZE], tunnel_key[_IPMK_SIZE:])
        isk = (inner_msk or b"")[:_ISK_SIZE].ljust(_ISK_SIZE, b"\x00")
        keys = prf_plus(tunnel_key[:_TEMP_KEY_SIZE], _IPMK_LABEL + isk, TK_SIZE)
        return cls(keys[:_IPMK_SIZE], keys[_IPMK_SIZE:])

    def sign(self, binding: CryptoBinding) -> CryptoBinding:
        """Return the binding with its Compound MAC: over the whole TLV with a MAC of zeroes, and PEAP's EAP type."""
        blank = replace(binding, mac=bytes(MAC_SIZE)).to_tlv().to_bytes()
        mac = hmac.new(self.cmk, blank + bytes((EapType.PEAP,)), hashlib.sha1).digest()
        return replace(binding, mac=mac)

    def verifies(self, binding: CryptoBinding) -> bool:
        """Whether the MAC of a received binding is right."""
        return hmac.compare_digest(self.sign(binding).mac, binding.mac)

    def msk(self) -> bytes:
        """Return the MSK of a run with crypto binding: the first half of the CSK ([MS-PEAP] 3.1.5.7)."""
        return prf_plus(self.ipmk, _CSK_LABEL, _CSK_SIZE)[:MSK_SIZE]
