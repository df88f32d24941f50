"""The DNS port for local programs: the same addresses by UDP and by TCP.

TCP is RFC 7766: questions are answered as their answers come, also out of order, and a connection that says nothing is
closed. So is one on which something else than a question comes: a web page can have a browser send HTTP or TLS here,
whose first octets are never a question, and questions of its own behind them. A client off this machine gets no more
than three times what it sent over UDP, so that a forged sender makes nobody's flood of it; the rest it has to fetch by
TCP.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from ipaddress import ip_address

import trio

from ..errors import ConfigError
from .desk import MAX_PER_CLIENT, Desk, is_question

IDLE = 30.0  # seconds that a TCP connection may say nothing, or take none of its answers
MAX_CONNECTIONS = 128
MAX_AMPLIFICATION = 3  # as RFC 9000 section 8.1 has it for peers whose address is not proved
PORT_TRIES = 8  # for a port that is free by UDP and TCP
_LARGEST = 65535

_logger = logging.getLogger("sstpsocks.dns")

_HINTS = {
    errno.EADDRINUSE: "another program has this port; choose another with --dns-listen, or 0 for a free one",
    errno.EACCES: "ports below 1024 need rights that sstpsocks does without; choose a higher one, such as 5353",
    errno.EADDRNOTAVAIL: "this machine has no such address; 127.0.0.1 is always there",
}


class DnsListener:
    """One address of this machine, by UDP and TCP."""

    def __init__(self, datagrams: trio.socket.SocketType, stream: trio.SocketListener) -> None:
        self._datagrams = datagrams
        self._stream = stream

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._datagrams.getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Close both sockets."""
        self._datagrams.close()
        self._stream.socket.close()

    async def serve(self, desk: Desk) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_udp, desk, nursery)
            room = trio.CapacityLimiter(MAX_CONNECTIONS)
            nursery.start_soon(self._serve_tcp, desk, nursery, room)

    async def _serve_udp(self, desk: Desk, nursery: trio.Nursery) -> None:
        under_way: set[tuple[object, bytes]] = set()
        while True:
            try:
                wire, sender = await self._datagrams.recvfrom(_LARGEST)
            except OSError as error:
                if self._datagrams.fileno() < 0:
                    return
                # What became of an answer to somebody who is gone (ICMP), on systems that tell it here.
                _logger.debug("DNS by UDP: %s", error)
                continue
            # A program that asks again while the first question is under way gets one answer.
            if (sender, wire) not in under_way:
                under_way.add((sender, wire))
                nursery.start_soon(self._answer_datagram, desk, wire, sender, under_way)

    async def _answer_datagram(
        self, desk: Desk, wire: bytes, sender: tuple[str, int], under_way: set[tuple[object, bytes]]
    ) -> None:
        try:
            near = ip_address(sender[0].partition("%")[0]).is_loopback
            limit = _LARGEST if near else MAX_AMPLIFICATION * len(wire)
            reply = await desk.respond(wire, sender, udp=True, limit=limit)
            if reply is not None:
                await self._datagrams.sendto(reply, sender)
        except OSError as error:
            _logger.debug("a DNS answer was not sent: %s", error)
        finally:
            under_way.discard((sender, wire))

    async def _serve_tcp(self, desk: Desk, nursery: trio.Nursery, room: trio.CapacityLimiter) -> None:
        while True:
            client = object()
            await room.acquire_on_behalf_of(client)
            try:
                stream = await self._stream.accept()
            except OSError as error:
                room.release_on_behalf_of(client)
                _logger.debug("DNS by TCP: %s", error)
                await trio.sleep(0.1)  # out of files: somebody closes one soon
                continue
            nursery.start_soon(self._serve_connection, desk, stream, client, room)

    async def _serve_connection(
        self, desk: Desk, stream: trio.SocketStream, client: object, room: trio.CapacityLimiter
    ) -> None:
        try:
            async with stream:
                await DnsConnection(stream, desk, client).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            _logger.debug("a DNS connection ended: %s", error)
        finally:
            room.release_on_behalf_of(client)


class DnsConnection:
    """One TCP connection of a client."""

    def __init__(self, stream: trio.abc.Stream, desk: Desk, client: object) -> None:
        self._stream = stream
        self._desk = desk
        self._client = client
        self._received = bytearray()
        self._sending = trio.Lock()
        self._room = trio.Semaphore(MAX_PER_CLIENT)

    async def serve(self) -> None:
        """Answer until the client ends, falls silent, or takes no answers."""
        async with trio.open_nursery() as nursery:
            while True:
                wire = await self._next_message()
                if wire is None:
                    return  # the nursery waits for the answers that are under way
                # Who asks much waits here, and is not read from meanwhile.
                await self._room.acquire()
                nursery.start_soon(self._answer, wire, nursery.cancel_scope)
                if not is_question(wire):
                    return

    async def _next_message(self) -> bytes | None:
        """Return one message (RFC 1035 section 4.2.2: two octets of length, then so many), None at the end."""
        with trio.move_on_after(IDLE):
            while True:
                if len(self._received) >= 2:
                    end = 2 + int.from_bytes(self._received[:2], "big")
                    if len(self._received) >= end:
                        wire = bytes(self._received[2:end])
                        del self._received[:end]
                        return wire
                try:
                    data = await self._stream.receive_some(4096)
                except trio.BrokenResourceError:
                    return None  # reset: it would leave the nursery as a group, which nobody out there expects
                if not data:
                    return None
                self._received += data
        return None

    async def _answer(self, wire: bytes, connection: trio.CancelScope) -> None:
        try:
            reply = await self._desk.respond(wire, self._client, udp=False)
            if reply is None:
                # RFC 7766 section 6.2.3 has no answer for what is no query: such a client is left.
                connection.cancel()
                return
            with trio.move_on_after(IDLE) as patience:
                async with self._sending:
                    await self._stream.send_all(struct.pack("!H", len(reply)) + reply)
            if patience.cancelled_caught:
                connection.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.cancel()
        finally:
            self._room.release()


async def open_dns_listener(host: str, port: int) -> DnsListener:
    """Listen at an address of this machine by UDP and TCP; port 0 takes one that is free by both.

    Raises ConfigError, with what to do about it.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempt in range(PORT_TRIES):
        try:
            return await _open(family, host, port)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and attempt < PORT_TRIES - 1:
                continue
            hint = _HINTS.get(error.errno or 0, "choose another address or port with --dns-listen")
            raise ConfigError(f"cannot listen for DNS on {where}: {error.strerror or error}", hint=hint) from None
    raise AssertionError("unreachable")


async def _open(family: socket.AddressFamily, host: str, port: int) -> DnsListener:
    datagrams = trio.socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await datagrams.bind((host, port))
        listeners = await trio.open_tcp_listeners(int(datagrams.getsockname()[1]), host=host)
    except BaseException:
        datagrams.close()
        raise
    return DnsListener(datagrams, listeners[0])
