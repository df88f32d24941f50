"""Datagrams of this machine itself, for what a rule sends ``direct``: one UDP socket of each family, when first needed.

What is judged is each datagram's destination, as for connections; who may answer is for the front end to look at. Names
are looked up by this machine's resolver; what it said holds for NAMES_FOR seconds, so that not each datagram asks.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import trio

from ...errors import DeniedByRule, LocalProtocolError
from ..rules import parse_target

if TYPE_CHECKING:
    from ...errors import DialError
    from ...tunnel.network import ErrorObserver, IPAddress

QUEUE = 256
"""Datagrams that wait for the front end; the next are dropped."""
KNOWN = 1024
"""Addresses and names about which is remembered what was found; the oldest makes room."""
NAMES_FOR = 30.0
BATCH = 64
MAX_DATAGRAM = 65535

Resolve = Callable[[str], "Awaitable[list[IPAddress]]"]
MayReach = Callable[["IPAddress"], bool]
AsDialError = Callable[[OSError, "IPAddress"], "DialError"]


class DirectDatagrams:
    """UDP past all tunnels; implements Datagrams. Its tasks live in ``nursery``."""

    def __init__(
        self, nursery: trio.Nursery, *, resolve: Resolve, may_reach: MayReach, as_dial_error: AsDialError
    ) -> None:
        self._nursery = nursery
        self._resolve = resolve
        self._may_reach = may_reach
        self._as_dial_error = as_dial_error
        self._sockets: dict[int, socket.socket] = {}
        self._reachable: OrderedDict[IPAddress, None] = OrderedDict()
        self._names: OrderedDict[str, tuple[IPAddress, float]] = OrderedDict()
        self._queue: deque[tuple[bytes, IPAddress, int]] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        self.dropped = 0
        """Datagrams that came and found the queue full."""
        self.notify: Callable[[], None] | None = None
        self.on_error: ErrorObserver | None = None
        """Never called: what ICMP says of a socket that is connected to nobody is not told by every system."""

    def __repr__(self) -> str:
        return f"<DirectDatagrams {len(self._queue)} waiting>"

    def send_nowait(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress | None:
        """Send one datagram and return where to; None when its name has to be looked up. Raises a DialError."""
        target = self._target(host, port)
        if isinstance(target, str):
            known = self._names.get(target)
            if known is None or known[1] < trio.current_time():
                return None
            target = known[0]
        return self._send(payload, target, port)

    async def send_to(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress:
        """Send one datagram and return where to. Raises a DialError."""
        await trio.lowlevel.checkpoint()
        address = self.send_nowait(payload, host, port)
        if address is not None:
            return address
        name = str(self._target(host, port))
        found = next((one for one in await self._resolve(name) if self._may_reach(one)), None)
        if found is None:
            raise DeniedByRule(f"{name} has only addresses that are never reached: those of this machine and its links")
        self._names[name] = found, trio.current_time() + NAMES_FOR
        if len(self._names) > KNOWN:
            self._names.popitem(last=False)
        return self._send(payload, found, port)

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next datagram and who sent it, None when there is none."""
        if self._closed:
            raise trio.ClosedResourceError
        return self._queue.popleft() if self._queue else None

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next datagram and who sent it. Raises ClosedResourceError after close()."""
        await trio.lowlevel.checkpoint()
        while (received := self.receive_nowait()) is None:
            await self._lot.park()
        return received

    def close(self) -> None:
        """Close its sockets; a second time does nothing."""
        self._closed = True
        for sock in self._sockets.values():
            trio.lowlevel.notify_closing(sock)
            sock.close()
        self._sockets.clear()
        self._lot.unpark_all()

    def _target(self, host: str | IPAddress, port: int) -> str | IPAddress:
        if self._closed:
            raise trio.ClosedResourceError
        if not 0 < port < 65536:
            raise DeniedByRule(f"there is no UDP port {port}")
        return parse_target(host)

    def _send(self, payload: bytes, address: IPAddress, port: int) -> IPAddress:
        if address not in self._reachable:
            if not self._may_reach(address):
                raise DeniedByRule(f"{address} is this machine's own, or its link's, and never reached")
            self._reachable[address] = None
            if len(self._reachable) > KNOWN:
                self._reachable.popitem(last=False)
        try:
            self._socket(address.version).sendto(payload, (str(address), port))
        except (BlockingIOError, InterruptedError):
            pass  # too many wait, and it is dropped, as UDP allows
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise LocalProtocolError(f"{len(payload)} octets are too many for a datagram") from None
            raise self._as_dial_error(error, address) from None
        return address

    def _socket(self, version: int) -> socket.socket:
        if self._closed:
            raise trio.ClosedResourceError
        sock = self._sockets.get(version)
        if sock is None:
            sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # It has to have a port before anybody waits for what comes; nobody is let in by that.
            sock.bind(("", 0))
            self._sockets[version] = sock
            self._nursery.start_soon(self._read, sock)
        return sock

    async def _read(self, sock: socket.socket) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(sock)
                for _ in range(BATCH):
                    if not self._take(sock):
                        break
                await trio.lowlevel.checkpoint()
        except (trio.ClosedResourceError, ValueError):
            return
        finally:
            sock.close()

    def _take(self, sock: socket.socket) -> bool:
        """Take one datagram; return whether there may be more."""
        try:
            payload, sender = sock.recvfrom(MAX_DATAGRAM)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return sock.fileno() >= 0  # Windows tells so that a datagram found nobody
        address = ip_address(str(sender[0]).partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if len(self._queue) >= QUEUE:
            self.dropped += 1
        else:
            self._queue.append((payload, address, int(sender[1])))
            self._lot.unpark_all()
            if self.notify is not None:
                self.notify()
        return not self._closed
