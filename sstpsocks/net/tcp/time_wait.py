"""A new connection where an old one is in TIME-WAIT (RFC 6191)."""

from __future__ import annotations

from ...base.seqnum import le, lt
from .segment import ACK, RST, SYN, parse_segment
from .tcb import Tcb


def may_begin_anew(tcb: Tcb, data: bytes, start: int, end: int) -> bool:
    """Return whether the segment is a SYN for a new connection that no old duplicate can be taken for.

    RFC 6191 section 2: its timestamp is greater than the last one seen; or that does not decide, and its sequence
    number is greater.
    """
    segment = parse_segment(data, start, end)
    if segment is None or segment.flags & (SYN | ACK | RST) != SYN:
        return False
    if tcb.timestamps and segment.timestamps is not None:
        if lt(tcb.ts_recent, segment.timestamps[0]):
            return True
        if not le(tcb.ts_recent, segment.timestamps[0]):
            return False
    return lt(tcb.rcv_nxt, segment.seq)
