"""The receiver's side of selective acknowledgements: what an ACK reports (RFC 2018, RFC 2883)."""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK
from .segment import sack_option
from .tcb import Tcb

MAXIMUM_BLOCKS: Final = 4
"""RFC 2018 section 3: "40 bytes available for TCP options can specify a maximum of 4 blocks"."""

MAXIMUM_REPORTS: Final = 8
"""Duplicates that wait to be reported, each in an ACK of its own: more in one batch are not worth their ACKs."""


def sack_due(tcb: Tcb) -> bool:
    """Whether an ACK has more to say than its acknowledgement number.

    RFC 2018 section 4: "If sent at all, SACK options SHOULD be included in all ACKs which do not ACK the highest
    sequence number in the data receiver's queue."
    """
    return tcb.sack_permitted and (bool(tcb.reassembly) or bool(tcb.dsack))


def take_sack_option(tcb: Tcb, room: int) -> bytes:
    """Return the SACK option for an ACK that leaves now, of at most ``room`` octets; a D-SACK is reported once.

    RFC 2883 section 4: "Each duplicate contiguous sequence of data received is reported in at most one D-SACK block"
    and the D-SACK comes first; behind it the block it lies in, if it is not below the acknowledgement number.
    """
    maximum = min((room - 4) // 8, MAXIMUM_BLOCKS)
    blocks: list[tuple[int, int]] = []
    if tcb.dsack:
        blocks.append(tcb.dsack.pop(0))
    if tcb.reassembly:
        blocks += tcb.reassembly.blocks(maximum - len(blocks), tcb.rcv_nxt)
    return sack_option(blocks)


def note_duplicate(tcb: Tcb, start: int, end: int) -> None:
    """The octets from ``start`` up to ``end`` came a second time; those that follow each other become one report."""
    if not tcb.sack_permitted or start == end:
        return
    reports = tcb.dsack
    if reports and reports[-1][1] == start & MASK:
        reports[-1] = (reports[-1][0], end & MASK)
    elif len(reports) < MAXIMUM_REPORTS:
        reports.append((start & MASK, end & MASK))
    tcb.ack_now = True
