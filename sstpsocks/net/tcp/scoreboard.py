"""What was sent when, and what of it arrived: the scoreboard of RFC 6675 with the transmit times of RFC 8985.

Theory of operation. The data between SND.UNA and SND.MAX is a list of records without gaps. One record is what was sent
at one time and has fared alike since: in bulk a whole burst of segments, so that a transfer without losses keeps few
records and each acknowledgement touches one or two. A SACK block or a retransmission splits records at its edges; what
is selectively acknowledged melts into one record per block. Within a record the order of sending is that of the
sequence numbers, which is how RFC 8985 orders segments of the same transmit time.

Positions are sequence numbers that do not wrap; ``high_ack`` is the position of SND.UNA.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Final

MAXIMUM_RECORDS: Final = 1024
"""SACK blocks that would make more records than this beside one for each full segment in flight are ignored: a peer
that acknowledges every second octet must not make each of its acknowledgements cost a walk over a million records."""

_START: Final = attrgetter("start")


class Transmission:
    """Octets ``[start, end)``, sent last at ``xmit_ts``."""

    __slots__ = ("end", "lost", "retransmitted", "sacked", "segments", "start", "xmit_ts")

    def __init__(self, start: int, end: int, xmit_ts: float, *, retransmitted: bool = False) -> None:
        self.start = start
        """The first position."""
        self.end = end
        """The position after the last: Segment.end_seq of RFC 8985."""
        self.xmit_ts = xmit_ts
        """Segment.xmit_ts: when it was sent last."""
        self.retransmitted = retransmitted
        """Segment.retransmitted: sent more than once."""
        self.lost = False
        """Segment.lost: presumed lost, and not sent again since."""
        self.sacked = False
        """Selectively acknowledged; nothing of the above means anything any more."""
        self.segments = 0
        """How many segments were selectively acknowledged with it."""

    def __repr__(self) -> str:
        flags = "".join(
            letter for letter, flag in zip("RLS", (self.retransmitted, self.lost, self.sacked), strict=True) if flag
        )
        return f"{self.start}-{self.end}{flags}"


class Scoreboard:
    """All records of one connection, and sums over them."""

    __slots__ = ("_lost_from", "high_ack", "high_data", "lost", "records", "sacked")

    def __init__(self) -> None:
        self.high_ack = 0
        """HighACK: the position of SND.UNA."""
        self.high_data = 0
        """HighData: the position of SND.MAX."""
        self.records: list[Transmission] = []
        """Everything between the two, in order and without gaps."""
        self.sacked = 0
        """Octets selectively acknowledged."""
        self.lost = 0
        """Octets presumed lost that were not sent again."""
        self._lost_from = 0
        """No lost record lies below this position."""

    def __repr__(self) -> str:
        return f"<Scoreboard {self.high_ack}-{self.high_data} {self.records}>"

    @property
    def pipe(self) -> int:
        """RFC 6675 section 2: "the sender's estimate of the number of bytes outstanding in the network"."""
        return self.high_data - self.high_ack - self.sacked - self.lost

    def segs_sacked(self) -> int:
        """RACK.segs_sacked of RFC 8985: how many segments are selectively acknowledged."""
        return sum(record.segments for record in self.records if record.sacked)

    # --- What we send ------------------------------------------------------------------------------------------------

    def sent(self, size: int, now: float, mss: int) -> None:
        """``size`` octets at ``high_data`` were sent for the first time. Full segments of one burst share a record."""
        start = self.high_data
        self.high_data = end = start + size
        if self.records:
            last = self.records[-1]
            if (
                last.xmit_ts == now
                and not (last.retransmitted or last.sacked or last.lost)
                and not (start - last.start) % mss
                and size <= mss
            ):
                last.end = end
                return
        self.records.append(Transmission(start, end, now))

    def retransmitted(self, start: int, end: int, now: float) -> None:
        """``[start, end)`` was sent again. RFC 8985 section 6.1: Segment.lost is cleared, the rest is as of now."""
        first = self._cut(start)
        last = self._cut(end)
        records = self.records
        for record in records[first:last]:
            if record.lost:
                self.lost -= record.end - record.start
            if record.sacked:
                self.sacked -= record.end - record.start
        before = records[first - 1] if first else None
        if before is not None and before.retransmitted and before.xmit_ts == now and not (before.sacked or before.lost):
            before.end = end
            del records[first:last]
        else:
            records[first:last] = [Transmission(start, end, now, retransmitted=True)]

    def next_lost(self, mss: int) -> tuple[int, int] | None:
        """Return the first octets presumed lost, at most ``mss``: NextSeg() rule (1) of RFC 6675 section 4."""
        if not self.lost:
            return None
        records = self.records
        index = max(self._index(max(self._lost_from, self.high_ack)), 0)
        while not records[index].lost:
            index += 1
        start = end = records[index].start
        self._lost_from = start
        while index < len(records) and records[index].lost and end - start < mss:
            end = records[index].end
            index += 1
        return start, min(end, start + mss)

    def last_segment(self, mss: int) -> tuple[int, int]:
        """Return the last segment that was sent, at most ``mss``."""
        last = self.records[-1]
        if last.end - last.start <= mss + 1:
            # One segment, with FIN if it is longer than the limit.
            return last.start, last.end
        # Only the last segment of a burst is not full.
        odd = (last.end - last.start) % mss or mss
        return max(last.start, last.end - odd), last.end

    def head(self, size: int) -> int:
        """Return how much of the first ``size`` octets can be sent again as one: up to what arrived already. What the
        peer must have discarded counts as not arrived.
        """
        if self.reneged():
            self.forget_sacks()
        for record in self.records:
            if record.sacked:
                return min(size, record.start - self.high_ack)
        return size

    # --- What the peer says ------------------------------------------------------------------------------------------

    def acknowledge(self, count: int) -> list[Transmission]:
        """SND.UNA advances by ``count``. Return what was delivered by that and not known to be before."""
        delivered: list[Transmission] = []
        self.high_ack = target = self.high_ack + count
        records = self.records
        done = 0
        for record in records:
            if record.start >= target:
                break
            end = record.end
            if end > target:
                part = Transmission(record.start, target, record.xmit_ts, retransmitted=record.retransmitted)
                record.start = target
                end = target
            else:
                part = record
                done += 1
            if record.sacked:
                self.sacked -= end - part.start
            else:
                if record.lost:
                    self.lost -= end - part.start
                delivered.append(part)
        del records[:done]
        return delivered

    def sack(self, start: int, end: int, mss: int) -> list[Transmission]:
        """``[start, end)`` is selectively acknowledged. Return what of it is news."""
        delivered: list[Transmission] = []
        records = self.records
        start = max(start, self.high_ack)
        end = min(end, self.high_data)
        if start >= end or len(records) >= MAXIMUM_RECORDS + (self.high_data - self.high_ack) // mss:
            return delivered
        index = self._index(start)
        if records[index].sacked and records[index].end >= end:
            return delivered
        first = self._cut(start) if not records[index].sacked else index
        last = self._cut(end)
        if last < len(records) and records[last].start < end:
            # The cut fell into something that is selectively acknowledged already.
            last += 1
        for record in records[first:last]:
            if not record.sacked:
                delivered.append(record)
                size = record.end - record.start
                self.sacked += size
                if record.lost:
                    self.lost -= size
        self._melt(first, last, mss)
        return delivered

    def mark_lost(self, record: Transmission) -> None:
        """Presume ``record``, which is neither sacked nor lost, lost."""
        record.lost = True
        self.lost += record.end - record.start
        self._lost_from = min(self._lost_from, record.start)

    def mark_all_lost(self) -> None:
        """Presume everything lost that is not selectively acknowledged."""
        for record in self.records:
            if not (record.sacked or record.lost):
                self.mark_lost(record)

    def forget_losses(self) -> None:
        """Nothing is lost after all: what was not sent again is still under way."""
        for record in self.records:
            record.lost = False
        self.lost = 0

    def reneged(self) -> bool:
        """Whether the peer discarded what it had acknowledged selectively: it cannot lack the octet before a block and
        not acknowledge the block when that octet comes.
        """
        return bool(self.records) and self.records[0].sacked

    def forget_sacks(self) -> None:
        """RFC 2018 section 8: "the data sender SHOULD turn off all of the SACKed bits"."""
        for record in self.records:
            if record.sacked:
                record.sacked = False
                record.segments = 0
                # Its transmit times are gone; as a retransmission it proves nothing about time or order.
                record.retransmitted = True
        self.sacked = 0

    # --- Records -----------------------------------------------------------------------------------------------------

    def _index(self, position: int) -> int:
        """Return the index of the record that contains ``position``."""
        return bisect_right(self.records, position, key=_START) - 1

    def _cut(self, position: int) -> int:
        """Make ``position`` the beginning of a record and return its index; a selectively acknowledged one stays whole
        and the index of it is returned.
        """
        records = self.records
        if position >= self.high_data:
            return len(records)
        index = self._index(position)
        record = records[index]
        if record.start == position or record.sacked:
            return index
        rest = Transmission(position, record.end, record.xmit_ts, retransmitted=record.retransmitted)
        rest.lost = record.lost
        record.end = position
        records.insert(index + 1, rest)
        return index + 1

    def _melt(self, first: int, last: int, mss: int) -> None:
        """Make one selectively acknowledged record of ``records[first:last]`` and its neighbours that are so too."""
        records = self.records
        segments = sum(record.segments or -((record.start - record.end) // mss) for record in records[first:last])
        if first and records[first - 1].sacked:
            first -= 1
            segments += records[first].segments
        if last < len(records) and records[last].sacked:
            segments += records[last].segments
            last += 1
        block = Transmission(records[first].start, records[last - 1].end, 0.0)
        block.sacked = True
        block.segments = segments
        records[first:last] = [block]
