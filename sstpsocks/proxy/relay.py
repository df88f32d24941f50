"""Moving bytes between a local socket and a tunnel stream, each direction ending by itself.

Theory of operation
-------------------
Download: the driver calls _on_readable() in the turn in which data arrived, and the data goes to the local socket at
once, straight from the decrypted batch, with one system call for all its pieces. Only when the local program does
not take it does a task wait for the socket; what waits keeps the tunnel's window closed, so the far side stops.

Upload: a task reads the local socket only when the connection took what was read before.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ..tunnel.network import TunnelStream

# One read of a busy local socket: enough for two full TLS records, small enough that a task which wants to run waits
# for less than a millisecond (docs/benchmarks.md).
UPLOAD_READ_SIZE = 32 * 1024

# POSIX guarantees 16 vectors, Linux takes 1024 (IOV_MAX); more are sent by the next call.
MAX_PIECES = 512

# struct linger: two shorts on Windows, two ints elsewhere.
_LINGER = struct.Struct("hh" if sys.platform == "win32" else "ii")


def _send_first(sock: socket.socket, pieces: list[memoryview]) -> int:
    """Send the first piece, where there is no call that takes several (Windows)."""
    return sock.send(pieces[0])


_send_pieces: Callable[[socket.socket, list[memoryview]], int] = getattr(socket.socket, "sendmsg", _send_first)


async def relay(local: trio.SocketStream, stream: TunnelStream, early_data: bytes = b"") -> None:
    """Relay between ``local`` and ``stream`` until both directions have ended or one side failed.

    Takes ``local`` over and closes both. An end of stream is passed on as one (half-close); a failure of the tunnel's
    side resets the local socket, so that a download that was cut is not mistaken for a whole one, and a local failure
    resets the tunnel's side. ``early_data``: what the program sent before the connection stood.
    """
    raw = socket.socket(fileno=local.socket.detach())
    raw.setblocking(False)
    await _Relay(raw, stream).run(early_data)


class _Relay:
    def __init__(self, raw: socket.socket, stream: TunnelStream) -> None:
        self._raw = raw
        self._stream = stream
        self._scope = trio.CancelScope()
        self._blocked = False
        self._downloaded = False
        self._failed = False
        self._wake = trio.Event()

    async def run(self, early_data: bytes) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._stream.set_readable_callback(self._on_readable)
                    nursery.start_soon(self._download)
                    await self._upload(early_data)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._close()
        await self._stream.aclose()

    def _close(self) -> None:
        self._stream.set_readable_callback(None)
        if self._failed:
            self._stream.abort()
            reset_on_close(self._raw)
        trio.lowlevel.notify_closing(self._raw)
        self._raw.close()

    def _fail(self) -> None:
        """End both directions by a reset, from any task or from the driver's turn."""
        self._failed = True
        self._scope.cancel()

    # Tunnel to program

    def _on_readable(self) -> None:
        """Take what arrived; called in the driver's turn."""
        if self._downloaded:
            if self._stream.failure is not None:
                # The program has its end of stream and may still be sending, or idle: it must learn of this too.
                self._fail()
        elif not self._blocked:
            self._push()

    def _push(self) -> None:
        """Write what is readable, and see how the stream goes on."""
        stream = self._stream
        while pieces := stream.readable_pieces():
            try:
                sent = _send_pieces(self._raw, pieces[:MAX_PIECES])
            except (BlockingIOError, InterruptedError):
                self._blocked = True
                self._wake.set()
                return
            except OSError:
                self._fail()
                return
            stream.consume(sent)
        if stream.failure is not None:
            # Tested before the end of the stream: a download that was cut must not look like a whole one.
            self._fail()
        elif stream.at_eof:
            self._downloaded = True
            self._wake.set()
            try:
                self._raw.shutdown(socket.SHUT_WR)
            except OSError:
                self._fail()

    async def _download(self) -> None:
        """Wait where the driver's turn cannot: for a program that does not take what came."""
        self._on_readable()
        while not self._downloaded:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._blocked:
                try:
                    await trio.lowlevel.wait_writable(self._raw)
                except OSError:
                    self._fail()
                    return
                self._blocked = False
                self._on_readable()

    # Program to tunnel

    async def _upload(self, data: bytes) -> None:
        stream = self._stream
        try:
            while True:
                rest = memoryview(data)
                while rest := rest[stream.send_nowait(rest) :]:
                    await stream.wait_send_all_might_not_block()
                received = await self._read()
                if not received:
                    break
                data = received
            await stream.send_eof()
        except (OSError, trio.BrokenResourceError):
            self._fail()

    async def _read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self._raw.recv(UPLOAD_READ_SIZE)
            except (BlockingIOError, InterruptedError):
                await trio.lowlevel.wait_readable(self._raw)


def reset_on_close(sock: socket.socket) -> None:
    """Make close() send a reset instead of an orderly end."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
    except OSError:
        return
