"""Connections that outlive the connection to the server.

Theory of operation. The TCP/IP stack belongs to the session, not to one connection to the server. When that is lost and
is to be dialled again, what cannot wait ends at once: connections that were being opened, datagrams, listening ports.
Established TCP connections stay as they are, and take what programs send until their buffers are full; no timer of
theirs runs. If the server then assigns the same address, the stack goes on over the new connection: what was in flight
is repeated, and a peer that has nothing in flight is asked whether it still knows of us, as one that does not answers
with a reset. With another address they end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import trio

from ..errors import ConnectionLost, SstpsocksError
from ..net.stack import Stack
from ..net.tcp.connection import TcpConnection
from ..net.tcp.tcb import TcpState

if TYPE_CHECKING:
    from .driver import Driver

# Seconds without a tunnel after which nobody waits any more, nor do many peers.
LONGEST_OUTAGE = 300.0


def _nothing() -> None:
    """Nothing can be sent while there is no tunnel; it is when there is one."""


class SteadyPump:
    """What streams need of the driver, whichever there is at the time (streams.Pump)."""

    def __init__(self) -> None:
        self.flush: Callable[[], None] = _nothing

    def now(self) -> float:
        """The time the stack runs on: trio's clock, in seconds."""
        return trio.current_time()


class FlowKeeper:
    """Keeps the stack of a session from one connection to the next."""

    def __init__(self, note: Callable[[str], None], *, keeps: bool = True) -> None:
        """``note``: told, in one line, what became of the connections. ``keeps``: else they end with the tunnel."""
        self._keeps = keeps
        self.pump = SteadyPump()
        self.stack: Stack | None = None
        """The stack that waits for a tunnel, None while there is one."""
        self._note = note
        self._lost_at = math.inf

    def __repr__(self) -> str:
        return f"<FlowKeeper {self.stack!r}>"

    def suspend(self, stack: Stack, error: SstpsocksError, now: float) -> None:
        """The tunnel of the stack is lost; another one is dialled, if that is wanted at all."""
        if not self._keeps:
            stack.abort_all(error, now)
            return
        self.pump.flush = _nothing
        stack.abort_all(error, now, established=False)
        stack.outer = None
        self.stack, self._lost_at = stack, now

    def attach(self, address: IPv4Address, mtu: int, driver: Driver) -> Stack | None:
        """Return the stack to go on with over this driver; None: there is none that fits, take another."""
        self.pump.flush = driver.flush
        stack, self.stack = self.stack, None
        if stack is None:
            return None
        now = driver.now()
        flows = len(_waiting(stack))
        if stack.address != address or stack.mtu > mtu:
            change = f"its address is {address} now" if stack.address != address else f"it takes only {mtu} octets now"
            if flows:
                self._note(f"{_count(flows, 'was', 'were')} reset: the tunnel is back, but {change}")
            self._end(stack, ConnectionLost(f"the tunnel was lost, and when it was back, {change}"), now)
            return None
        if flows:
            self._note(f"{_count(flows, 'goes', 'go')} on: the tunnel is back with the same address")
        for connection in _waiting(stack):
            if connection.flight_size:
                connection.rto_deadline = now
                connection.handle_timer(now)
            else:
                connection.keep_alive_due = True
                stack.mark_output(connection)
        return stack

    def forget(self, error: SstpsocksError, now: float) -> None:
        """No tunnel comes any more: end what waits for one."""
        stack, self.stack = self.stack, None
        if stack is not None:
            self._end(stack, ConnectionLost(f"the tunnel ended: {error}"), now)

    def forget_old(self, now: float) -> None:
        """End what has waited for too long."""
        if self.stack is not None and now - self._lost_at >= LONGEST_OUTAGE:
            flows = len(_waiting(self.stack))
            if flows:
                self._note(f"{_count(flows, 'was', 'were')} reset: the tunnel has been away for too long")
            self.forget(ConnectionLost("it did not come back in time"), now)

    @property
    def waiting(self) -> int:
        """How many connections wait for a tunnel."""
        return len(_waiting(self.stack)) if self.stack is not None else 0

    def _end(self, stack: Stack, error: SstpsocksError, now: float) -> None:
        stack.abort_all(error, now)
        while flows := stack.take_dirty():
            for flow in flows:
                if flow.notify is not None:
                    flow.notify()


def _count(flows: int, one: str, many: str) -> str:
    return f"1 open connection {one}" if flows == 1 else f"{flows} open connections {many}"


def ipv6_addresses(stack: Stack) -> list[IPv6Address]:
    """Return the IPv6 addresses of the stack, which a new connection has to earn anew."""
    return [one for one in stack.local_addresses if isinstance(one, IPv6Address)]


def in_use(stack: Stack) -> bool:
    """Whether a program has a connection open."""
    return bool(_waiting(stack))


def _waiting(stack: Stack) -> list[TcpConnection]:
    return [one for one in stack.connections.values() if one.state is not TcpState.TIME_WAIT]
