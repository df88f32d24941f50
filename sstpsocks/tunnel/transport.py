"""The socket under TLS, as the driver uses it: non-blocking calls, and waiting only after one said so."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

import trio

from ..base.build import COMPILED

# Two TLS records, or seven for the compiled build: a turn then takes about a fifth of a millisecond in both. Larger
# reads keep every other flow, and every task, waiting for longer (docs/benchmarks.md).
READ_SIZE = (112 if COMPILED else 32) * 1024

# linux/tcp.h, struct tcp_info: 8 octets, then numbers of 32 bits, of which tcpi_rtt is the sixteenth.
_TCPI_RTT = 8 + 15 * 4
_TCP_INFO_SIZE = _TCPI_RTT + 4


class Transport(Protocol):
    """A connected byte stream with non-blocking calls."""

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, ``b""`` at the end of the stream, None when nothing is there. Raises OSError."""
        ...

    def send_nowait(self, data: memoryview) -> int:
        """Write what fits and return how much that was, 0 when nothing does. Raises OSError."""
        ...

    async def wait_readable(self) -> None:
        """Return when receive_nowait() may have something."""
        ...

    async def wait_writable(self) -> None:
        """Return when send_nowait() may take something."""
        ...

    def round_trip(self) -> float | None:
        """Return the smoothed round-trip time to the other end in seconds, None when it is not known."""
        ...

    def endpoints(self) -> tuple[str, str] | None:
        """Return the addresses of this machine and of the other end, None when they are not known."""
        ...

    def close(self) -> None:
        """Close the connection; waiting calls raise trio.ClosedResourceError."""
        ...


class SocketTransport:
    """A Transport over a stream socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    @classmethod
    def take_over(cls, stream: trio.SocketStream) -> SocketTransport:
        """Take the socket out of a trio stream, which is unusable afterwards."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, ``b""`` at the end of the stream, None when nothing is there."""
        try:
            return self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None

    def send_nowait(self, data: memoryview) -> int:
        """Write what fits and return how much that was."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def wait_readable(self) -> None:
        """Return when there may be something to read."""
        await trio.lowlevel.wait_readable(self._sock)

    async def wait_writable(self) -> None:
        """Return when there may be room to write."""
        await trio.lowlevel.wait_writable(self._sock)

    def round_trip(self) -> float | None:
        """Return the smoothed round-trip time that the kernel measures (Linux), None where it does not tell."""
        measured = 0
        if sys.platform == "linux":
            try:
                information = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
            except OSError:
                return None  # no TCP, or closed
            if len(information) == _TCP_INFO_SIZE:
                (measured,) = struct.unpack_from("=I", information, _TCPI_RTT)
        return measured / 1e6 or None

    def endpoints(self) -> tuple[str, str] | None:
        """Return the addresses of this machine and of the other end, None when they are not known."""
        try:
            local, remote = self._sock.getsockname(), self._sock.getpeername()
        except OSError:
            return None
        return (str(local[0]), str(remote[0])) if isinstance(local, tuple) and isinstance(remote, tuple) else None

    def close(self) -> None:
        """Close the socket."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
