"""Moving bytes between a local socket and a tunnel stream, each direction ending by itself.

Theory of operation
-------------------
Download: the driver calls _on_readable() in the turn in which data arrived, and the data goes to the local socket at
once, straight from the decrypted batch, with one system call for all its pieces. Only when the local program does
not take it does a task wait for the socket; what waits keeps the tunnel's window closed, so the far side stops. That
task lives no longer than it is needed.

Upload: the relay's one task reads the local socket, only when the connection took what was read before, and starts a
turn of the driver with what it read.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..base.build import COMPILED

if TYPE_CHECKING:
    from ..tunnel.network import TunnelStream

# One read of a busy local socket: enough for two full TLS records, or four for the compiled build, small enough that a
# task which wants to run waits for less than a millisecond (docs/benchmarks.md).
UPLOAD_READ_SIZE = (64 if COMPILED else 32) * 1024

# POSIX guarantees 16 vectors, Linux takes 1024 (IOV_MAX); more are sent by the next call.
MAX_PIECES = 512

# struct linger: two shorts on Windows, two ints elsewhere.
_LINGER = struct.Struct("hh" if sys.platform == "win32" else "ii")


def _send_first(sock: socket.socket, pieces: list[memoryview]) -> int:
    """Send the first piece, where there is no call that takes several (Windows)."""
    return sock.send(pieces[0])


_send_pieces: Callable[[socket.socket, list[memoryview]], int] = getattr(socket.socket, "sendmsg", _send_first)


class Relay:
    """A relay between the socket of a local program, which must not block, and a tunnel stream; it owns both.

    An end of stream is passed on as one (half-close); a failure of the tunnel's side resets the local socket, so that a
    download that was cut is not mistaken for a whole one, and a local failure resets the tunnel's side. Downloads pass
    from start() on, uploads in run(); ``nursery`` is for the task that waits for a slow program.
    """

    __slots__ = ("_blocked", "_downloaded", "_ended", "_failed", "_nursery", "_raw", "_stream")

    def __init__(self, raw: socket.socket, stream: TunnelStream, nursery: trio.Nursery) -> None:
        self._raw = raw
        self._stream = stream
        self._nursery = nursery
        self._blocked = False
        self._downloaded = False
        self._failed = False
        self._ended: trio.Event | None = None
        """Made when the upload ends first, to wait for the end of the download."""

    def start(self) -> None:
        """Pass on what arrives from now on, and what has arrived already."""
        self._stream.set_readable_callback(self._on_readable)
        self._on_readable()

    async def run(self, early_data: bytes = b"", *, look: bool = False) -> bool:
        """Relay until both directions have ended or one side failed, and close both; return whether it was the former.

        ``early_data``: what the program sent before the connection stood. ``look``: it has perhaps sent more.
        """
        try:
            await self._upload(early_data, look=look)
            if not self._downloaded and not self._failed:
                self._ended = trio.Event()
                await self._ended.wait()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._fail()
        except BaseException:
            self._fail()
            raise
        if not self._failed:
            self._stream.set_readable_callback(None)
            close_socket(self._raw)
            self._stream.close_nowait()
        return not self._failed

    def _fail(self) -> None:
        """End both directions by a reset, from any task or from the driver's turn."""
        if self._failed:
            return
        self._failed = True
        self._stream.set_readable_callback(None)
        self._stream.abort()
        # Whichever task waits for the socket or the stream is woken by this.
        reset_socket(self._raw)
        if self._ended is not None:
            self._ended.set()

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
        """Write what is readable, and see how the stream goes on.

        Consuming may run a turn of the driver, which calls this again for what came meanwhile.
        """
        stream = self._stream
        while pieces := stream.readable_pieces():
            try:
                sent = _send_pieces(self._raw, pieces[:MAX_PIECES])
            except (BlockingIOError, InterruptedError):
                self._blocked = True
                self._nursery.start_soon(self._wait_for_program)
                return
            except OSError:
                self._fail()
                return
            stream.consume(sent)
            if self._blocked or self._downloaded:
                return
        if stream.failure is not None:
            # Tested before the end of the stream: a download that was cut must not look like a whole one.
            self._fail()
        elif stream.at_eof:
            self._downloaded = True
            try:
                self._raw.shutdown(socket.SHUT_WR)
            except OSError:
                self._fail()
            if self._ended is not None:
                self._ended.set()

    async def _wait_for_program(self) -> None:
        """Wait where the driver's turn cannot: for a program that does not take what came."""
        if self._failed:
            return
        try:
            await trio.lowlevel.wait_writable(self._raw)
        except (OSError, trio.ClosedResourceError):
            self._fail()
            return
        self._blocked = False
        self._on_readable()

    # Program to tunnel

    async def _upload(self, data: bytes, *, look: bool) -> None:
        stream, raw = self._stream, self._raw
        while True:
            if data:
                sent = stream.send_nowait(data)
                if sent < len(data):
                    await self._send_rest(memoryview(data)[sent:])
            if self._failed:
                return  # in the turn that just ended, or before there was one
            if len(data) == UPLOAD_READ_SIZE:
                # There is more, probably. The others have their turn all the same.
                await trio.lowlevel.checkpoint()
            elif not look:
                await trio.lowlevel.wait_readable(raw)
            look = False
            data = await read(raw, UPLOAD_READ_SIZE)
            if not data:
                stream.send_eof_nowait()
                return

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            await self._stream.wait_send_all_might_not_block()
            rest = rest[self._stream.send_nowait(rest) :]


async def read(raw: socket.socket, size: int) -> bytes:
    """Return what a socket that does not block has, b"" at its end; wait when that is nothing. Raises OSError."""
    while True:
        try:
            return raw.recv(size)
        except (BlockingIOError, InterruptedError):
            await trio.lowlevel.wait_readable(raw)


def close_socket(sock: socket.socket) -> None:
    """Close a socket, unless it is closed, and wake the tasks that wait for it."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()


def reset_socket(sock: socket.socket) -> None:
    """Close a socket with a reset in place of an orderly end, unless it is closed."""
    if sock.fileno() >= 0:
        reset_on_close(sock)
        close_socket(sock)


def reset_on_close(sock: socket.socket) -> None:
    """Make close() send a reset instead of an orderly end."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
    except OSError:
        return
