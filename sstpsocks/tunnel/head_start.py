"""Being on the way to the server while the rest of the program is still being loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ..errors import SstpsocksError
from .reach import Dial, close_now, connect_transport
from .settings import TunnelSettings
from .steps import StepObserver

if TYPE_CHECKING:
    from .tls import TlsStream


@asynccontextmanager
async def head_start(settings: TunnelSettings, observe: StepObserver) -> AsyncIterator[Dial]:
    """Begin to connect, and hand out a connect_transport() whose first call gives that connection.

    Later calls connect anew. On leaving, what nobody fetched is closed.
    """
    finished = trio.Event()
    result: trio.SocketStream | TlsStream | SstpsocksError | None = None

    async def connect(task_status: trio.TaskStatus[None]) -> None:
        nonlocal result
        task_status.started()  # and on to where it has to wait, before anything else goes on
        try:
            result = await connect_transport(settings, observe)
        except SstpsocksError as error:
            result = error
        finished.set()

    async def dial(settings: TunnelSettings, observe: StepObserver) -> trio.SocketStream | TlsStream:
        nonlocal result
        await finished.wait()
        mine, result = result, None
        if isinstance(mine, SstpsocksError):
            raise mine
        return mine if mine is not None else await connect_transport(settings, observe)

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(connect)
            yield dial
            nursery.cancel_scope.cancel()
    finally:
        if result is not None and not isinstance(result, SstpsocksError):
            close_now(result)
