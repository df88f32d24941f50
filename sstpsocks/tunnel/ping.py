"""Echo requests of the stack for trio programs: ping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import ConnectTimedOut, LocalProtocolError
from .network import IPAddress
from .streams import Pump

if TYPE_CHECKING:
    from ..net.stack import Stack

_HEADERS = {4: 20 + 8, 6: 40 + 8}
_MAX_SIZE = 65535


async def ping(
    stack: Stack, pump: Pump, address: IPAddress, *, size: int, limit: float, dont_fragment: bool = False
) -> float:
    """Send one echo request of ``size`` octets, IP header included, and return the seconds until its reply."""
    headers = _HEADERS[address.version]
    if not headers <= size <= _MAX_SIZE:
        raise LocalProtocolError(f"an echo request of {size} octets: it has {headers} to {_MAX_SIZE}", layer="icmp")
    answered = trio.Event()
    echo = stack.send_echo(address, bytes(size - headers), pump.now(), dont_fragment=dont_fragment)
    echo.notify = answered.set
    try:
        pump.flush()
        with trio.move_on_after(limit):
            await answered.wait()
    finally:
        echo.notify = None
        echo.close()
    if echo.error is not None:
        raise echo.error
    if echo.round_trip is None:
        raise ConnectTimedOut(f"{address} did not answer an echo request within {limit:g} s")
    return echo.round_trip
