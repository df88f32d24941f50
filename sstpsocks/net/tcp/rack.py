"""RACK: which segments are lost, told by time (RFC 8985 sections 5.2 and 6.2).

A segment is lost when one that was sent after it has arrived, and a reordering window has passed since it should have
arrived too. The window is small at first, and adapts to the path: duplicates that the peer reports (D-SACK) say that
we were too quick.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import le
from .scoreboard import Scoreboard, Transmission

DUP_THRESH: Final = 3
"""DupThresh: without a sign of reordering three segments that overtook another are enough to call it lost."""
REO_WND_PERSIST: Final = 16
"""RFC 8985 section 6.2: "RACK persists using the inflated RACK.reo_wnd for up to 16 loss recoveries"."""
MIN_RTT_LIFETIME: Final = 300.0
"""Seconds after which RACK.min_RTT is forgotten, because the path may have become longer; what Linux uses."""


class Rack:
    """State of the algorithm, named as in RFC 8985 section 5.2. Times in seconds, positions as in the scoreboard."""

    __slots__ = (
        "_min_rtt_since",
        "dsack_round",
        "end_seq",
        "fack",
        "min_rtt",
        "reo_wnd_mult",
        "reo_wnd_persist",
        "reordering_seen",
        "rtt",
        "xmit_ts",
    )

    def __init__(self) -> None:
        self.xmit_ts = -1.0
        """RACK.xmit_ts: "the latest transmission timestamp" of a segment that arrived."""
        self.end_seq = 0
        """RACK.end_seq: the ending position of that segment."""
        self.rtt = 0.0
        """RACK.rtt: the round trip of that segment."""
        self.min_rtt: float | None = None
        """RACK.min_RTT: the shortest round trip lately."""
        self._min_rtt_since = 0.0
        """When it was measured."""
        self.fack = 0
        """RACK.fack: the highest position that arrived."""
        self.reordering_seen = False
        """RACK.reordering_seen: a segment arrived after one that was sent later."""
        self.dsack_round: int | None = None
        """RACK.dsack_round: SND.NXT, as a sequence number, when a D-SACK made the window larger."""
        self.reo_wnd_mult = 1
        """RACK.reo_wnd_mult: the reordering window in quarters of min_rtt."""
        self.reo_wnd_persist = REO_WND_PERSIST
        """RACK.reo_wnd_persist: recoveries until the window becomes small again."""

    def __repr__(self) -> str:
        return (
            f"<Rack xmit_ts {self.xmit_ts} end_seq {self.end_seq} rtt {self.rtt} min_rtt {self.min_rtt}"
            f" fack {self.fack} reordering_seen {self.reordering_seen} reo_wnd_mult {self.reo_wnd_mult}"
            f" dsack_round {self.dsack_round}>"
        )

    def update(self, delivered: list[Transmission], now: float) -> float | None:
        """Steps 1 to 3 for segments newly acknowledged, in order. Return a round-trip time if one was measured.

        None is when one of them was sent again: it may be what the acknowledgement answers, and the others may have
        arrived long before (Karn).
        """
        measured = None
        sent_again = False
        for segment in delivered:
            rtt = now - segment.xmit_ts
            if segment.retransmitted:
                sent_again = True
                # Step 2: "If a segment is acknowledged after retransmission, RACK needs to find out which transmission
                # it was": one that comes back sooner than any round trip was the first. The other test, by timestamp,
                # cannot tell for what is only selectively acknowledged (its echo is older); undo.py makes it.
                if self.min_rtt is None or rtt < self.min_rtt:
                    if segment.end > self.fack:
                        self.fack = segment.end
                    continue
            else:
                measured = rtt
                if self.min_rtt is None or rtt <= self.min_rtt or now - self._min_rtt_since > MIN_RTT_LIFETIME:
                    self.min_rtt = rtt
                    self._min_rtt_since = now
            if segment.xmit_ts > self.xmit_ts or (segment.xmit_ts == self.xmit_ts and segment.end > self.end_seq):
                self.rtt = rtt
                self.xmit_ts = segment.xmit_ts
                self.end_seq = segment.end
            # Step 3: "If Segment.end_seq > RACK.fack: RACK.fack = Segment.end_seq, Else if Segment.end_seq < RACK.fack
            # AND Segment.retransmitted is FALSE: RACK.reordering_seen = TRUE".
            if segment.end > self.fack:
                self.fack = segment.end
            elif segment.end < self.fack and not segment.retransmitted:
                self.reordering_seen = True
        return None if sent_again else measured

    def adapt(self, snd_una: int, snd_nxt: int, *, dsack: bool, recovered: bool) -> None:
        """Step 4, first half: the multiplier of the window grows per round trip that sees a D-SACK."""
        if self.dsack_round is not None and le(self.dsack_round, snd_una):
            self.dsack_round = None
        if self.dsack_round is None and dsack:
            self.dsack_round = snd_nxt
            self.reo_wnd_mult += 1
            self.reo_wnd_persist = REO_WND_PERSIST
        elif recovered:
            self.reo_wnd_persist -= 1
            if self.reo_wnd_persist <= 0:
                self.reo_wnd_mult = 1

    def reo_wnd(self, board: Scoreboard, srtt: float | None, *, recovering: bool) -> float:
        """Step 4, second half. "The RACK reordering window MUST be bounded, and this bound SHOULD be SRTT"."""
        if not self.reordering_seen and (recovering or board.segs_sacked() >= DUP_THRESH):
            return 0.0
        min_rtt = self.min_rtt or 0.0
        return min(self.reo_wnd_mult * min_rtt / 4, min_rtt if srtt is None else srtt)

    def detect_loss(self, board: Scoreboard, now: float, reo_wnd: float) -> float | None:
        """Step 5: mark what is lost, and return when to look again because of what may become so."""
        deadline = None
        wait = self.rtt + reo_wnd
        xmit_ts = self.xmit_ts
        for record in board.records:
            if record.sacked or record.lost:
                continue
            if record.xmit_ts > xmit_ts or (record.xmit_ts == xmit_ts and record.end > self.end_seq):
                if not record.retransmitted:
                    # Sent later, and everything behind it later still.
                    break
                continue
            due = record.xmit_ts + wait
            if due <= now:
                board.mark_lost(record)
            elif deadline is None or due > deadline:
                deadline = due
        return deadline

    def mark_losses_on_rto(self, board: Scoreboard, now: float, reo_wnd: float) -> None:
        """RFC 8985 section 6.3: the first segment is lost, and every other that had time to arrive."""
        for index, record in enumerate(board.records):
            if not (record.sacked or record.lost) and (not index or record.xmit_ts + self.rtt + reo_wnd <= now):
                board.mark_lost(record)
