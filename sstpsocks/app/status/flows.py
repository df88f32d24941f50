"""A tunnel's TCP connections: what each did since the last look, and which are the busiest.

Theory of operation. Connections count nothing for us; what passed is the difference of sequence numbers that they keep
anyway: RCV.NXT less IRS, SND.UNA less ISS, both modulo 2**32. So somebody must look at least once in every 4 GiB of
each connection: LONGEST_UNSEEN is far less than that takes. One look at ten thousand of them takes some ten
milliseconds; it is done in slices, between which the event loop does other things.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from .snapshot import MAX_FLOWS, FlowView

if TYPE_CHECKING:
    from ...net.stack import Stack
    from ...net.tcp.connection import TcpConnection

LONGEST_UNSEEN: Final = 10.0
"""Seconds; 4 GiB in that time would be 3.4 Gbit/s in one connection."""
SLICE: Final = 250
"""Connections that are looked at before others have their turn: less than half a millisecond."""
_MASK: Final = 0xFFFFFFFF


class _Seen:
    """One connection as it was at the last look."""

    __slots__ = (
        "first_seen",
        "iss",
        "number",
        "receive_rate",
        "received",
        "received_low",
        "send_rate",
        "sent",
        "sent_low",
    )

    def __init__(self, number: int, iss: int, now: float) -> None:
        self.number = number
        self.iss = iss
        self.first_seen = now
        self.received = self.received_low = 0
        self.sent = self.sent_low = 0
        self.receive_rate = self.send_rate = 0.0

    def look(self, connection: TcpConnection, elapsed: float) -> None:
        """Take what came since the last look, which was ``elapsed`` seconds ago."""
        if not connection.established:
            return
        # A SYN and a FIN have a sequence number each (RFC 9293 section 3.4).
        low = (connection.rcv_nxt - connection.irs - 1 - connection.fin_received) & _MASK
        count = (low - self.received_low) & _MASK
        self.received_low = low
        self.received += count
        low = (connection.snd_una - connection.iss - 1 - connection.fin_acked) & _MASK
        sent = (low - self.sent_low) & _MASK
        self.sent_low = low
        self.sent += sent
        if elapsed > 0:
            self.receive_rate, self.send_rate = count / elapsed, sent / elapsed


@dataclass(frozen=True, slots=True)
class FlowsSeen:
    """What one look found."""

    total: int = 0
    states: tuple[tuple[str, int], ...] = ()
    busiest: tuple[FlowView, ...] = ()


class FlowWatch:
    """Looks at the connections of one tunnel, through all of its stacks."""

    def __init__(self) -> None:
        self._seen: dict[bytes, _Seen] = {}
        self._numbers = itertools.count(1)
        self._stack: Stack | None = None
        self.looked = float("-inf")
        """When it looked last."""

    def __repr__(self) -> str:
        return f"<FlowWatch {len(self._seen)} flows>"

    async def look(self, stack: Stack | None, now: float, names: dict[str, str]) -> FlowsSeen:
        """Look at all of them; ``names`` has a name for some addresses."""
        elapsed, self.looked = now - self.looked, now
        if stack is None:
            self._seen.clear()
            return FlowsSeen()
        if stack is not self._stack:
            self._stack = stack
            self._seen.clear()
        states: Counter[str] = Counter()
        found: dict[bytes, _Seen] = {}
        connections = list(stack.connections.values())
        for part in _slices(connections):
            for connection in part:
                states[connection.state.value] += 1
                key = connection.key
                seen = self._seen.get(key)
                if seen is None or seen.iss != connection.iss:
                    seen = _Seen(next(self._numbers), connection.iss, now)
                seen.look(connection, elapsed)
                found[key] = seen
            if len(connections) > SLICE:
                await trio.lowlevel.checkpoint()
        # Not before the end: a look that is cancelled leaves what the next one needs.
        self._seen = found
        chosen = heapq.nlargest(MAX_FLOWS, connections, key=self._interest)
        views = tuple(self._view(connection, now, names) for connection in chosen)
        return FlowsSeen(len(connections), tuple(sorted(states.items())), views)

    def _interest(self, connection: TcpConnection) -> tuple[float, int, int]:
        """The busiest first, of those that rest now the ones that carried most."""
        seen = self._seen[connection.key]
        return seen.receive_rate + seen.send_rate, seen.received + seen.sent, seen.number

    def _view(self, connection: TcpConnection, now: float, names: dict[str, str]) -> FlowView:
        seen = self._seen[connection.key]
        peer = str(connection.remote[0])
        return FlowView(
            number=seen.number,
            peer=peer,
            port=connection.remote[1],
            name=names.get(peer, ""),
            local_port=connection.local[1],
            state=connection.state.value,
            age=now - seen.first_seen,
            octets_received=seen.received,
            octets_sent=seen.sent,
            receive_rate=seen.receive_rate,
            send_rate=seen.send_rate,
            round_trip=connection.rtt.srtt,
            retransmissions=connection.retransmissions,
            congestion_window=connection.congestion.cwnd,
            send_window=connection.snd_wnd,
            receive_window=(connection.rcv_adv - connection.rcv_nxt) & _MASK if connection.established else 0,
            in_flight=(connection.snd_max - connection.snd_una) & _MASK,
            unread=connection.readable,
        )


def _slices(connections: Sequence[TcpConnection]) -> Iterator[Sequence[TcpConnection]]:
    for start in range(0, len(connections), SLICE):
        yield connections[start : start + SLICE]
