"""Opening a connection: active, passive and simultaneous (RFC 9293 sections 3.5, 3.10.1, 3.10.7.2 and 3.10.7.3)."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from ...base.seqnum import MASK
from ...errors import ConnectionRefused
from . import ecn, keep_alive, sack_recovery, timestamps
from .congestion import NewReno
from .cubic import Cubic
from .resets import reply_reset
from .segment import ACK, CWR, ECE, MAXIMUM_WIND_SHIFT, RST, SYN, Segment
from .send import update_send_window
from .tcb import MINIMUM_MSS, Tcb, TcpState

RTO_AFTER_LOST_SYN: Final = 3.0
"""RFC 6298 (5.7): "the RTO MUST be re-initialized to 3 seconds when data transmission begins"; unless a timestamp
measured the round trip that its appendix A makes provision for."""


def initial_sequence_number(tcb: Tcb, now: float) -> int:
    """RFC 6528 section 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)", M a 4 us clock."""
    ports = struct.pack(">HH", tcb.local[1], tcb.remote[1])
    digest = hashlib.blake2s(
        tcb.local[0].packed + tcb.remote[0].packed + ports, digest_size=4, key=tcb.host.isn_secret[:32]
    ).digest()
    return (int(now * 250_000) + int.from_bytes(digest, "big")) & MASK


def window_shift_for(maximum_buffer: int) -> int:
    """Return the smallest shift with which a 16-bit window reaches ``maximum_buffer``, less one unit."""
    shift = 0
    while shift < MAXIMUM_WIND_SHIFT and 0x10000 << shift < maximum_buffer:
        shift += 1
    return shift


def open_active(tcb: Tcb, now: float) -> None:
    """RFC 9293 section 3.10.1: choose an ISS, send a SYN, enter SYN-SENT."""
    tcb.host.counters.tcp_active_opens += 1
    _begin(tcb, now)
    ecn.offer(tcb, wanted=tcb.host.config.ecn == "active")
    tcb.enter(TcpState.SYN_SENT)


def open_passive(tcb: Tcb, syn: Segment, now: float) -> None:
    """RFC 9293 section 3.10.7.2: answer a SYN that came to LISTEN and enter SYN-RECEIVED."""
    tcb.host.counters.tcp_passive_opens += 1
    _begin(tcb, now)
    ecn.offer(tcb, wanted=tcb.host.config.ecn != "off")
    _take_syn(tcb, syn, now)
    tcb.enter(TcpState.SYN_RECEIVED)


def _begin(tcb: Tcb, now: float) -> None:
    tcb.iss = initial_sequence_number(tcb, now)
    tcb.snd_una = tcb.iss
    # SND.NXT is ISS + 1 from the start: the SYN is built when output is asked for, and nothing else can come first.
    tcb.snd_nxt = tcb.snd_max = (tcb.iss + 1) & MASK
    tcb.recover = tcb.iss
    tcb.ts_offset = timestamps.offset_of(tcb)
    tcb.rcv_wind_shift = window_shift_for(tcb.host.config.receive_buffer_maximum)
    tcb.connect_deadline = now + tcb.host.config.connect_timeout
    tcb.stalled_since = now
    tcb.syn_pending = True


def _take_syn(tcb: Tcb, syn: Segment, now: float) -> None:
    """Take the peer's initial sequence number and options."""
    tcb.irs = syn.seq
    tcb.rcv_nxt = (syn.seq + 1) & MASK
    # The window of our SYN is not scaled (RFC 7323 section 2.2).
    tcb.rcv_adv = (tcb.rcv_nxt + min(tcb.rcv_capacity, 0xFFFF)) & MASK
    ecn.take_syn(tcb, syn.flags)
    peer_mss = tcb.default_mss if syn.mss is None else max(syn.mss, MINIMUM_MSS)
    timestamps.take_syn_option(tcb, syn, now)
    # RFC 6691 section 2: the MSS option does not count options, a sender must.
    tcb.snd_mss = min(peer_mss, tcb.path_mss) - tcb.option_size
    # RFC 2018 section 2: the option in a SYN says that SACK may be sent "once the connection is established".
    tcb.sack_permitted = syn.sack_permitted and tcb.host.config.selective_acknowledgments
    if syn.wind_shift is None:
        # RFC 7323 section 2.2: "both sides MUST send Window Scale options in their <SYN> segments to enable window
        # scaling in either direction".
        tcb.rcv_wind_shift = tcb.snd_wind_shift = 0
    else:
        tcb.snd_wind_shift = syn.wind_shift


def segment_in_syn_sent(tcb: Tcb, segment: Segment, now: float) -> bool:
    """RFC 9293 section 3.10.7.3, in its order. True when data or FIN of the segment remain to be processed."""
    # First, check the ACK bit.
    if segment.flags & ACK and segment.ack != tcb.snd_max:
        # "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set …)"; nothing but the SYN
        # was sent, so the only acceptable value is ISS + 1.
        if not segment.flags & RST:
            reply_reset(tcb, segment.ack, RST, now)
        return False
    # Second, check the RST bit. "If the ACK was acceptable, then signal … "error: connection reset""; without an ACK
    # anybody could have sent it. But address translators in user space (SoftEther's SecureNAT) refuse in just this way:
    # one that answers a second SYN too is believed. See docs/rfc-conformance.md.
    if segment.flags & RST:
        if segment.flags & ACK or 0 < tcb.syn_reset_bare < tcb.syn_transmissions:
            tcb.fail(ConnectionRefused(f"{tcb.remote[0]} port {tcb.remote[1]}: connection refused"))
        elif not tcb.syn_reset_bare:
            tcb.syn_reset_bare = tcb.syn_transmissions
        return False
    # Third, security: not used. Fourth, check the SYN bit; fifth, without SYN or RST the segment is dropped.
    if not segment.flags & SYN:
        return False
    _take_syn(tcb, segment, now)
    if not segment.flags & ACK:
        # "Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment": both sides open at once. Data on the SYN is left for
        # the peer to send again.
        tcb.enter(TcpState.SYN_RECEIVED)
        tcb.snd_wnd = tcb.max_snd_wnd = segment.window
        tcb.rto_deadline = None
        tcb.syn_pending = True
        return False
    # The window of a SYN is not scaled.
    establish(tcb, segment, segment.window, now)
    tcb.ack_now = tcb.bare_ack_first = True
    segment.flags &= ~(SYN | ECE | CWR)
    segment.seq = tcb.rcv_nxt
    return True


def establish(tcb: Tcb, segment: Segment, window: int, now: float) -> None:
    """Our SYN is acknowledged: enter ESTABLISHED, or FIN-WAIT-1 when the owner has shut down already."""
    syn_lost = _measure_syn(tcb, now)
    algorithm = Cubic if tcb.host.config.congestion_control == "cubic" else NewReno
    tcb.congestion = algorithm(tcb.snd_mss, syn_lost=syn_lost)
    tcb.snd_una = segment.ack
    tcb.snd_wl1 = segment.seq
    tcb.snd_wl2 = segment.ack
    update_send_window(tcb, segment.seq, segment.ack, window)
    tcb.timeouts = 0
    if tcb.listener is None and tcb.connect_deadline is not None:
        begun = tcb.connect_deadline - tcb.host.config.connect_timeout
        tcb.host.counters.tcp_connect_seconds.observe(now - begun)
    tcb.connect_deadline = tcb.rto_deadline = None
    tcb.syn_pending = False
    tcb.round_began = tcb.stalled_since = tcb.last_sent = now
    if tcb.sack_permitted:
        sack_recovery.start(tcb)
    keep_alive.start(tcb, now)
    tcb.host.counters.tcp_ecn_opens += tcb.ecn
    tcb.established = True
    tcb.dirty = True
    tcb.enter(TcpState.FIN_WAIT_1 if tcb.fin_queued else TcpState.ESTABLISHED)


def _measure_syn(tcb: Tcb, now: float) -> bool:
    """Take the round-trip time of our SYN, which is acknowledged; return whether one was lost."""
    if tcb.syn_transmissions == 1:
        tcb.rtt.measured(max(now - tcb.timed_at, 0.0))
        if tcb.host.outer is not None:
            tcb.rtt.waited(tcb.host.outer.downloads.queue(now))
        return False
    # Karn: which of them was acknowledged, only a timestamp tells.
    rtt = timestamps.latest_round_trip(tcb, now)
    if rtt is None:
        tcb.rtt.rto = RTO_AFTER_LOST_SYN
    else:
        tcb.rtt.measured(rtt)
    return True
