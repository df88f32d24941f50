"""A connection on its way to the target, with the client's answer sent from the driver's own turn.

Theory of operation. The task of the connection does what it will do afterwards too: it waits for the client's socket.
When the target answers, the driver's turn sends the client its SOCKS reply and starts the relay, and no task runs for
that. When the target does not, or the client has sent data that its connection is to begin with, the turn wakes the
task by telling it that the socket is about to be closed.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

import trio

from ...errors import DialError, TunnelDown
from ..relay import Relay
from .conversation import SUCCEEDED

if TYPE_CHECKING:
    from ...tunnel.network import SocketAddress, TunnelStream

EARLY_DATA_LIMIT = 65536  # bytes taken from a client before its connection stands


class Conversation(Protocol):
    """A client that waits for the answer to its request: SocksMachine, or that of another protocol."""

    @property
    def early_data_size(self) -> int:
        """How many bytes the client sent behind its request."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Keep what the client sends early."""
        ...

    def reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """Queue the answer that the connection stands."""
        ...

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the client, each byte once."""
        ...


class Attempt:
    """A stream that connects, and the client that waits for it."""

    __slots__ = ("_client", "_full", "_machine", "_nursery", "_stream", "relay")

    def __init__(
        self, client: socket.socket, machine: Conversation, stream: TunnelStream, nursery: trio.Nursery
    ) -> None:
        self._client = client
        self._machine = machine
        self._stream = stream
        self._nursery = nursery
        self._full: trio.Event | None = None
        """Made when no more is read from the client before its connection stands."""
        self.relay: Relay | None = None
        """Set when the connection stands and the client was told."""

    async def run(self) -> Relay:
        """Return the relay when it has started. Raises the DialError, or BrokenResourceError when the client left."""
        stream = self._stream
        try:
            stream.set_readable_callback(self._on_change)
            self._on_change()
            while (relay := self.relay) is None:
                # A connection that stood and has failed since is the relay's matter.
                if stream.failure is not None:
                    raise _dial_error(stream.failure)
                await self._watch()
        except BaseException:
            stream.abort()
            raise
        return relay

    def _on_change(self) -> None:
        """Something happened to the connection; called in the driver's turn."""
        stream = self._stream
        if stream.failure is None:
            if not stream.connected:
                return
            self._machine.reply(SUCCEEDED, stream.local_address)
            try:
                send_now(self._client, self._machine.data_to_send())
            except OSError:
                stream.abort()  # the client is gone, which its task is about to see
            else:
                self.relay = Relay(self._client, stream, self._nursery)
                self.relay.start()
        if self._full is not None:
            self._full.set()
        elif self.relay is None or self._machine.early_data_size:
            # With early data the client may have said all that it will, and its task must send it on.
            trio.lowlevel.notify_closing(self._client)

    async def _watch(self) -> None:
        """Wait for the client or for the outcome, and keep what the client sends early."""
        machine = self._machine
        room = EARLY_DATA_LIMIT - machine.early_data_size
        if room > 0 and self._full is None:
            try:
                await trio.lowlevel.wait_readable(self._client)
            except trio.ClosedResourceError:
                return
            if self.relay is not None:
                return
            try:
                data = self._client.recv(room)
            except (BlockingIOError, InterruptedError):
                return
            if data:
                machine.receive_data(data)
                return
            if not machine.early_data_size:
                raise trio.BrokenResourceError("the client went away")
            # One that sent something and then ended its direction may still wait for the answer (half-close).
        self._full = trio.Event()
        if self._stream.failure is None:
            await self._full.wait()


def _dial_error(failure: Exception) -> Exception:
    """Return what a client is told of a connection that did not come to stand."""
    if isinstance(failure, DialError):
        return failure
    return TunnelDown(f"{failure}, while the connection was opened")


def send_now(client: socket.socket, data: bytes) -> None:
    """Send an answer to a client, whose socket has room for so little, or it does not read: raises OSError then."""
    if data and client.send(data) < len(data):
        raise BlockingIOError("the client does not read its answers")
