"""From the keys of EAP methods to the key that binds SSTP to them.

MS-SSTP 3.2.5.2.2: the HLAK of an EAP method is the first 32 bytes of its MSK, not its two MPPE keys of 16 bytes each;
methods without an MSK have zeroes. One point is open: Windows clients have been seen to bind bare EAP-MSCHAPv2 with
zeroes, against the letter of the specification.
"""

from __future__ import annotations

from ..auth import HLAK_SIZE

MSK_SIZE = 64  # RFC 3748 section 7.10: at least 64 octets


def hlak_of_msk(msk: bytes | None) -> bytes:
    """Return the 32-byte HLAK; zeroes when the method gives no key, and as padding when it gives less."""
    return (msk or b"")[:HLAK_SIZE].ljust(HLAK_SIZE, b"\x00")
