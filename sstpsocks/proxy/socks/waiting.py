"""Waiting for a connection while the client, who waits for it too, is watched: its end ends the waiting."""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import trio

from ...errors import ConnectTimedOut, DialError
from ..relay import read
from .attempt import EARLY_DATA_LIMIT

if TYPE_CHECKING:
    from ...tunnel.network import TunnelStream


class EarlyData(Protocol):
    """What keeps the data that a client sends before its connection stands."""

    @property
    def early_data_size(self) -> int:
        """How many bytes that are."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Keep more."""
        ...


async def wait_for_stream(
    client: socket.socket,
    machine: EarlyData,
    opening: Callable[[], Awaitable[TunnelStream]],
    *,
    limit: float | None,
    overdue: str,
) -> TunnelStream:
    """Return the connection that ``opening`` brings.

    Raises its DialError, ConnectTimedOut with the text ``overdue`` after ``limit`` seconds, and BrokenResourceError
    when the client went away.
    """
    stream: TunnelStream | None = None
    failure: DialError | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, client, machine, nursery.cancel_scope)
            try:
                with trio.fail_after(math.inf if limit is None else limit):
                    stream = await opening()
            except DialError as error:
                failure = error
            except trio.TooSlowError:
                failure = ConnectTimedOut(f"{overdue} in {limit:g} s")
            nursery.cancel_scope.cancel()
    except BaseException:
        # The server was cancelled in the moment in which the connection stood.
        if stream is not None:
            stream.abort()
        raise
    if failure is not None:
        raise failure
    if stream is None:
        raise trio.BrokenResourceError("the client went away")
    return stream


async def _watch(client: socket.socket, machine: EarlyData, scope: trio.CancelScope) -> None:
    """Keep what the client sends early, and cancel the dial when it goes away.

    A client that sent something and then ended its direction may still wait for the answer (half-close).
    """
    while (room := EARLY_DATA_LIMIT - machine.early_data_size) > 0:
        try:
            data = await read(client, room)
        except OSError:
            scope.cancel()
            return
        if not data:
            if not machine.early_data_size:
                scope.cancel()
            return
        machine.receive_data(data)
