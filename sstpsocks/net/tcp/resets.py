"""Resets in both directions, and the challenges that make blind ones fail (RFC 5961)."""

from __future__ import annotations

from typing import Final

from ...errors import ConnectionLost, ConnectionRefused, SstpsocksError
from .segment import ACK, RST, Segment
from .tcb import Tcb, TcpState
from .timestamps import clock
from .window import acceptable_seq

_RESET_IS_NO_NEWS: Final = frozenset({TcpState.CLOSING, TcpState.LAST_ACK, TcpState.TIME_WAIT})
"""States in which the owner has everything it will get and said everything it had to say."""
_CHALLENGES_PER_PERIOD: Final = 10
_CHALLENGE_PERIOD: Final = 5.0
"""RFC 5961 section 7 gives 10 challenge ACKs in 5 seconds as its example, there for a whole system; here they count per
connection, so that nobody learns from the limit about other connections."""


def second_check_rst(tcb: Tcb, segment: Segment, now: float) -> None:
    """Second step, with RFC 5961 section 3.2: only an exact sequence number resets, others are challenged."""
    if segment.seq != tcb.rcv_nxt:
        challenge_ack(tcb, now)
        return
    where = f"{tcb.remote[0]} port {tcb.remote[1]}"
    if tcb.state is TcpState.SYN_RECEIVED:
        # A passive open returns to LISTEN (the listener goes on), an active one was refused.
        tcb.fail(ConnectionRefused(f"{where}: connection refused"))
    elif tcb.state in _RESET_IS_NO_NEWS:
        tcb.close()
    else:
        tcb.fail(ConnectionLost(f"{where}: connection reset by peer"))


def challenge_ack(tcb: Tcb, now: float) -> None:
    """Queue an ACK that a genuine peer answers, unless too many went out lately (RFC 5961 section 7)."""
    if now >= tcb.challenge_period_end:
        tcb.challenge_period_end = now + _CHALLENGE_PERIOD
        tcb.challenge_acks = 0
    if tcb.challenge_acks < _CHALLENGES_PER_PERIOD:
        tcb.challenge_acks += 1
        tcb.ack_now = True


def reset(tcb: Tcb, error: SstpsocksError, now: float) -> None:
    """Send "<SEQ=SND.NXT><CTL=RST>" and delete the TCB (RFC 9293 section 3.10.5)."""
    reply_reset(tcb, acceptable_seq(tcb), RST | ACK, now)
    tcb.fail(error)


def reply_reset(tcb: Tcb, seq: int, flags: int, now: float) -> None:
    """Queue a reset.

    RFC 7323 section 3.2: once negotiated, the TSopt "SHOULD be sent in an <RST> segment"; "If the ACK bit is not set in
    the outgoing TCP header, the sender of that segment SHOULD set the TSecr field to zero."
    """
    tcb.host.counters.tcp_out_rsts += 1
    ack, ts_recent = (tcb.rcv_nxt, tcb.ts_recent) if flags & ACK else (0, 0)
    if tcb.timestamps:
        packet = tcb.builder.build_with_timestamps(seq, ack, flags, 0, clock(tcb, now), ts_recent)
    else:
        packet = tcb.builder.build(seq, ack, flags, 0)
    tcb.reply(packet)
