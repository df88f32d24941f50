"""Forwarded datagrams: a UDP port of this machine whose senders each have a UDP port of their own inside the tunnel.

Theory of operation. UDP has no connections, so a *session* stands for one: it begins with the first datagram of a
sender (address and port), and ends when nothing has passed for IDLE seconds, when the tunnel is lost, or when somebody
needs its place. A session's port in the tunnel is its own, so answers reach that sender and nobody else; they are taken
from the host and port that the forward names only, whoever else in the tunnel finds the port. One task reads the
sender's datagrams; answers pass in the driver's turn, straight from the tunnel's socket to the sender. Nothing waits in
numbers that somebody else decides: a datagram that finds no room is dropped and counted, as UDP allows.

A name is looked up as connections have it looked up, anew when its answer has expired, which sends the datagrams of one
session to another address from then on.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import trio

from ...errors import DialError, LocalProtocolError, TunnelDown
from ..datagram_counters import DatagramCounters

if TYPE_CHECKING:
    from ...base.forward import Forward
    from ...tunnel.network import IPAddress
    from ..outlet import Datagrams, Outlet

IDLE = 120.0
"""Seconds. RFC 4787 section 4.3: "A NAT UDP mapping timer MUST NOT expire in less than two minutes"."""
ROOM_AFTER = 5.0
"""Seconds that the session that was used longest ago must have been idle to make room for another."""
WAITING = 16
"""Datagrams of one sender that wait until a name has been looked up."""
TARGETS = 8
"""Addresses of the forward's host whose answers are passed on; the one that was used longest ago makes room."""
BATCH = 64
"""Datagrams read before the others have their turn."""
MAX_DATAGRAM = 65535

Sender = tuple[str, int]
"""As the socket has it; IPv6 has flow and scope behind."""

_logger = logging.getLogger("sstpsocks.forward")


class DatagramForward:
    """One UDP port of this machine. ``most``: how many sessions there may be at a time.

    ``only_own_user``: drop what other users of this machine send (Linux).
    """

    def __init__(
        self, forward: Forward, outlet: Outlet, port: socket.socket, *, most: int, only_own_user: bool = False
    ) -> None:
        self.counters = DatagramCounters()
        self.forward = forward
        self._outlet = outlet
        self._port = port
        self._most = most
        self._only_own_user = only_own_user
        self._sessions: OrderedDict[Sender, _Session] = OrderedDict()
        """What was used longest ago first."""
        self._begun = trio.Event()
        self._complained = ""

    def __repr__(self) -> str:
        return f"<DatagramForward {self.forward}, {len(self._sessions)} sessions>"

    @property
    def sessions(self) -> int:
        """How many there are now."""
        return len(self._sessions)

    async def serve(self) -> None:
        """Forward until cancelled, or until somebody closes the socket."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._expire)
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        finally:
            for session in list(self._sessions.values()):
                self.end(session)
            _logger.debug("%s: datagrams: %s", self.forward, self.counters)

    async def _read(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._port)
            except (trio.ClosedResourceError, ValueError):
                return
            for _ in range(BATCH):
                try:
                    payload, sender = self._port.recvfrom(MAX_DATAGRAM)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    continue  # Windows tells so that an answer found nobody
                self.take(payload, sender, nursery)
            await trio.lowlevel.checkpoint()

    def take(self, payload: bytes, sender: Sender, nursery: trio.Nursery) -> None:
        """Send one datagram of somebody on this side into the tunnel, or drop it."""
        if self._only_own_user and not self._is_own(sender):
            self.counters.strangers += 1
            return
        session = self._sessions.get(sender)
        if session is None:
            session = self._begin(sender)
        if session is not None:
            self.used(session)
            session.send(payload, nursery)

    def _is_own(self, sender: Sender) -> bool:
        from ..peer_user import sender_user  # for those only who ask

        ours = False
        if sys.platform == "linux":
            # Of each datagram: a port that its program gave back is anybody's.
            ours = sender_user(self._port, sender[:2]) == os.geteuid()
        return ours

    def _begin(self, sender: Sender) -> _Session | None:
        """Return a new session, None when there is no room or no tunnel for one."""
        if len(self._sessions) >= self._most:
            oldest = next(iter(self._sessions.values()))
            if trio.current_time() - oldest.used < ROOM_AFTER:
                self.counters.crowded += 1
                return None
            self.end(oldest)
        try:
            datagrams = self._outlet.open_datagrams()
        except DialError as error:
            self.refuse(error)
            return None
        session = self._sessions[sender] = _Session(self, sender, datagrams)
        self.counters.sessions += 1
        self._begun.set()
        return session

    def used(self, session: _Session) -> None:
        """Take note that something passed."""
        session.used = trio.current_time()
        if session.sender in self._sessions:
            self._sessions.move_to_end(session.sender)

    def end(self, session: _Session) -> None:
        """End a session; its sender may begin another."""
        if self._sessions.get(session.sender) is session:
            del self._sessions[session.sender]
        session.close()

    def refuse(self, error: DialError | LocalProtocolError) -> None:
        """Count a datagram that goes nowhere, and say why unless that was the last thing said."""
        self.counters.refused += 1
        if str(error) != self._complained:
            self._complained = str(error)
            _logger.warning("%s: %s", self.forward, error)

    def sent(self) -> None:
        """Count a datagram that went into the tunnel."""
        self.counters.sent += 1
        self._complained = ""

    def answer(self, payload: bytes, sender: Sender) -> None:
        """Send an answer to whom it is for."""
        try:
            self._port.sendto(payload, sender)
        except OSError:
            self.counters.crowded += 1  # no room in the socket, or somebody closed it
        else:
            self.counters.received += 1

    async def _expire(self) -> None:
        """End the sessions through which nothing passes."""
        while True:
            oldest = next(iter(self._sessions.values()), None)
            if oldest is None:
                self._begun = trio.Event()
                await self._begun.wait()
            elif oldest.used + IDLE > trio.current_time():
                await trio.sleep_until(oldest.used + IDLE)
            else:
                self.end(oldest)


class _Session:
    """What one sender has in the tunnel."""

    def __init__(self, desk: DatagramForward, sender: Sender, datagrams: Datagrams) -> None:
        self.sender = sender
        self.used = trio.current_time()
        self._desk = desk
        self._target = desk.forward.target
        self._datagrams = datagrams
        self._targets: OrderedDict[IPAddress, None] = OrderedDict()
        self._waiting: deque[bytes] = deque()
        self._looking_up = False
        datagrams.notify = self._pass_answers
        datagrams.on_error = self._count_error

    def send(self, payload: bytes, nursery: trio.Nursery) -> None:
        """Send one datagram, in the order in which they came."""
        if self._looking_up:
            if len(self._waiting) < WAITING:
                self._waiting.append(payload)
            else:
                self._desk.counters.crowded += 1
            return
        try:
            address = self._datagrams.send_nowait(payload, self._target.host, self._target.port)
        except (DialError, LocalProtocolError) as error:
            self._refused(error)
            return
        if address is not None:
            self._sent(address)
            return
        self._looking_up = True
        self._waiting.append(payload)
        nursery.start_soon(self._send_waiting)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                payload = self._waiting.popleft()
                self._sent(await self._datagrams.send_to(payload, self._target.host, self._target.port))
        except trio.ClosedResourceError:
            return  # the session ended meanwhile
        except (DialError, LocalProtocolError) as error:
            # Those behind it would meet the same, each after a look-up of its own.
            self._desk.counters.refused += len(self._waiting)
            self._waiting.clear()
            self._refused(error)
        finally:
            self._looking_up = False
        self._pass_answers()  # one may have been quicker than this task

    def _refused(self, error: DialError | LocalProtocolError) -> None:
        self._desk.refuse(error)
        if isinstance(error, TunnelDown):
            self._desk.end(self)

    def _sent(self, address: IPAddress) -> None:
        self._desk.sent()
        self._targets[address] = None
        self._targets.move_to_end(address)
        if len(self._targets) > TARGETS:
            self._targets.popitem(last=False)

    def _pass_answers(self) -> None:
        """Pass on what has come; called in the driver's turn."""
        if self._looking_up:
            return  # whose answers they may be is known after that
        try:
            while (received := self._datagrams.receive_nowait()) is not None:
                payload, address, port = received
                if port != self._target.port or address not in self._targets:
                    self._desk.counters.unexpected += 1
                    continue
                self._desk.answer(payload, self.sender)
                self._desk.used(self)
        except (TunnelDown, trio.ClosedResourceError):
            self._desk.end(self)

    def _count_error(self, error: DialError, _address: IPAddress, _port: int) -> None:
        self._desk.counters.icmp_errors += 1
        _logger.debug("%s: %s", self._desk.forward, error)

    def close(self) -> None:
        """Close its port in the tunnel."""
        self._datagrams.notify = self._datagrams.on_error = None
        self._datagrams.close()
