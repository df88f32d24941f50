"""The crypto binding: proof that TLS and PPP authentication have the same two ends (MS-SSTP 3.2.5.2).

One hash serves for everything in a call: the certificate's hash, the key derivation and the MAC.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import Final

from ..errors import RemoteProtocolError
from .packet import HASH_FIELD_SIZE, ControlPacket, CryptoBinding, HashProtocol, MessageType

HLAK_SIZE: Final = 32
CALL_CONNECTED_SIZE: Final = 112
SEED: Final = b"SSTP inner method derived CMK"

_MAC_OFFSET = CALL_CONNECTED_SIZE - HASH_FIELD_SIZE
_HASH_NAMES = {HashProtocol.SHA1: "sha1", HashProtocol.SHA256: "sha256"}
_HASH_SIZES = {HashProtocol.SHA1: 20, HashProtocol.SHA256: 32}


def choose_hash(offered: HashProtocol, supported: HashProtocol) -> HashProtocol | None:
    """Return the hash to use, or None when there is no common one.

    "If the server selects both the SHA256 and the SHA1 hash protocols and the client supports both [...] then the
    client MUST select the SHA256 protocol." -- MS-SSTP 2.2.10
    """
    for candidate in (HashProtocol.SHA256, HashProtocol.SHA1):
        if candidate & offered & supported:
            return candidate
    return None


def certificate_hash(certificate_der: bytes, hash_protocol: HashProtocol) -> bytes:
    """Return the hash (20 or 32 bytes) of the server's leaf certificate in DER (MS-SSTP 2.2.7)."""
    return hashlib.new(_HASH_NAMES[hash_protocol], certificate_der).digest()


def compound_mac_key(hlak: bytes, hash_protocol: HashProtocol) -> bytes:
    """Return the CMK, 20 or 32 bytes, from the higher-layer authentication key (MS-SSTP 3.2.5.2.2 and .4).

    A HLAK of another length than 32 bytes is cut, or padded with zeroes, as those sections say.
    """
    key = hlak[:HLAK_SIZE].ljust(HLAK_SIZE, b"\0")
    # PRF+ gives T1 | T2 | ..., and T1 alone has the length asked for. LEN "MUST be encoded in little-endian
    # format", unlike everything else in this protocol.
    length = _HASH_SIZES[hash_protocol].to_bytes(2, "little")
    return hmac.digest(key, SEED + length + b"\x01", _HASH_NAMES[hash_protocol])


def compound_mac(hlak: bytes, hash_protocol: HashProtocol, message: bytes) -> bytes:
    """Return the MAC (20 or 32 bytes) of a CALL_CONNECTED message of 112 bytes.

    What stands in the message's MAC field and its padding counts as zero (MS-SSTP 3.2.5.2.1 and .3).
    """
    zeroed = message[:_MAC_OFFSET] + bytes(HASH_FIELD_SIZE)
    return hmac.digest(compound_mac_key(hlak, hash_protocol), zeroed, _HASH_NAMES[hash_protocol])


def build_call_connected(hlak: bytes, hash_protocol: HashProtocol, nonce: bytes, server_hash: bytes) -> bytes:
    """Return SSTP_MSG_CALL_CONNECTED (MS-SSTP 2.2.11).

    ``nonce``: the server's 32 bytes; ``server_hash``: ``certificate_hash()`` of the certificate seen in TLS.
    """
    unsigned = CryptoBinding(hash_protocol, nonce, server_hash.ljust(HASH_FIELD_SIZE, b"\0"), bytes(HASH_FIELD_SIZE))
    message = ControlPacket(MessageType.CALL_CONNECTED, (unsigned.to_attribute(),)).to_bytes()
    return message[:_MAC_OFFSET] + compound_mac(hlak, hash_protocol, message).ljust(HASH_FIELD_SIZE, b"\0")


class BindingFault(Enum):
    """Why a server refuses a CALL_CONNECTED (MS-SSTP 3.3.5.2.3). The value is a clause for messages."""

    MISSING = "it holds no well-formed Crypto Binding attribute"
    HASH = "its hash protocol was not offered"
    NONCE = "its nonce is not the one of this call"
    CERTIFICATE = "it names another certificate"
    MAC = "its compound MAC is wrong"


def verify_call_connected(
    message: bytes, *, hlak: bytes, nonce: bytes, certificate_der: bytes, offered: HashProtocol
) -> BindingFault | None:
    """Return what is wrong with a received CALL_CONNECTED, or None when the binding holds."""
    try:
        attribute = ControlPacket.parse(message).attributes[0]
        binding = CryptoBinding.parse(attribute.value)
    except (RemoteProtocolError, IndexError):
        return BindingFault.MISSING
    # The MAC covers exactly 112 bytes with its own field at the end, so this message has room for nothing else.
    if len(message) != CALL_CONNECTED_SIZE:
        return BindingFault.MISSING
    if binding.hash_protocol not in _HASH_NAMES or not binding.hash_protocol & offered:
        return BindingFault.HASH
    hash_protocol = HashProtocol(binding.hash_protocol)
    size = _HASH_SIZES[hash_protocol]
    if not hmac.compare_digest(binding.nonce, nonce):
        return BindingFault.NONCE
    # Only ``size`` bytes are compared: the padding "MUST be ignored on receipt" -- MS-SSTP 2.2.11
    if not hmac.compare_digest(binding.certificate_hash[:size], certificate_hash(certificate_der, hash_protocol)):
        return BindingFault.CERTIFICATE
    if not hmac.compare_digest(binding.compound_mac[:size], compound_mac(hlak, hash_protocol, message)):
        return BindingFault.MAC
    return None
