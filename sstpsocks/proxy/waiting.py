"""Waiting for a connection while the client, who waits for it too, is watched: its end ends the waiting."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from ..errors import ConnectTimedOut, DialError

if TYPE_CHECKING:
    from ..tunnel.network import TunnelStream

Watch = Callable[[trio.CancelScope], Awaitable[None]]
"""Looks after the client, and cancels the scope when it went away."""


async def open_while_watching(
    watch: Watch, opening: Callable[[], Awaitable[TunnelStream]], *, limit: float | None, overdue: str
) -> TunnelStream:
    """Return the connection that ``opening`` brings.

    Raises its DialError, ConnectTimedOut with the text ``overdue`` after ``limit`` seconds, and BrokenResourceError
    when the client went away.
    """
    stream: TunnelStream | None = None
    failure: DialError | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
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
