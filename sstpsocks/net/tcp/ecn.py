"""Explicit congestion notification (RFC 3168): routers mark packets of ours instead of dropping them.

Theory of operation. Both SYNs ask for it, or it is not used. Then every segment with new data leaves as ECT(0), and a
router that would drop it may mark it CE instead. The receiver of a marked segment says ECN-Echo in everything it sends
until a segment with CWR, "congestion window reduced", shows that it was heard. The sender takes the first ECN-Echo of a
window as it would take a loss, but sends nothing again. What must not be lost unnoticed is never marked: SYNs, pure
ACKs, resets, window probes, and data sent again.

A reduction holds for one window of data: ``cwr_end`` is where sending stood when it was made, and until that is passed
neither an ECN-Echo nor a loss from before asks for another.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import lt
from .segment import ACK, CWR, ECE, SYN, Segment
from .tcb import Tcb

ECT_0: Final = 2
"""The codepoint of our data (RFC 3168 section 5: "protocols and senders that only require a single ECT codepoint SHOULD
use ECT(0)"); that of everything else is 0."""


# --- Negotiation: section 6.1.1 --------------------------------------------------------------------------------------


def offer(tcb: Tcb, *, wanted: bool) -> None:
    """The connection opens; ``wanted``: ECN is used if the peer's SYN agrees."""
    tcb.ecn = tcb.ect = wanted


def syn_flags(tcb: Tcb, *, answering: bool) -> int:
    """Return the flags of our SYN, or of our SYN and ACK, that leaves now and counts in syn_transmissions already."""
    if answering:
        return SYN | ACK | ECE if tcb.ecn else SYN | ACK
    if not tcb.ecn:
        return SYN
    if tcb.syn_transmissions == 1:
        return SYN | ECE | CWR
    # Section 6.1.1.1: "A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission timeout
    # interval MAY resend the SYN and any subsequent SYN retransmissions with CWR and ECE cleared." Some middlebox may
    # drop the others. Section 6.1.1: a host sets no ECT that has sent a "non-ECN-setup SYN", but goes on to process CE
    # when the answer to its first SYN comes after all.
    tcb.ect = False
    return SYN


def take_syn(tcb: Tcb, flags: int) -> None:
    """Take the flags of the peer's SYN, or of its SYN and ACK: it agrees, or ECN is not used."""
    # "An ECN-setup SYN-ACK packet" has ECE and not CWR, an ECN-setup SYN both. Section 6.1.1.2: a peer that reflects
    # reserved bits sends back both, which is no agreement.
    if flags & (ECE | CWR) != (ECE if flags & ACK else ECE | CWR):
        tcb.ecn = tcb.ect = False


# --- The receiver: section 6.1.3 -------------------------------------------------------------------------------------


def data_arrives(tcb: Tcb, segment: Segment) -> None:
    """A segment with data in the window arrived on a connection with ECN.

    Others say nothing: section 6.1.5 "the TCP data receiver SHOULD ignore the ECN field on arriving data packets that
    are outside of the receiver's current window", and pure ACKs are not marked.
    """
    if segment.flags & CWR:
        # "After the receipt of the CWR packet, acknowledgments for subsequent non-CE data packets will not have the
        # ECN-Echo flag set." Its sender may have a window of very few segments and wait for this one to be
        # acknowledged.
        tcb.ecn_echo = False
        tcb.ack_now = True
    if segment.marked:
        tcb.host.counters.tcp_in_ce_segs += 1
        if not tcb.ecn_echo:
            # The sender is to know in this round trip: no delayed or thinned ACK.
            tcb.ecn_echo = True
            tcb.ack_now = True
            tcb.in_order_run = 0


# --- The sender: section 6.1.2 ---------------------------------------------------------------------------------------


def echo_arrives(tcb: Tcb, ack: int, now: float) -> None:
    """An ACK with ECN-Echo that is acceptable arrived; nothing else of it has been processed.

    "TCP should not react to congestion indications more than once every window of data". The window also "SHOULD NOT"
    grow by such an ACK, to which the caller sees; but after a timeout it does: nothing new can carry CWR until
    everything is sent again, and one segment in each round trip would take its time.
    """
    tcb.host.counters.tcp_in_ece_segs += 1
    # The network says itself that it is congested: a reduction for losses that were none was due all the same.
    tcb.undo.settle()
    if tcb.in_recovery or tcb.rto_recovery or tcb.cwr_due or (tcb.cwr_end is not None and not lt(tcb.cwr_end, ack)):
        return
    congestion = tcb.congestion
    # Acknowledgements come in batches, within which the flight shrinks although the window was full.
    congestion.congestion_experienced(min(max(tcb.flight_size, congestion.used), congestion.cwnd), now)
    tcb.host.counters.tcp_ecn_reductions += 1
    reduced(tcb)


def loss_detected(tcb: Tcb, flight: int, now: float) -> None:
    """A segment at SND.UNA was lost: reduce the window, unless that was done already since it was sent.

    "That is, the TCP sender's congestion window should be reduced only once in response to a series of dropped and/or
    CE packets from a single window of data."
    """
    if tcb.cwr_end is None or not lt(tcb.snd_una, tcb.cwr_end):
        tcb.congestion.loss_detected(flight, now)
        reduced(tcb)


def reduced(tcb: Tcb) -> None:
    """The window was reduced now: for an ECN-Echo, a fast retransmit or a timeout.

    "When an ECN-Capable TCP sender reduces its congestion window for any reason (because of a retransmit timeout, a
    Fast Retransmit, or in response to an ECN Notification), the TCP sender sets the CWR flag in the TCP header of the
    first new data packet sent after the window reduction."
    """
    if tcb.ect:
        tcb.cwr_due = True
        tcb.cwr_end = tcb.snd_max


def reduction_undone(tcb: Tcb) -> None:
    """The last reduction was taken back: there is nothing to tell, and the next ECN-Echo is news."""
    tcb.cwr_due = False
    tcb.cwr_end = None


def new_data_flags(tcb: Tcb) -> int:
    """Return CWR when the segment with new data that begins at SND.MAX is to carry it."""
    if not tcb.cwr_due:
        return 0
    tcb.cwr_due = False
    # The peer goes on with ECN-Echo until it has this one.
    tcb.cwr_end = tcb.snd_max
    return CWR
