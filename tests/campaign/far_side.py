"""What stands behind the server: ``python -m tests.campaign.far_side PORT``, in the lab's network namespace.

One line says what a TCP connection is for:

    echo              everything comes back, and the end after the end
    give SEED COUNT RATE    COUNT octets of stream SEED, at most RATE a second (0: as fast as they go), then the end
    take SEED         octets of stream SEED until the end; answers how many came, or "wrong at POSITION"
    wrong             answers how many connections have ever had a wrong octet

The same port echoes UDP. Whatever a connection dies of, what came before has been compared.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

from tests.campaign.content import BLOCK, Stream


class FarSide:
    """The services and what they found."""

    def __init__(self) -> None:
        self.wrong = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, and say nothing of how it ends."""
        try:
            words = (await reader.readline()).decode().split()
            if words[:1] == ["echo"]:
                await self._echo(reader, writer)
            elif words[:1] == ["give"]:
                await self._give(writer, int(words[1]), int(words[2]), float(words[3]))
            elif words[:1] == ["take"]:
                await self._take(reader, writer, int(words[1]))
            elif words[:1] == ["wrong"]:
                writer.write(b"%d\n" % self.wrong)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.transport.abort()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def _give(self, writer: asyncio.StreamWriter, seed: int, count: int, rate: float) -> None:
        stream = Stream(seed)
        due = asyncio.get_running_loop().time()
        while stream.position < count:
            size = min(BLOCK, count - stream.position)
            writer.write(stream.take(size))
            await writer.drain()
            if rate:
                # What was not sent in time is not made up for: the rate is one for people who watch.
                now = asyncio.get_running_loop().time()
                due = max(due + size / rate, now - 0.5)
                await asyncio.sleep(max(due - now, 0))

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seed: int) -> None:
        stream = Stream(seed)
        while data := await reader.read(65536):
            if data != stream.take(len(data)):
                self.wrong += 1
                writer.write(b"wrong at %d\n" % (stream.position - len(data)))
                return
        writer.write(b"%d\n" % stream.position)


class UdpEcho(asyncio.DatagramProtocol):
    """Sends back each datagram."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Send it back."""
        self._transport.sendto(data, addr)


async def main(port: int) -> None:
    """Serve for ever."""
    listener = socket.create_server(("", port), backlog=4096)
    server = await asyncio.start_server(FarSide().serve, sock=listener)
    await asyncio.get_running_loop().create_datagram_endpoint(UdpEcho, local_addr=("0.0.0.0", port))  # noqa: S104
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
