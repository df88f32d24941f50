"""Two TCP connections made one: what one receives the other sends, each direction ending by itself.

Both are connections of stacks (or look so), which call back in the turn in which something arrived; the data goes on in
the same turn, and no task is involved. Only while a side takes no more does a task wait for it; what it does not take
is not consumed, so the other side's window closes, and the far end stops. An end of stream is passed on as one, a
failure as a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from ..errors import SstpsocksError
from ..tunnel.network import TunnelStream
from ..tunnel.streams import TcpStream

MOST_AT_ONCE = 256 * 1024  # octets that are copied at a time


class Splice:
    """Relays between ``inner`` and ``outer``, both connected, and owns them. ``on_end`` is called once, at the end."""

    __slots__ = ("_blocked", "_done", "_ended", "_moving", "_nursery", "_on_end", "_streams")

    def __init__(
        self, inner: TunnelStream, outer: TunnelStream, nursery: trio.Nursery, on_end: Callable[[Splice], None]
    ) -> None:
        self._streams = (inner, outer)
        self._nursery = nursery
        self._on_end = on_end
        self._ended = False
        # Of the direction that comes from each of the two.
        self._moving = [False, False]
        self._blocked = [False, False]
        self._done = [False, False]

    def __repr__(self) -> str:
        inner, outer = self._streams
        return f"<Splice {inner!r} to {outer!r}{', ended' if self._ended else ''}>"

    @property
    def delivered(self) -> bool:
        """Whether the far end has all that the inner one sent, and its end; or will never have it."""
        outer = self._streams[1]
        return self._ended or (self._done[0] and not (isinstance(outer, TcpStream) and outer.unacknowledged))

    @property
    def waiting(self) -> int:
        """Octets from the inner one that the far end has not acknowledged, as far as we know."""
        inner, outer = self._streams
        sent = outer.unacknowledged if isinstance(outer, TcpStream) else 0
        return sent + sum(map(len, inner.readable_pieces()))

    def start(self) -> None:
        """Relay from now on, and what has arrived already."""
        for side in (0, 1):
            self._streams[side].set_readable_callback(partial(self._move, side))
        for side in (0, 1):
            self._move(side)

    def abort(self) -> None:
        """Reset both."""
        if self._ended:
            return
        self._end()
        for stream in self._streams:
            stream.abort()

    def _end(self) -> None:
        self._ended = True
        for stream in self._streams:
            stream.set_readable_callback(None)
        self._on_end(self)

    def _move(self, side: int) -> None:
        """Take what one side has received; called in its turn, and again from turns within."""
        if self._ended:
            return
        source, target = self._streams[side], self._streams[1 - side]
        if self._done[side]:
            if source.failure is not None:
                self.abort()  # the other direction is open still, or its end was not acknowledged
            return
        if self._moving[side] or self._blocked[side]:
            if source.failure is not None:
                self.abort()
            return
        self._moving[side] = True
        try:
            self._pass_on(side, source, target)
        except (trio.BrokenResourceError, trio.ClosedResourceError, SstpsocksError):
            self.abort()
        finally:
            self._moving[side] = False

    def _pass_on(self, side: int, source: TunnelStream, target: TunnelStream) -> None:
        while not self._ended and (pieces := source.readable_pieces()):
            data = _joined(pieces)
            sent = target.send_nowait(data)
            if sent:
                source.consume(sent)
            if sent < len(data):
                self._blocked[side] = True
                self._nursery.start_soon(self._wait_for_room, side)
                return
        if self._ended:
            return
        # Tested before the end of the stream: what was cut must not look whole.
        if source.failure is not None:
            self.abort()
        elif source.at_eof:
            self._done[side] = True
            target.send_eof_nowait()
            if all(self._done):
                self._end()
                for stream in self._streams:
                    stream.close_nowait()

    async def _wait_for_room(self, side: int) -> None:
        try:
            await self._streams[1 - side].wait_send_all_might_not_block()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
            return
        self._blocked[side] = False
        self._move(side)


def _joined(pieces: list[memoryview]) -> bytes | memoryview:
    """Return the first pieces as one, so that they are sent in few packets."""
    if len(pieces) == 1:
        return pieces[0]
    size = 0
    for count, piece in enumerate(pieces, 1):
        size += len(piece)
        if size >= MOST_AT_ONCE:
            return b"".join(pieces[:count])
    return b"".join(pieces)
