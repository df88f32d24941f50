"""A tunnel for programs without trio: asyncio, threads, libraries that want a socket.

with sstpsocks.bridge.TunnelThread("vpn.example.com", username="alice", password=secret) as tunnel:
    sock = tunnel.connect("intranet.example.com", 22)

Theory of operation. The tunnel runs in a thread of its own, on its own event loop. A connection is handed out as one
end of a socket pair, whose other end is relayed to the stream in the tunnel there. So everything that takes a socket
takes it (ssl, paramiko, asyncio, asyncssh), and time limits, half-closing and back pressure are those of sockets. A
pair knows no reset: a connection that broke reads as one that ended.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from .errors import TunnelDown
from .library import Tunnel, open_tunnel
from .tunnel.network import IPAddress

T = TypeVar("T")

_PIECE = 65536


@dataclass(frozen=True, slots=True)
class _Running:
    """The tunnel while it is up, and where its connections live."""

    tunnel: Tunnel
    nursery: trio.Nursery


class TunnelThread:
    """A tunnel in a thread, up between ``with`` and its end; may be used from any thread, or event loop of asyncio.

    Takes the arguments of open_tunnel(). Entering raises what open_tunnel() raises.
    """

    def __init__(self, host: str, **options: Any) -> None:
        self._host = host
        self._options = options
        self._thread = threading.Thread(target=self._run, name="sstpsocks", daemon=True)
        self._up: Future[None] = Future()
        self._lock = threading.Lock()
        """Held while work is handed over, and while the loop says that it takes no more."""
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._running: _Running | None = None
        self._waiting: set[Future[Any]] = set()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Bring it up and wait for it."""
        self._thread.start()
        try:
            self._up.result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it in order."""
        self.close()

    def close(self) -> None:
        """End the tunnel and all its connections, and wait for that; a second time does nothing."""
        with self._lock:
            if self._token is not None:
                self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    # For threads

    def connect(self, host: str | IPAddress, port: int) -> socket.socket:
        """Connect inside the tunnel and return a socket, which the caller closes.

        Raises as Tunnel.open_tcp_stream().
        """
        return self._submit(lambda running: _connect(running, host, port)).result()

    def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name. Raises as Tunnel.resolve()."""
        return self._submit(lambda running: running.tunnel.resolve(name)).result()

    # For asyncio

    async def open_connection(
        self, host: str | IPAddress, port: int, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect inside the tunnel as asyncio.open_connection() does, which is given ``options`` (``ssl=`` with
        ``server_hostname=`` among them). Raises as Tunnel.open_tcp_stream().
        """
        future = self._submit(lambda running: _connect(running, host, port))
        try:
            sock = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_unwanted)  # it may have come just now
            raise
        sock.setblocking(False)
        try:
            return await asyncio.open_connection(sock=sock, **options)
        except BaseException:
            sock.close()
            raise

    # In the thread

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._failure = error
        finally:
            with self._lock:
                self._token = None
            failure = self._failure or TunnelDown("the tunnel was closed")
            for future in (self._up, *self._waiting):
                if not future.done() and future.set_running_or_notify_cancel():
                    future.set_exception(failure)

    async def _main(self) -> None:
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with open_tunnel(self._host, **self._options) as tunnel, trio.open_nursery() as nursery:
                self._running = _Running(tunnel, nursery)
                self._up.set_result(None)
                await tunnel.wait_closed()

    def _submit(self, work: Callable[[_Running], Awaitable[T]]) -> Future[T]:
        """Have it done in the thread; cancelling the future cancels it. Raises TunnelDown."""
        future: Future[T] = Future()
        with self._lock:
            if self._token is None or self._running is None:
                raise TunnelDown(f"the tunnel is down: {self._failure or 'it was closed'}")
            self._waiting.add(future)
            self._token.run_sync_soon(self._begin, self._running, work, future)
        return future

    def _begin(self, running: _Running, work: Callable[[_Running], Awaitable[T]], future: Future[T]) -> None:
        if not self._scope.cancel_called:
            running.nursery.start_soon(self._do, running, work, future)

    async def _do(self, running: _Running, work: Callable[[_Running], Awaitable[T]], future: Future[T]) -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:

            def when_done(done: Future[T]) -> None:
                if done.cancelled():
                    try:
                        token.run_sync_soon(scope.cancel)
                    except trio.RunFinishedError:
                        pass  # it ended with everything else

            future.add_done_callback(when_done)
            try:
                result = await work(running)
            except Exception as error:
                self._settle(future, error=error)
            else:
                if not self._settle(future, result) and isinstance(result, socket.socket):
                    result.close()

    def _settle(self, future: Future[T], result: T | None = None, error: Exception | None = None) -> bool:
        """Say how it went; return whether somebody waits for that still."""
        self._waiting.discard(future)
        if not future.set_running_or_notify_cancel():
            return False
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # with no error there is a result
        return True


async def _connect(running: _Running, host: str | IPAddress, port: int) -> socket.socket:
    stream = await running.tunnel.open_tcp_stream(host, port)
    ours, theirs = socket.socketpair()
    running.nursery.start_soon(_relay, stream, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    return theirs


async def _relay(inside: trio.abc.HalfCloseableStream, outside: trio.SocketStream) -> None:
    async with outside, inside:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_copy, inside, outside)
                nursery.start_soon(_copy, outside, inside)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one side broke, or closed what the other still writes to: both end


async def _copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
    while data := await source.receive_some(_PIECE):
        await sink.send_all(data)
    await sink.send_eof()


def _close_unwanted(future: Future[socket.socket]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
