"""The local program's side: its socket and its conversation."""

from __future__ import annotations

import socket

import trio

from ..relay import close_socket, read
from .machine import Event, ProxyMachine

READ_SIZE = 64 * 1024
LINGER_TIME = 1.0  # seconds a client has to read the last answer
LINGER_BYTES = 65536


class Client:
    """Reads and writes for one client. Both raise OSError, or ClosedResourceError when somebody closed the socket."""

    def __init__(self, sock: socket.socket, machine: ProxyMachine) -> None:
        self.socket = sock
        self.machine = machine

    async def read(self) -> None:
        """Give the machine what the client sends next, or its end."""
        self.machine.receive_data(await read(self.socket, READ_SIZE))

    async def next_event(self) -> Event:
        """Return the client's next event. Raises MessageError, too."""
        while (event := self.machine.next_event()) is None:
            await self.read()
        return event

    async def send(self, data: bytes) -> None:
        """Send, waiting as long as the client takes its time."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except (BlockingIOError, InterruptedError):
                await trio.lowlevel.wait_writable(self.socket)

    async def finish(self, data: bytes = b"") -> None:
        """Send the last bytes and close so that they arrive.

        Closing with unread data resets the connection, and a reset can overtake the answer (RFC 9112 section 9.6); so
        the rest of what the client says is read for a moment.
        """
        with trio.move_on_after(LINGER_TIME):
            await self.send(data)
            self.socket.shutdown(socket.SHUT_WR)
            taken = 0
            while taken < LINGER_BYTES and (more := await read(self.socket, 4096)):
                taken += len(more)
        close_socket(self.socket)
