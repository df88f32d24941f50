"""How much passes through the tunnel: a download from, or an upload to, a web server behind it, for a bounded time.

Only bodies count, from the first octet of one on, so that neither the handshakes nor the server's thinking are in the
number. A URL is the user's to choose: there is no host that every network has, and an upload changes something there.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
import trio

from ...errors import DialError, TunnelDown
from ...library import Tunnel
from ...tunnel.network import TunnelStream
from ...tunnel.streams import TcpStream

DURATION = 10.0
"""Seconds that are measured at most."""
PATIENCE = 15.0
"""Seconds until the server must have begun."""
ENOUGH = 1_000_000
"""Octets that must have passed, unless they took a second: fewer are what the buffers on the way took at once."""
_CHUNK = bytes(64 * 1024)
_FOREVER = 1 << 40
"""The length that an upload announces; it is broken off before."""
_PORTS = {"http": 80, "https": 443}


class UnusableUrlError(ValueError):
    """It is no URL that can be measured with; says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to transfer from or to."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as an HTTP request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(text: str) -> Target:
    """Parse an http or https URL. Raises UnusableUrlError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnusableUrlError(str(error)) from None
    if parts.scheme not in _PORTS or not host:
        raise UnusableUrlError("it must begin with http://HOST or https://HOST")
    if "@" in parts.netloc:
        raise UnusableUrlError("a user name or password in it is not taken")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UnusableUrlError("only printable ASCII may be in it; write the rest with %")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path)


class _NotMeasuredError(Exception):
    """The server does not take part; says why."""


async def measure(tunnel: Tunnel, target: Target, *, upload: bool = False, duration: float = DURATION) -> str:
    """Return the throughput as one line, or why there is none."""
    try:
        stream = await tunnel.open_tcp_stream(target.host, target.port)
    except DialError as error:
        return f"not measured: {error}"
    transfer = _Transfer(target, stream)
    try:
        await transfer.run(duration, upload=upload)
    except (_NotMeasuredError, TunnelDown) as error:
        return f"not measured: {error}"
    except h11.RemoteProtocolError:
        if not transfer.octets:  # else the body was broken off
            return f"not measured: {target} does not speak HTTP"
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLError):
            problem = getattr(error.__cause__, "verify_message", "") or error.__cause__.reason or "TLS failed"
            return f"not measured: {target}: {problem}"
        if not transfer.octets:
            return f"not measured: {target} closed the connection"
    finally:
        stream.abort()
    return transfer.result


class _Transfer:
    """One body, in one direction."""

    def __init__(self, target: Target, stream: TunnelStream) -> None:
        self._target = target
        self._connection = stream
        self._stream: trio.abc.Stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self.octets = 0
        self.result = f"not measured: {target} has nothing to transfer"

    async def run(self, duration: float, *, upload: bool) -> None:
        """Transfer for so many seconds at most; :attr:`result` says what came of it."""
        with trio.move_on_after(PATIENCE) as patience:
            await self._ask(upload=upload)
        if patience.cancelled_caught:
            raise _NotMeasuredError(f"no answer from {self._target} within {PATIENCE:g} s")
        begun = trio.current_time()
        try:
            with trio.move_on_after(duration):
                await (self._upload() if upload else self._download())
        finally:
            self._tell(trio.current_time() - begun)

    async def _ask(self, *, upload: bool) -> None:
        target = self._target
        if target.scheme == "https":
            context = ssl.create_default_context()
            secured = trio.SSLStream(self._stream, context, server_hostname=target.host, https_compatible=True)
            await secured.do_handshake()
            self._stream = secured
        headers = [("Host", target.authority), ("User-Agent", "sstpsocks"), ("Accept-Encoding", "identity")]
        if upload:
            headers += [("Content-Length", str(_FOREVER)), ("Content-Type", "application/octet-stream")]
        request = h11.Request(method="PUT" if upload else "GET", target=target.path, headers=headers)
        await self._stream.send_all(self._http.send(request) or b"")
        if not upload:
            self._http.send(h11.EndOfMessage())
            await self._hear_answer()

    async def _hear_answer(self) -> None:
        """Wait for the answer; only a download that begins is none of a refusal."""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._stream.receive_some()
                if not data:
                    raise _NotMeasuredError(f"{self._target} closed the connection")
                self._http.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                if self._http.our_state is h11.SEND_BODY or event.status_code != 200:
                    raise _NotMeasuredError(f"{self._target} answered {event.status_code}")
                return

    async def _download(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                self.octets += len(event.data)
            elif event is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some()))
            else:
                return

    async def _upload(self) -> None:
        """Send for ever. An answer before the end of the body is a refusal: what was sent until then says nothing."""
        refusals: list[Exception] = []

        async def listen() -> None:
            try:
                await self._hear_answer()
            except (_NotMeasuredError, h11.RemoteProtocolError, trio.BrokenResourceError) as error:
                refusals.append(error)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            try:
                while True:
                    await self._stream.send_all(self._http.send(h11.Data(data=_CHUNK)) or b"")
                    self.octets += len(_CHUNK)
            except trio.BrokenResourceError:
                pass  # the listener hears why
        raise refusals[0]

    def _tell(self, seconds: float) -> None:
        # What still waits for the peer's acknowledgement did not pass.
        waiting = self._connection.unacknowledged if isinstance(self._connection, TcpStream) else 0
        octets = max(0, self.octets - waiting)
        if 0 < octets < ENOUGH and seconds < 1:
            self.result = f"not measured: too short ({octets} octets in {seconds:.1f} s): name a larger file"
        elif octets and seconds > 0:
            self.result = f"{octets / seconds / 1e6:.2f} MB/s ({octets / 1e6:.1f} MB in {seconds:.1f} s)"
