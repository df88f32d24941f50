"""TLS to a proxy under the driver: the tunnel's own TLS runs inside it.

The driver does non-blocking socket calls (transport.py). Here the same calls encrypt and decrypt once more in between.
What send_nowait() has encrypted but the socket has not taken is kept, and is not reported as taken until it is: the
caller comes back with the same data, as with any non-blocking write, and finds it already on its way.
"""

from __future__ import annotations

import errno
from typing import Final

import trio

from ..errors import TlsFailed
from .tls import TlsEngine, TlsStream
from .transport import SocketTransport, Transport

MAX_WRITE: Final = 64 * 1024  # encrypted at once, so that little is held back when the socket takes nothing


def take_over(stream: trio.SocketStream | TlsStream) -> Transport:
    """Take the socket out of what connect_transport() returned, which is unusable afterwards."""
    if isinstance(stream, trio.SocketStream):
        return SocketTransport.take_over(stream)
    inner = stream.transport
    assert isinstance(inner, trio.SocketStream), "TLS to a proxy runs over TCP"  # noqa: S101 - proxy/way.py made it
    return TlsTransport(SocketTransport.take_over(inner), stream.engine)


class TlsTransport:
    """A Transport over TLS over a socket; it owns both. Made after the handshake."""

    def __init__(self, socket: SocketTransport, engine: TlsEngine) -> None:
        self._socket = socket
        self._engine = engine
        self._ciphertext = memoryview(b"")
        """What the socket has yet to take."""
        self._unreported = 0
        """How much of the caller's data is in there."""

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, ``b""`` at the end of the stream, None when nothing is there."""
        while True:
            plaintext = self._read()
            if plaintext:
                return plaintext
            if self._engine.at_eof:
                return b""
            data = self._socket.receive_nowait()
            if not data:
                return data
            self._engine.feed(data)

    def send_nowait(self, data: memoryview) -> int:
        """Write what fits and return how much that was; whoever is told less comes back with the same data."""
        if not self._unreported:
            taken = data[:MAX_WRITE]
            try:
                self._engine.write(taken)
            except TlsFailed as error:
                raise _broken(error) from error
            self._unreported = len(taken)
        self._flush()
        if self._ciphertext:
            return 0
        count, self._unreported = self._unreported, 0
        return count

    async def wait_readable(self) -> None:
        """Return when there may be something to read."""
        await self._socket.wait_readable()

    async def wait_writable(self) -> None:
        """Return when there may be room to write."""
        await self._socket.wait_writable()

    def round_trip(self) -> float | None:
        """Return the smoothed round-trip time to the proxy in seconds, None when it is not known."""
        return self._socket.round_trip()

    def endpoints(self) -> tuple[str, str] | None:
        """Return the addresses of this machine and of the other end, None when they are not known."""
        return self._socket.endpoints()

    def close(self) -> None:
        """Say goodbye, if the socket takes it at once, and close it."""
        self._engine.close_notify()
        try:
            self._flush()
        except OSError:
            pass  # whoever does not listen any more needs no goodbye
        self._socket.close()

    def _read(self) -> bytes:
        try:
            plaintext = self._engine.read_available()
        except TlsFailed as error:
            raise _broken(error) from error
        # Reading answers what wants an answer, such as a KeyUpdate.
        self._flush()
        return plaintext

    def _flush(self) -> None:
        while True:
            if not self._ciphertext:
                self._ciphertext = memoryview(self._engine.ciphertext_to_send())
            if not self._ciphertext:
                return
            count = self._socket.send_nowait(self._ciphertext)
            self._ciphertext = self._ciphertext[count:]
            if self._ciphertext:
                return


def _broken(error: TlsFailed) -> OSError:
    return OSError(errno.EPROTO, f"in the TLS to the proxy: {error}")
