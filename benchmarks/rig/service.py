"""The target of all peers: a source and a sink that speak a little HTTP, and an echo.

    python -m benchmarks.rig.service [--web 8000] [--echo 8007] [--workers 2]

GET /N is answered with N octets that do not compress; a body of any length is taken and answered, so that whoever sends
one request after the other on one connection learns how much has arrived. HTTP/1.0 closes the connection, HTTP/1.1
keeps it and may send requests before the answers. Both stay cheap: octets go from a file in memory into the socket by
sendfile, and what comes in is dropped by the kernel (MSG_TRUNC, see tcp(7)). A few workers share the listening socket,
each with an event loop of its own. The echo serves TCP and UDP.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

if sys.platform == "linux":
    import resource

BLOCK = 16 << 20
"""Octets of the file in memory; what is longer repeats it."""
SEND_SIZE = 256 << 10
HEAD_LIMIT = 16384
MSG_TRUNC = 0x20
"""Of Linux; on a TCP socket it drops what it would return."""
MSG_MORE = 0x8000
"""Of Linux; what follows goes into the same segment. A head by itself would make relays with Nagle's algorithm wait."""
DATAGRAMS_PER_TURN = 64
_scratch = bytearray(1 << 20)


def memory_file(content: bytes) -> int:
    """Return the descriptor of a file that is on no disk."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("benchmark")
        os.write(descriptor, content)
        return descriptor
    raise OSError("only Linux has files in memory")


def send_file(stream: socket.socket, descriptor: int, offset: int, count: int) -> int:
    """Send some of a file, and return how many octets; BlockingIOError if none can be sent now."""
    if sys.platform == "linux":
        return os.sendfile(stream.fileno(), descriptor, offset, count)
    raise OSError("only Linux has files in memory")


def drop(stream: socket.socket, most: int) -> int:
    """Drop what has come on a connection, up to so many octets; return how many, 0 at its end."""
    return stream.recv_into(_scratch, min(most, len(_scratch)), MSG_TRUNC)


class Web:
    """One connection to the source and sink."""

    def __init__(self, loop: Loop, stream: socket.socket, file: int) -> None:
        self._loop = loop
        self._stream = stream
        self._file = file
        self._input = b""
        """Heads of requests, and what came of a body with its head."""
        self._to_drop = 0
        """Of the body of the request."""
        self._answer = b""
        self._to_send = 0
        """Of the file, behind the answer."""
        self._sent = 0
        self._closing = False
        """After this answer."""
        loop.watch(stream, selectors.EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        """Go on."""
        try:
            if events & selectors.EVENT_WRITE and not self._send():
                return
            self._receive()
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._loop.forget(self._stream)

    def _receive(self) -> None:
        """Take requests and answer them, until there are no more or an answer takes long."""
        while True:
            if self._to_drop:
                count = drop(self._stream, self._to_drop)
                if not count:
                    raise ConnectionResetError
                self._to_drop -= count
            elif not self._take_head():
                more = self._stream.recv(HEAD_LIMIT)
                if not more or len(self._input) > HEAD_LIMIT:
                    raise ConnectionResetError
                self._input += more
                continue
            if not self._to_drop and not self._send():
                return

    def _take_head(self) -> bool:
        """Take the head of a request from what has come; say whether there was one."""
        head, end, rest = self._input.partition(b"\r\n\r\n")
        if not end:
            return False
        method, path, version = head.split(b"\r\n", 1)[0].split(b" ")
        self._closing = version == b"HTTP/1.0"
        self._to_send = int(path.lstrip(b"/") or 0) if method == b"GET" else 0
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._to_send
        length = header_length(head)
        self._to_drop = max(length - len(rest), 0)
        self._input = rest[length:]
        return True

    def _send(self) -> bool:
        """Send the answer; say whether all of it has gone."""
        try:
            if self._answer:
                more = MSG_MORE if self._to_send else 0
                self._answer = self._answer[self._stream.send(self._answer, more) :]
            if self._to_send:
                offset = self._sent % BLOCK
                count = min(self._to_send, BLOCK - offset, SEND_SIZE)
                sent = send_file(self._stream, self._file, offset, count)
                self._sent += sent
                self._to_send -= sent
        except BlockingIOError:
            pass
        if self._answer or self._to_send:
            # Behind the others, even where the socket takes more: no connection may have a worker to itself.
            self._loop.watch(self._stream, selectors.EVENT_WRITE, self.ready)
            return False
        if self._closing:
            self._loop.forget(self._stream)
            return False
        self._loop.watch(self._stream, selectors.EVENT_READ, self.ready)
        return True


def header_length(head: bytes) -> int:
    """Return the Content-Length in the head of a request."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Echo:
    """One connection to the echo."""

    def __init__(self, loop: Loop, stream: socket.socket) -> None:
        self._loop = loop
        self._stream = stream
        self._back = b""
        loop.watch(stream, selectors.EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        """Go on."""
        try:
            if events & selectors.EVENT_READ:
                self._back = self._stream.recv(65536)
                if not self._back:
                    self._loop.forget(self._stream)
                    return
            self._back = self._back[self._stream.send(self._back) :]
            self._loop.watch(self._stream, selectors.EVENT_WRITE if self._back else selectors.EVENT_READ, self.ready)
        except BlockingIOError:
            self._loop.watch(self._stream, selectors.EVENT_WRITE, self.ready)
        except OSError:
            self._loop.forget(self._stream)


def echo_datagrams(datagrams: socket.socket) -> None:
    """Send back some of what has come."""
    with suppress(BlockingIOError, ConnectionError):
        for _ in range(DATAGRAMS_PER_TURN):
            data, source = datagrams.recvfrom(65536)
            datagrams.sendto(data, source)


class Loop:
    """Waits for all sockets of a worker."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, stream: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        """Call ``ready`` when the socket can do this."""
        try:
            if self._selector.get_key(stream).events != events:
                self._selector.modify(stream, events, ready)
        except KeyError:
            self._selector.register(stream, events, ready)

    def forget(self, stream: socket.socket) -> None:
        """Close a socket."""
        self._selector.unregister(stream)
        stream.close()

    def listen(self, listener: socket.socket, serve: Callable[[socket.socket], object]) -> None:
        """Serve what connects."""

        def accept(_events: int) -> None:
            try:
                stream, _ = listener.accept()
            except OSError as error:
                # Another worker was faster, or the peer has gone.
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                return
            stream.setblocking(False)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(stream)

        self.watch(listener, selectors.EVENT_READ, accept)

    def turn(self, timeout: float | None = None) -> None:
        """Wait for something and serve it."""
        for key, events in self._selector.select(timeout):
            key.data(events)


def listener(port: int) -> socket.socket:
    """Return a socket that listens on a port of all addresses."""
    found = socket.create_server(("0.0.0.0", port), backlog=4096)  # noqa: S104 - in a namespace without a way out
    found.setblocking(False)
    return found


def serve(web: socket.socket, echo: socket.socket, datagrams: socket.socket, file: int) -> None:
    """Be one worker."""
    loop = Loop()
    loop.listen(web, lambda stream: Web(loop, stream, file))
    loop.listen(echo, lambda stream: Echo(loop, stream))
    loop.watch(datagrams, selectors.EVENT_READ, lambda _events: echo_datagrams(datagrams))
    while True:
        loop.turn()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A source, a sink and an echo for benchmarks.")
    parser.add_argument("--web", type=int, default=8000, help="port of source and sink (default 8000)")
    parser.add_argument("--echo", type=int, default=8007, help="port of the echo (default 8007)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    web, echo = listener(options.web), listener(options.echo)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    datagrams.bind(("0.0.0.0", options.echo))  # noqa: S104 - in a namespace without a way out
    datagrams.setblocking(False)
    file = memory_file(random.Random(1).randbytes(BLOCK))
    if sys.platform != "win32":
        for _ in range(options.workers - 1):
            if os.fork() == 0:
                break
    serve(web, echo, datagrams, file)


if __name__ == "__main__":
    main()
