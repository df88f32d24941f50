"""The status port: HTTP/1.1 by h11, one task for each connection.

Theory of operation. Nobody who asks may cost more than a little, so everything has a bound: connections, event streams
among them, the size of a request's head, the time it takes to come, and the time in which an answer must be taken. A
client that does not read is cut off; one that wants the event stream gets the latest snapshot each time it is ready for
one, and misses those in between. Beyond the bounds a client is told to come back later (503).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import h11
import trio

from ...proxy.peer_user import is_own_user
from .request import Policy, Refusal, judge

MAX_CONNECTIONS: Final = 64
MAX_STREAMS: Final = 16
MAX_HEAD: Final = 8192
"""Octets of a request's head."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds until a request must be there, the wait on a connection that is kept among them."""
SEND_TIMEOUT: Final = 10.0
"""Seconds in which an answer, or an event, must be taken."""
WRONG_PASSWORD_PAUSE: Final = 1.0
_READ_SIZE: Final = 4096
_FAREWELL: Final = 1.0  # seconds
_RETRY_AFTER: Final = ("Retry-After", "5")

TEXT: Final = "text/plain; charset=utf-8"
_SECURITY: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_NOTHING_LOADS: Final = "default-src 'none'; frame-ancestors 'none'"
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_logger = logging.getLogger("sstpsocks.status")


@dataclass(frozen=True, slots=True)
class Document:
    """An answer."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK
    policy: str = _NOTHING_LOADS
    """The Content-Security-Policy."""
    headers: tuple[tuple[str, str], ...] = ()


class Library(Protocol):
    """Who has the answers."""

    async def document(self, path: str) -> Document:
        """Return what is to be said to one of request.PATHS but the event stream's."""
        ...

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events, each time the latest."""
        ...


class StatusServer:
    """Answers at any number of listening sockets."""

    def __init__(self, library: Library, policy: Policy, *, only_own_user: bool = False) -> None:
        """``only_own_user``: cut off other users of this machine (Linux)."""
        self._library = library
        self._policy = policy
        self._only_own_user = only_own_user
        self.active = 0
        """Connections now."""
        self.streams = 0
        """Event streams now."""
        self.accepted = 0
        self.refused = 0
        """What was refused because there were too many connections or streams."""

    def __repr__(self) -> str:
        return f"<StatusServer {self.active} connections, {self.streams} streams>"

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until cancelled or until the listeners are closed."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener)

    async def _accept(self, listener: trio.SocketListener) -> None:
        try:
            await trio.serve_listeners(self._handle, [listener])
        except* trio.ClosedResourceError:
            pass  # whoever opened it has closed it

    async def _handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection; nothing that happens there reaches the others."""
        self.accepted += 1
        if self.active >= MAX_CONNECTIONS:
            self.refused += 1
            await _turn_away(stream)
            return
        self.active += 1
        try:
            async with stream:
                if not self._only_own_user or _is_own(stream):
                    await _Conversation(self, stream).run()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client went away, or did not take its answer
        except Exception as error:
            details = _logger.isEnabledFor(logging.DEBUG)
            _logger.error("the status port failed: %s, this is a bug", type(error).__name__, exc_info=details)
        finally:
            self.active -= 1

    # For conversations

    def judge(self, request: h11.Request, *, unix: bool) -> str | Refusal:
        """Return which path is asked for, or why it is not answered."""
        return judge(request.method, request.target, list(request.headers), self._policy, unix=unix)

    async def document(self, path: str) -> Document:
        """Return the answer."""
        return await self._library.document(path)

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Return the events."""
        return self._library.stream()


class _Conversation:
    """One connection: requests and answers in turn."""

    def __init__(self, server: StatusServer, stream: trio.SocketStream) -> None:
        self._server = server
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._unix = stream.socket.family == getattr(socket, "AF_UNIX", None)
        self._head_only = False

    async def run(self) -> None:
        """Answer until either side has had enough."""
        while True:
            request: h11.Request | Refusal | None = None
            with trio.move_on_after(HEAD_TIMEOUT):
                request = await self._next_request()
            if request is None:
                return
            if isinstance(request, Refusal):
                await self._refuse(request, close=True)
                return
            if not await self._answer(request):
                return
            self._http.start_next_cycle()

    async def _next_request(self) -> h11.Request | Refusal | None:
        """Return the next request, None at the end of the connection, or what to say to one that is none."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                status = HTTPStatus(error.error_status_hint)
                return Refusal(status, "that is no request that is understood here")
            if isinstance(event, h11.Request):
                return event
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(_READ_SIZE))
            else:
                return None  # the end; nothing else can come before a request

    async def _answer(self, request: h11.Request) -> bool:
        """Answer one request, and tell whether another may follow."""
        self._head_only = request.method == b"HEAD"
        decision = self._server.judge(request, unix=self._unix)
        if isinstance(decision, Refusal):
            if decision.status is HTTPStatus.UNAUTHORIZED and any(
                name == b"authorization" for name, _ in request.headers
            ):
                await trio.sleep(WRONG_PASSWORD_PAUSE)
            await self._refuse(decision, close=decision.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif decision == "/events" and request.method == b"GET":
            return await self._stream_events()
        elif decision == "/events":
            await self._send(Document(b"", "text/event-stream"))
        else:
            await self._send(await self._server.document(decision))
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        # A request without a body ends at once; its end must be taken before the next can begin.
        if self._http.their_state is h11.SEND_BODY and not isinstance(self._http.next_event(), h11.EndOfMessage):
            return False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _refuse(self, refusal: Refusal, *, close: bool) -> None:
        headers = (*refusal.headers, ("Connection", "close")) if close else refusal.headers
        await self._send(Document(f"{refusal.text}\n".encode(), status=refusal.status, headers=headers))

    async def _send(self, document: Document) -> None:
        headers = (("Content-Length", str(len(document.body))), *_headers(document))
        data = self._begin(document.status, headers)
        if not self._head_only:
            data += self._http.send(h11.Data(data=document.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        with trio.fail_after(SEND_TIMEOUT):
            await self._stream.send_all(data)

    async def _stream_events(self) -> bool:
        server = self._server
        if server.streams >= MAX_STREAMS:
            server.refused += 1
            text = b"too many others look already\n"
            await self._send(Document(text, status=HTTPStatus.SERVICE_UNAVAILABLE, headers=(_RETRY_AFTER,)))
            return self._may_go_on()
        server.streams += 1
        try:
            data = self._begin(HTTPStatus.OK, _headers(Document(b"", "text/event-stream")))
            async with aclosing(server.stream()) as events:
                async for event in events:
                    data += self._http.send(h11.Data(data=event)) or b""
                    with trio.fail_after(SEND_TIMEOUT):
                        await self._stream.send_all(data)
                    data = b""
        finally:
            server.streams -= 1
        return False

    def _begin(self, status: HTTPStatus, headers: Sequence[tuple[str, str]]) -> bytes:
        """Return the head of a response."""
        response = h11.Response(status_code=int(status), headers=list(headers), reason=status.phrase.encode())
        return self._http.send(response) or b""


def _headers(document: Document) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", document.content_type),
        ("Content-Security-Policy", document.policy),
        *_SECURITY,
        *document.headers,
    )


def _is_own(stream: trio.SocketStream) -> bool:
    with socket.socket(fileno=stream.socket.dup().detach()) as client:
        return is_own_user(client)


async def _turn_away(stream: trio.SocketStream) -> None:
    """Tell a client beyond the bound so, if it listens now."""
    async with stream:
        try:
            with trio.move_on_after(_FAREWELL):
                await stream.send_all(_BUSY)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has gone away already
