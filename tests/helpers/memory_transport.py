"""A Transport without sockets: two ends in memory, bounded, and breakable on request."""

from __future__ import annotations

import trio


class Pipe:
    """One direction: octets on their way from a writer to a reader."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        """Octets that it holds before the writer is told to wait."""
        self.data = bytearray()
        self.ended = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def room(self) -> int:
        return max(self.capacity - len(self.data), 0)

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self.changed.unpark_all()


class MemoryTransport:
    """One end of two pipes; implements sstpsocks.tunnel.transport.Transport."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.reads = True
        """False: as if this end's program never read its socket."""
        self.receive_error: OSError | None = None
        self.send_error: OSError | None = None
        self.closed = False

    def receive_nowait(self) -> bytes | None:
        if self.receive_error is not None:
            raise self.receive_error
        if not self.reads:
            return None
        if self.incoming.data:
            data = bytes(self.incoming.data)
            self.incoming.data.clear()
            self.incoming.changed.unpark_all()
            return data
        return b"" if self.incoming.ended else None

    def send_nowait(self, data: memoryview) -> int:
        if self.send_error is not None:
            raise self.send_error
        count = min(len(data), self.outgoing.room)
        if count:
            self.outgoing.data += data[:count]
            self.outgoing.changed.unpark_all()
        return count

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.receive_error is None and not (self.reads and (self.incoming.data or self.incoming.ended)):
            await self.incoming.changed.park()

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.send_error is None and not self.outgoing.room:
            await self.outgoing.changed.park()

    def round_trip(self) -> float | None:
        return None

    def endpoints(self) -> tuple[str, str] | None:
        return None

    def close(self) -> None:
        self.closed = True
        self.outgoing.ended = True
        self.outgoing.changed.unpark_all()
        self.incoming.changed.unpark_all()

    def break_now(self, error: OSError) -> None:
        """Let both directions fail from now on."""
        self.receive_error = self.send_error = error
        self.incoming.changed.unpark_all()
        self.outgoing.changed.unpark_all()


def transport_pair(capacity: int = 256 * 1024) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two connected ends."""
    there, back = Pipe(capacity), Pipe(capacity)
    return MemoryTransport(back, there), MemoryTransport(there, back)
