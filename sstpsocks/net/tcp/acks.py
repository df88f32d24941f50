"""The fifth step of RFC 9293 section 3.10.7.4: check the ACK field, and change state on it."""

from __future__ import annotations

from ...base.seqnum import MASK
from . import ecn
from .handshake import establish
from .recovery import duplicate_ack, new_ack
from .resets import challenge_ack, reply_reset
from .sack_recovery import acknowledge
from .segment import ECE, RST, Segment
from .send import update_send_window
from .tcb import Tcb, TcpState


def check_ack(tcb: Tcb, segment: Segment, now: float) -> bool:
    """Take the acknowledgement and the window. False when the rest of the segment must not be processed."""
    ack = segment.ack
    if tcb.state is TcpState.SYN_RECEIVED and not _syn_acknowledged(tcb, segment, now):
        return False
    ahead = (ack - tcb.snd_una) & MASK
    flight = (tcb.snd_max - tcb.snd_una) & MASK
    if ahead > flight:
        # RFC 5961 section 5.2: "((SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT)", else the segment is discarded "and
        # an ACK sent back". In that range but old it says nothing new: "it can be ignored".
        if (tcb.snd_una - ack) & MASK > max(tcb.max_snd_wnd, 0xFFFF):
            challenge_ack(tcb, now)
            return False
        if tcb.scoreboard is not None and segment.sack:
            # Overtaken by a later ACK; what it reports may still be news.
            acknowledge(tcb, tcb.scoreboard, tcb.snd_una, now, segment.sack)
        return True
    echo = tcb.ect and segment.flags & ECE > 0
    if echo:
        ecn.echo_arrives(tcb, ack, now)
    window = segment.window << tcb.snd_wind_shift
    if not tcb.snd_wnd:
        # The peer answers our probes.
        tcb.stalled_since = now
    # RFC 5681 section 2: outstanding data, no data, SYN and FIN off, the same acknowledgement and window. Answers to
    # probes of a closed window look the same and mean nothing.
    duplicate = not ahead and flight > 0 and not segment.length and window == tcb.snd_wnd and window > 0
    if tcb.scoreboard is not None:
        if ahead or duplicate or segment.sack:
            acknowledge(tcb, tcb.scoreboard, ack, now, segment.sack, duplicate=duplicate, echo=echo)
    elif ahead:
        new_ack(tcb, ack, now, echo=echo)
    elif duplicate:
        duplicate_ack(tcb, now)
    update_send_window(tcb, segment.seq, ack, window)
    if tcb.fin_acked:
        return _fin_acknowledged(tcb, now)
    return True


def _syn_acknowledged(tcb: Tcb, segment: Segment, now: float) -> bool:
    """SYN-RECEIVED: "If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state"."""
    if segment.ack != tcb.snd_max:
        # "If the segment acknowledgment is not acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it."
        reply_reset(tcb, segment.ack, RST, now)
        return False
    establish(tcb, segment, segment.window << tcb.snd_wind_shift, now)
    return True


def _fin_acknowledged(tcb: Tcb, now: float) -> bool:
    """Our FIN is acknowledged: figure 5 of RFC 9293."""
    if tcb.state is TcpState.FIN_WAIT_1:
        tcb.enter(TcpState.FIN_WAIT_2)
        if tcb.detached:
            tcb.wait_deadline = now + tcb.host.config.fin_wait_2_timeout
    elif tcb.state is TcpState.CLOSING:
        tcb.enter_time_wait(now)
    elif tcb.state is TcpState.LAST_ACK:
        tcb.close()
        return False
    return True
