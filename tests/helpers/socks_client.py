"""A SOCKS5 client for tests that can also misbehave."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

import trio


class SocksClient:
    """A connection to a SOCKS5 port."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    @classmethod
    async def open(cls, port: int) -> SocksClient:
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.stream.socket.fileno() >= 0:
            await self.stream.aclose()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes, fewer only at the end."""
        data = b""
        while len(data) < count and (more := await self.stream.receive_some(count - len(data))):
            data += bytes(more)
        return data

    async def read_all(self) -> bytes:
        data = b""
        while more := await self.stream.receive_some(65536):
            data += bytes(more)
        return data

    async def greet(self) -> None:
        await self.send(b"\x05\x01\x00")
        assert await self.read(2) == b"\x05\x00"

    async def request(self, host: str, port: int = 80) -> None:
        name = host.encode()
        await self.send(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big"))

    async def connect(self, host: str, port: int = 80) -> int:
        """Greet, ask and return the reply code."""
        await self.greet()
        await self.request(host, port)
        reply = await self.read(10)
        assert len(reply) == 10, reply
        return reply[1]

    def reset(self) -> None:
        """Go away with a reset."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()
