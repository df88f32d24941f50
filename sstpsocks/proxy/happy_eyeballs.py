"""Connecting to a host with several addresses without waiting for those that do not work: RFC 8305 section 5."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    TooManyConnections,
    TunnelDown,
)
from ..tunnel.network import IPAddress, TunnelStream

CONNECTION_ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside the last; the RFC recommends 250 ms."""

# From the failure that came closest to the target to the one that came least far: the first of them is told.
_CLOSEST_FIRST: tuple[type[DialError], ...] = (ConnectionRefused, ConnectTimedOut, HostUnreachable, NetworkUnreachable)

_logger = logging.getLogger("sstpsocks.proxy")


async def connect_to_first(
    addresses: Sequence[IPAddress], connect: Callable[[IPAddress], Awaitable[TunnelStream]]
) -> TunnelStream:
    """Return the first connection that stands; try the next address when one fails or says nothing for a while.

    ``addresses`` must not be empty. Raises the DialError that came closest; TunnelDown and TooManyConnections at once,
    since other addresses are no better then.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    return await _Race(addresses, connect).run()


class _Race:
    """The attempts to connect to one host."""

    def __init__(self, addresses: Sequence[IPAddress], connect: Callable[[IPAddress], Awaitable[TunnelStream]]) -> None:
        self._addresses = addresses
        self._connect = connect
        self._winner: TunnelStream | None = None
        self._failures: list[DialError] = []
        self._hopeless: DialError | None = None

    async def run(self) -> TunnelStream:
        try:
            async with trio.open_nursery() as nursery:
                for address in self._addresses:
                    failed = trio.Event()
                    nursery.start_soon(self._attempt, address, failed, nursery.cancel_scope)
                    with trio.move_on_after(CONNECTION_ATTEMPT_DELAY):
                        await failed.wait()
        except BaseException:
            if self._winner is not None:
                self._winner.abort()  # nobody is left to take it
            raise
        if self._winner is not None:
            return self._winner
        raise self._hopeless or min(self._failures, key=_distance)

    async def _attempt(self, address: IPAddress, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            stream = await self._connect(address)
        except (TunnelDown, TooManyConnections) as error:
            self._hopeless = error
            race.cancel()
        except DialError as error:
            _logger.debug("%s: %s", address, error)
            self._failures.append(error)
            failed.set()
        else:
            if self._winner is None:
                self._winner = stream
                race.cancel()  # the others abort what they have begun
            else:
                stream.abort()


def _distance(failure: DialError) -> int:
    for rank, kind in enumerate(_CLOSEST_FIRST):
        if isinstance(failure, kind):
            return rank
    return len(_CLOSEST_FIRST)
