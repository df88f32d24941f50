"""Proportional rate reduction: how fast to send in fast recovery (RFC 9937, which obsoletes RFC 6937).

While more is in flight than the new ssthresh, what is sent is to what arrives as ssthresh is to what was in flight;
when losses have brought it below, it grows back no faster than in slow start. So the ACK clock never stops, and
recovery ends with about ssthresh in flight.
"""

from __future__ import annotations


class Prr:
    """The counters of RFC 9937 section 6, in octets; they mean something in fast recovery only."""

    __slots__ = ("prr_delivered", "prr_out", "recover_fs", "snd_cnt")

    def __init__(self) -> None:
        self.prr_delivered = 0
        """prr_delivered: what arrived since recovery began."""
        self.prr_out = 0
        """prr_out: what was sent since recovery began."""
        self.recover_fs = 1
        """RecoverFS: what was in flight when recovery began."""
        self.snd_cnt = 0
        """SndCnt: what may be sent now; what was sent since it was computed is taken off."""

    def __repr__(self) -> str:
        return (
            f"<Prr delivered {self.prr_delivered} out {self.prr_out} recover_fs {self.recover_fs}"
            f" snd_cnt {self.snd_cnt}>"
        )

    def begin(self, recover_fs: int) -> None:
        """Fast recovery begins with ``recover_fs`` in flight, which arrives or is lost from now on."""
        self.prr_delivered = self.prr_out = self.snd_cnt = 0
        self.recover_fs = max(recover_fs, 1)

    def acknowledged(self, delivered: int, inflight: int, ssthresh: int, smss: int, *, safe_ack: bool) -> None:
        """``delivered`` more has arrived and ``inflight`` is under way. ``safe_ack``: SND.UNA advanced and nothing more
        was found lost.
        """
        self.prr_delivered += delivered
        if inflight > ssthresh:
            # "SndCnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out"
            self.snd_cnt = -(-self.prr_delivered * ssthresh // self.recover_fs) - self.prr_out
        else:
            # "SndCnt = MAX(prr_delivered - prr_out, DeliveredData)"
            self.snd_cnt = max(self.prr_delivered - self.prr_out, delivered)
            if safe_ack:
                self.snd_cnt += smss
            # "Attempt to catch up, as permitted": SndCnt = MIN(ssthresh - inflight, SndCnt)
            self.snd_cnt = min(ssthresh - inflight, self.snd_cnt)
        if not self.prr_out and self.snd_cnt <= 0:
            # "Force a fast retransmit upon entering recovery"
            self.snd_cnt = smss

    def sent(self, size: int) -> None:
        """``size`` octets left."""
        self.prr_out += size
        self.snd_cnt -= size
