"""``-W HOST:PORT``: one connection through a tunnel of its own, on standard input and output.

ssh's ProxyCommand wants it so: nothing but the connection's bytes on standard output, messages on standard error, and
an end when the other side ends. Reading and writing happen in threads, because standard input may be a terminal, a
pipe, a socket or a file, shared with other programs, which must not find it non-blocking.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from ..base.forward import Place, parse_stdio
from ..errors import ConfigError, DialError
from ..library import Tunnel, run_tunnel
from ..tunnel.network import TunnelStream
from .config import Configuration
from .failures import EXIT_OK
from .messages import Display
from .prompts import prepare_passwords

EXIT_NO_CONNECTION = 1
READ_SIZE = 65536  # octets; a pipe holds as many

OpenTunnel = Callable[..., AbstractAsyncContextManager[Tunnel]]


def stdio_target(text: str) -> Place:
    """Return what -W names. Raises ConfigError."""
    try:
        return parse_stdio(text)
    except ValueError as error:
        raise ConfigError(f"-W: {error}") from None


async def run_stdio(
    configuration: Configuration,
    target: Place,
    display: Display,
    *,
    open_tunnel: OpenTunnel = run_tunnel,
    standard_input: int = 0,
    standard_output: int = 1,
) -> int:
    """Bring the tunnel up, connect, relay until the target ends, and return the exit code.

    It is 1 when there was no connection, or it broke. Raises SstpsocksError when the tunnel cannot be opened.
    """
    await prepare_passwords(configuration, display)
    async with open_tunnel(configuration.tunnel, observe=display.step, on_state=display.state) as tunnel:
        try:
            stream = await tunnel.open_tcp_stream(target.host, target.port)
        except DialError as error:
            display.failed(str(error))
            return EXIT_NO_CONNECTION
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(_upload, standard_input, stream)
            try:
                await _download(stream, standard_output)
            except trio.BrokenResourceError:
                display.failed(f"the connection to {target} broke")
                return EXIT_NO_CONNECTION
            except OSError:
                # Whoever read our output is gone, and nobody is left to tell.
                stream.abort()
                return EXIT_NO_CONNECTION
            finally:
                nursery.cancel_scope.cancel()
    return EXIT_OK


async def _upload(source: int, stream: TunnelStream) -> None:
    try:
        while data := await trio.to_thread.run_sync(os.read, source, READ_SIZE, abandon_on_cancel=True):
            await stream.send_all(data)
        await stream.send_eof()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return  # the other direction sees the same, or goes on without this one


async def _download(stream: TunnelStream, destination: int) -> None:
    while data := await stream.receive_some():
        await trio.to_thread.run_sync(_write_all, destination, bytes(data), abandon_on_cancel=True)


def _write_all(destination: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(destination, rest) :]
