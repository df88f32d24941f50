"""Who may send next: urgent and new flows first, then deficit round robin (after FQ-CoDel, RFC 8290 section 4.2).

Theory of operation. Three queues, served in this order: flows that have acknowledgements and the like, flows that
were idle and got something to send, and the ring of all others. From the first two a flow is served one quantum and
then joins the ring, even with nothing left: only when its turn finds it empty is it idle again, so that a flow which
sends in many small bursts cannot always be first. In the ring each turn adds a quantum to the credit of the flow and
takes off what it sent; it may overdraw by one packet, which its next turn pays back. So a keystroke or a new request
never waits for more than what was already handed down. Nothing is built before it is asked for.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .flow import Flow

QUANTUM: Final = 16 * 1024
"""Octets per turn: one TLS record, so that few flows still make full records."""


class OutputScheduler:
    """The flows that have something to send."""

    __slots__ = ("_credit", "_mtu", "_new", "_ring", "_urgent")

    def __init__(self, mtu: int) -> None:
        self._mtu = mtu
        self._urgent: dict[Flow, None] = {}
        self._new: dict[Flow, None] = {}
        self._ring: deque[Flow] = deque()
        self._credit: dict[Flow, int] = {}
        """Octets that each flow of the ring may still send in its turn; negative when it overdrew."""

    def __repr__(self) -> str:
        return f"<OutputScheduler {len(self._urgent)} urgent, {len(self._new)} new, {len(self._ring)} in the ring>"

    def __bool__(self) -> bool:
        return bool(self._urgent or self._new or self._ring)

    def add(self, flow: Flow) -> None:
        """Note that the flow has something to send. Adding it again changes nothing."""
        if flow in self._urgent:
            return
        if flow.has_urgent_output:
            self._urgent[flow] = None
            self._new.pop(flow, None)
        elif flow not in self._credit:
            self._new[flow] = None

    def take(self, now: float, max_bytes: int) -> list[bytes]:
        """Return packets of about ``max_bytes`` octets, at most one packet more."""
        packets: list[bytes] = []
        left = max_bytes
        while left > 0 and (queue := self._urgent or self._new):
            flow = next(iter(queue))
            del queue[flow]
            if flow not in self._credit:
                self._credit[flow] = 0
                self._ring.append(flow)
            sent = self._ask(flow, now, min(QUANTUM, left), packets)
            left -= sent
            self._credit[flow] -= sent
        while self._ring and left > 0:
            flow = self._ring.popleft()
            # Alone there is nobody to be fair to, and long runs are cheaper to build.
            allowance = self._credit[flow] + QUANTUM if self._ring else left
            if not flow.has_output():
                del self._credit[flow]
                continue
            sent = self._ask(flow, now, min(allowance, left), packets) if allowance > 0 else 0
            if allowance > 0 and not sent:
                del self._credit[flow]
                continue
            left -= sent
            self._requeue(flow, allowance - sent, ended_early=left <= 0)
        return packets

    def clear(self) -> None:
        """Forget every flow."""
        self._urgent.clear()
        self._new.clear()
        self._ring.clear()
        self._credit.clear()

    def _ask(self, flow: Flow, now: float, allowance: int, packets: list[bytes]) -> int:
        built = flow.next_packets(now, max(allowance, self._mtu))
        packets += built
        return sum(map(len, built))

    def _requeue(self, flow: Flow, credit: int, *, ended_early: bool) -> None:
        if ended_early and credit > 0:
            # The budget cut its turn short: next time it goes on with the rest of its credit.
            self._credit[flow] = credit - QUANTUM
            self._ring.appendleft(flow)
        else:
            self._credit[flow] = min(credit, 0)
            self._ring.append(flow)
