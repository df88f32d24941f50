"""The little that SSTP must know of a PPP frame ("Check PPP frame type", MS-SSTP 3.1.7.1)."""

from __future__ import annotations

from typing import Final

_LAST_NETWORK_LAYER_PROTOCOL: Final = 0x3FFF  # RFC 1661 section 2: 0*** to 3*** are network-layer protocols


def ppp_protocol(frame: bytes) -> int | None:
    """Return the PPP protocol number of a frame, or None when it is too short to have one.

    Address and control field may be missing and the protocol may have one byte (RFC 1661 sections 6.5 and 6.6).
    """
    start = 2 if frame[:2] == b"\xff\x03" else 0
    if len(frame) <= start:
        return None
    if frame[start] & 1:
        return frame[start]
    if len(frame) < start + 2:
        return None
    return frame[start] << 8 | frame[start + 1]


def is_network_layer(frame: bytes) -> bool:
    """Return whether the frame is a "PPP data frame"; everything else is a "PPP control frame"."""
    protocol = ppp_protocol(frame)
    return protocol is not None and protocol <= _LAST_NETWORK_LAYER_PROTOCOL


def is_ncp_answer(frame: bytes) -> bool:
    """Return whether the frame is a Configure-Ack, -Nak or -Reject of a network control protocol.

    NCPs begin after CALL_CONNECTED and the stream is in order, so such an answer proves that the server has read it
    and gone on. A Configure-Request proves nothing: it may have been on its way already.
    """
    protocol = ppp_protocol(frame)
    if protocol is None or not 0x8000 <= protocol <= 0xBFFF:  # RFC 1661 section 2: the NCPs
        return False
    start = (2 if frame[:2] == b"\xff\x03" else 0) + 2
    return frame[start : start + 1] in (b"\x02", b"\x03", b"\x04")
