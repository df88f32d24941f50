"""Timestamps: round-trip times from every segment, and protection against wrapped sequence numbers (RFC 7323).

The receive run makes the same checks for the segments it predicts (net/receive_run.py).
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from ...base.seqnum import MASK, le, lt
from .segment import ACK, RST, TIMESTAMPS_SIZE, Segment
from .tcb import Tcb

TICK: Final = 0.001
"""A step of our clock, TSval, in seconds (section 5.4: between 1 ms and 1 s)."""
OUTDATED: Final = 24 * 86400.0
"""RFC 7323 section 5.5: PAWS has a mechanism to "invalidate" TS.Recent "when a connection is idle for more than 24
days"."""


def offset_of(tcb: Tcb) -> int:
    """Return what is added to the clock. RFC 7323 section 5.4 recommends a random offset for each connection; a keyed
    hash also keeps the clock monotonic over connections with the same ports, as RFC 6191 wants it.
    """
    ports = struct.pack(">HH", tcb.local[1], tcb.remote[1])
    digest = hashlib.blake2s(
        tcb.local[0].packed + tcb.remote[0].packed + ports, digest_size=4, key=tcb.host.isn_secret[:32], person=b"tsval"
    ).digest()
    return int.from_bytes(digest, "big")


def clock(tcb: Tcb, now: float) -> int:
    """Return TSval: milliseconds."""
    return (int(now * 1000) + tcb.ts_offset) & MASK


def take_syn_option(tcb: Tcb, syn: Segment, now: float) -> None:
    """The peer's SYN decides whether timestamps are used: section 3.2."""
    if syn.timestamps is None or not tcb.host.config.timestamps:
        tcb.timestamps = False
        tcb.option_size = 0
        return
    # Appendix D: "Check for a TSopt option; if one is found, save SEG.TSval in" "TS.Recent and turn on the Snd.TS.OK
    # bit".
    tcb.timestamps = True
    tcb.option_size = TIMESTAMPS_SIZE
    # TSecr is valid with an ACK only (section 3.2).
    tcb.ts_recent, tcb.ts_ecr = syn.timestamps[0], syn.timestamps[1] if syn.flags & ACK else 0
    tcb.ts_recent_age = now
    tcb.last_ack_sent = tcb.rcv_nxt


def acceptable(tcb: Tcb, segment: Segment, now: float) -> bool:
    """Return whether a segment passes PAWS, RFC 7323 section 5.3 R1; queue the ACK that answers it when not."""
    if segment.timestamps is None:
        # Section 3.2: "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment."
        # Section 5.2 recommends that a RST be acceptable regardless of its timestamp.
        return bool(segment.flags & RST)
    if segment.flags & RST or not lt(segment.timestamps[0], tcb.ts_recent):
        return True
    if now - tcb.ts_recent_age > OUTDATED:
        # Section 5.5: TS.Recent is not valid any more: take this one.
        tcb.ts_recent = segment.timestamps[0]
        tcb.ts_recent_age = now
        return True
    tcb.host.counters.tcp_paws_discards += 1
    return False


def take(tcb: Tcb, segment: Segment, seq: int, now: float) -> None:
    """Remember the timestamps of a segment that is acceptable; it began at ``seq`` before it was trimmed."""
    if segment.timestamps is None:
        return
    tsval, tcb.ts_ecr = segment.timestamps
    # Section 5.3 R3, section 4.3 (2): "If: SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent then SEG.TSval is copied
    # to TS.Recent". So TS.Recent is that of the segment that a delayed ACK waits for longest.
    if not lt(tsval, tcb.ts_recent) and le(seq, tcb.last_ack_sent):
        tcb.ts_recent = tsval
        tcb.ts_recent_age = now


def echoed_round_trip(tcb: Tcb, now: float) -> float | None:
    """Return the round-trip time by the timestamp that came back with the present segment, None when there is none.

    Section 4.1: such a sample may be used when the segment "advances the left edge of the send window", which is the
    caller's business. What the peer made up is not believed.
    """
    if not tcb.timestamps or not tcb.ts_ecr:
        return None
    rtt = ((clock(tcb, now) - tcb.ts_ecr) & MASK) / 1000
    return rtt if rtt <= tcb.host.config.max_rto else None


def latest_round_trip(tcb: Tcb, now: float) -> float | None:
    """The same for what was sent again, in spite of Karn; None when the timestamp is older than the last transmission.

    Then the data may have arrived at once and its ACK was lost: what answers the retransmission, an old duplicate,
    still echoes the first (section 5.3: R2 rejects it before R3 takes its timestamp). The time since then is that of
    our own timer. Taken for a round trip it would make the timer longer, and the next such sample too, without end.
    """
    rtt = echoed_round_trip(tcb, now)
    return rtt if rtt is not None and rtt <= now - tcb.sent_again_at + TICK else None


def timed_out_data_acknowledged(tcb: Tcb, now: float) -> None:
    """Data that had timed out was acknowledged."""
    rtt = latest_round_trip(tcb, now)
    if rtt is None:
        tcb.rtt.progressed()
    else:
        tcb.rtt.measured(rtt)
