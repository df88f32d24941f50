"""What the streams of a tunnel and of the direct way have in common: who may send and receive now, and the waiting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import trio

from .conflict import OneAtATime
from .network import TunnelStream


class StreamBase(TunnelStream):
    """The half of a stream that waits, on top of the half that does not."""

    __slots__ = ("_callback", "_closed", "_eof_sent", "_receive_conflict", "_receivers", "_send_conflict")

    def __init__(self) -> None:
        self._closed = False
        self._eof_sent = False
        self._callback: Callable[[], None] | None = None
        self._receivers = trio.lowlevel.ParkingLot()
        self._receive_conflict = OneAtATime("receiving from this stream")
        self._send_conflict = OneAtATime("sending to this stream")

    async def wait_send_all_might_not_block(self) -> None:
        """Return when there is room for more data."""
        with self._send_conflict:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            await self._wait_for_room()

    async def send_eof(self) -> None:
        """End our direction, after all data; the other direction stays open."""
        with self._send_conflict:
            await trio.lowlevel.checkpoint()
            self.send_eof_nowait()

    async def aclose(self) -> None:
        """Close: what was sent is still delivered, what arrives later is refused."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def set_readable_callback(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` whenever data, the end of the stream or an error arrived."""
        self._callback = callback

    @abstractmethod
    async def _wait_for_room(self) -> None:
        """Return when something can be sent; raises what _check_sendable() raises."""

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._eof_sent:
            raise trio.ClosedResourceError("send_eof() was called")
        self._check_broken()

    def _check_broken(self) -> None:
        failure = self.failure
        if failure is not None:
            raise trio.BrokenResourceError(str(failure)) from failure
