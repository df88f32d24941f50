"""``-W HOST:PORT``: one connection through tunnels of its own, on standard input and output.

ssh's ProxyCommand wants it so: nothing but the connection's bytes on standard output, messages on standard error, and
an end when the other side ends. Reading and writing happen in threads, because standard input may be a terminal, a
pipe, a socket or a file, shared with other programs, which must not find it non-blocking.
"""

from __future__ import annotations

import os

import trio

from ..base.forward import Place, parse_stdio
from ..errors import ConfigError, DialError
from ..library import run_tunnel
from ..proxy.outlet import Outlet
from ..proxy.routing.direct import Direct
from ..tunnel.network import TunnelStream
from .config import Configuration
from .engine import Engine, OpenTunnel, Running
from .failures import EXIT_OK
from .messages import Display
from .one_host import for_one_host
from .prompts import prepare_passwords
from .run import run_connect
from .run_command import CommandDisplay

EXIT_NO_CONNECTION = 1
READ_SIZE = 65536  # octets; a pipe holds as many


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
    """Bring up what the rules want for the target, connect, relay until it ends, and return the exit code.

    It is 1 when there was no connection, or it broke. Raises SstpsocksError when no tunnel can be opened.
    """
    exit_code = EXIT_OK

    async def relay(outlet: Outlet) -> None:
        nonlocal exit_code
        exit_code = await _relay(outlet, target, display, standard_input, standard_output)

    async def relay_beside(running: Running) -> None:
        await relay(running.outlet)

    try:
        needed = for_one_host(configuration, target.host, target.port)
    except DialError as error:
        display.failed(str(error))
        return EXIT_NO_CONNECTION
    if needed is None:
        display.warning(f"the connection to {target} goes past all tunnels, by a rule")
        async with trio.open_nursery() as nursery:
            await relay(Direct(nursery))
            nursery.cancel_scope.cancel()
    elif needed.others or needed.rules:
        await run_connect(needed, CommandDisplay(display), Engine(open_tunnel=open_tunnel), relay_beside)
    else:
        await prepare_passwords(needed, display)
        async with open_tunnel(needed.tunnel, observe=display.step, on_state=display.state) as tunnel:
            await relay(tunnel.dialer)
    return exit_code


async def _relay(outlet: Outlet, target: Place, display: Display, source: int, destination: int) -> int:
    try:
        stream = await outlet.open_tcp_stream(target.host, target.port)
    except DialError as error:
        display.failed(str(error))
        return EXIT_NO_CONNECTION
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(_upload, source, stream)
        try:
            await _download(stream, destination)
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
