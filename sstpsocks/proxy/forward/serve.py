"""Serving forwards: each connection is taken at one end, dialled at the other, and relayed.

A connection that cannot be opened at the other end is reset, said in one line, and ends nothing else. All forwards
share one bound of connections; those beyond it wait in the queue of whoever accepts. Inside the tunnel a listening port
is lost with the tunnel, and opened again once that is back.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from ...base.forward import Forward, Place
from ...errors import ConfigError, DialError, LocalProtocolError, SstpsocksError, TunnelDown
from ...tunnel.network import TunnelListener, TunnelStream
from ..outlet import Outlet
from ..relay import Relay, reset_socket

ACCEPT_PAUSE = 0.1  # seconds; files ran out, and closing connections will give some back
LISTEN_AGAIN = 1.0  # seconds between looks whether the tunnel is back
DIAL_TIMEOUT = 30.0  # seconds for a program of this side to take a connection

_logger = logging.getLogger("sstpsocks.forward")


@dataclass(frozen=True, slots=True)
class LocalPort:
    """A forward of -L and the sockets that listen for it."""

    forward: Forward
    listeners: Sequence[trio.SocketListener]


class Forwards:
    """What serves the forwards of one outlet. ``only_own_user``: cut off other users of this machine (Linux)."""

    def __init__(self, outlet: Outlet, *, max_connections: int, only_own_user: bool = False) -> None:
        self._outlet = outlet
        self._places = trio.Semaphore(max_connections)
        self._only_own_user = only_own_user

    async def serve(self, local: Sequence[LocalPort], remote: Sequence[Forward]) -> None:
        """Serve until cancelled.

        Raises SstpsocksError when a port inside the tunnel cannot be opened at first; one of several tunnels may be
        down at that time.
        """
        opened = [(forward, await self._listen_if_up(forward)) for forward in remote]
        async with trio.open_nursery() as nursery:
            for port in local:
                for listener in port.listeners:
                    nursery.start_soon(self._accept_local, listener, port.forward, nursery)
            for forward, inside in opened:
                nursery.start_soon(self._accept_remote, inside, forward, nursery)

    # From this machine into the tunnel

    async def _accept_local(self, listener: trio.SocketListener, forward: Forward, nursery: trio.Nursery) -> None:
        while True:
            try:
                accepted = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                _logger.warning("%s: cannot accept connections for the moment: %s", forward, error.strerror or error)
                await trio.sleep(ACCEPT_PAUSE)
                continue
            client = _raw(accepted)
            try:
                await self._places.acquire()
            except BaseException:
                reset_socket(client)
                raise
            nursery.start_soon(self._serve_local, client, forward, nursery)

    async def _serve_local(self, client: socket.socket, forward: Forward, nursery: trio.Nursery) -> None:
        try:
            if self._only_own_user and not _is_own_user(client):
                _logger.warning("%s: connection refused: it is not from a program of this user", forward)
                return
            try:
                stream = await self._outlet.open_tcp_stream(forward.target.host, forward.target.port)
            except DialError as error:
                _logger.warning("%s: %s", forward, error)
                return
            await _relay(client, stream, nursery)
        except Exception as error:
            _report(forward, error)
        finally:
            reset_socket(client)
            self._places.release()

    # From the tunnel to this machine

    async def _listen(self, forward: Forward) -> TunnelListener:
        try:
            return await self._outlet.listen_tcp(forward.listen.port)
        except LocalProtocolError as error:
            raise ConfigError(
                f"cannot listen inside the tunnel for {forward}: {error}",
                hint="choose another port, or 0 for a free one",
            ) from None

    async def _listen_if_up(self, forward: Forward) -> TunnelListener | None:
        try:
            return await self._listen(forward)
        except TunnelDown:
            return None

    async def _accept_remote(self, opened: TunnelListener | None, forward: Forward, nursery: trio.Nursery) -> None:
        listener = opened if opened is not None else await self._listen_again(forward)
        _logger.info("%s: listening inside the tunnel at port %d", forward, listener.local_address[1])
        try:
            while True:
                try:
                    stream = await listener.accept()
                except (TunnelDown, trio.ClosedResourceError):
                    listener.close()
                    listener = await self._listen_again(forward)
                    continue
                try:
                    await self._places.acquire()
                except BaseException:
                    stream.abort()
                    raise
                nursery.start_soon(self._serve_remote, stream, forward, nursery)
        finally:
            listener.close()

    async def _listen_again(self, forward: Forward) -> TunnelListener:
        told = False
        while True:
            await trio.sleep(LISTEN_AGAIN)
            try:
                return await self._listen(forward)
            except TunnelDown:
                continue
            except SstpsocksError as error:
                if not told:
                    _logger.warning("%s", error)
                told = True

    async def _serve_remote(self, stream: TunnelStream, forward: Forward, nursery: trio.Nursery) -> None:
        try:
            try:
                with trio.fail_after(DIAL_TIMEOUT):
                    client = await _connect_here(forward.target)
            except (OSError, trio.TooSlowError) as error:
                reason = "no answer" if isinstance(error, trio.TooSlowError) else error.strerror or error
                _logger.warning("%s: cannot connect to %s of this side: %s", forward, forward.target, reason)
                stream.abort()
                return
            except BaseException:
                stream.abort()
                raise
            await _relay(client, stream, nursery)
        except Exception as error:
            _report(forward, error)
        finally:
            self._places.release()


def _report(forward: Forward, error: Exception) -> None:
    """One connection must not take the others with it. The traceback is a detail, as everywhere."""
    details = _logger.isEnabledFor(logging.DEBUG)
    _logger.error("%s: a connection failed: %s, this is a bug", forward, type(error).__name__, exc_info=details)


async def _relay(client: socket.socket, stream: TunnelStream, nursery: trio.Nursery) -> None:
    relay = Relay(client, stream, nursery)
    relay.start()
    await relay.run()


async def _connect_here(place: Place) -> socket.socket:
    """Connect outside of the tunnel: the user named this place, so loopback is fine."""
    if place.path:
        return _raw(await trio.open_unix_socket(place.path))
    return _raw(await trio.open_tcp_stream(place.host, place.port))


def _raw(stream: trio.SocketStream) -> socket.socket:
    raw = socket.socket(fileno=stream.socket.detach())
    raw.setblocking(False)
    return raw


def _is_own_user(client: socket.socket) -> bool:
    from ..peer_user import is_own_user  # for those only who ask

    return is_own_user(client)
