"""From MSK to HLAK, with the EAP-TLS numbers that a well-tried client has in its tests."""

from __future__ import annotations

from sstpsocks.ppp.eap.keys import hlak_of_msk
from sstpsocks.sstp.crypto_binding import build_call_connected, compound_mac_key
from sstpsocks.sstp.packet import HashProtocol

SEND_KEY = bytes.fromhex("bb2c17edbaa643b3d511eb9848792b7cab5f5d709fe9bdf89b5deaf5a8c17db7")


def test_the_hlak_of_eap_tls_is_the_first_half_of_its_msk_whole() -> None:
    hlak = hlak_of_msk(SEND_KEY + bytes(range(32)))
    assert hlak == SEND_KEY
    assert compound_mac_key(hlak, HashProtocol.SHA256).hex() == (
        "8bec8243ed1d4e115df606df5042be07946294375498f857f6612567c3c63592"
    )
    nonce = bytes.fromhex("388a1ecbf302ba02f9f372ce37488ec36b71a28b5e1b19fbe44d5465a631c463")
    certificate_hash = bytes.fromhex("7ff150176fa8e38a1f402d11ff89ff11b66505ad7f9ae81205277ba4a6b9ef9d")
    message = build_call_connected(hlak, HashProtocol.SHA256, nonce, certificate_hash)
    assert message[-32:].hex() == "fe6473c7d183914e483fea1b12a6e760a4da16b62fab12a0a1e54e0ec325b24e"


def test_without_a_key_the_hlak_is_zero_and_a_short_one_is_padded() -> None:
    assert hlak_of_msk(None) == bytes(32)
    assert hlak_of_msk(b"short") == b"short" + bytes(27)
