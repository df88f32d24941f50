"""A SOCKS client that waits for its connection: what it sends early is kept, and its end ends the waiting."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from ..relay import read
from ..waiting import open_while_watching
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
    """Return the connection that ``opening`` brings, and keep what the client sends meanwhile.

    Raises as open_while_watching() does.
    """
    return await open_while_watching(partial(_watch, client, machine), opening, limit=limit, overdue=overdue)


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
