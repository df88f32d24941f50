"""BIND: a client that waits for a connection from inside the tunnel (RFC 1928 sections 4 and 6).

Theory of operation. A port is opened in the tunnel, of the tunnel that leads to whom the client expects, and the first
reply says where. The first connection from the expected address is the one; the second reply says from where it came,
and from then on it is relayed as one that was dialled. Others are reset and counted. The expected port is not looked
at: RFC 1928 has no rule for it, and an FTP server calls from another port than the client knows. The port is closed
when somebody has connected, when nobody has for BIND_TIMEOUT, and with the client's connection.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from ..relay import Relay
from ..rules import is_anybody, parse_target
from .attempt import send_now
from .conversation import SUCCEEDED, BindRequested
from .waiting import wait_for_stream

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...tunnel.network import IPAddress, TunnelListener, TunnelStream
    from ..context import ConnectionContext
    from .conversation import SocksConversation

BIND_TIMEOUT = 180.0  # seconds; what other SOCKS servers and FTP clients wait for a data connection

_logger = logging.getLogger("sstpsocks.proxy")


async def bind(
    client: socket.socket, machine: SocksConversation, request: BindRequested, context: ConnectionContext
) -> Relay:
    """Return the relay of the connection that came, which has started.

    Raises a DialError, and BrokenResourceError when the client went away.
    """
    send_now(client, machine.data_to_send())
    expected = await _expected(request.host, context)
    listener = await context.outlet.listen_tcp(0, request.host)
    try:
        machine.reply(SUCCEEDED, listener.local_address)
        send_now(client, machine.data_to_send())
        _logger.debug("connection %d: waits for %s", context.number, request.host)
        stream = await wait_for_stream(
            client,
            machine,
            partial(_accept, listener, expected, context.number),
            limit=BIND_TIMEOUT,
            overdue="nobody connected",
        )
    finally:
        listener.close()
    try:
        machine.reply(SUCCEEDED, stream.remote_address)
        send_now(client, machine.data_to_send())
    except BaseException:
        stream.abort()
        raise
    relay = Relay(client, stream, context.nursery)
    relay.start()
    return relay


async def _expected(host: str | IPAddress, context: ConnectionContext) -> Collection[IPAddress] | None:
    """Return the addresses that may connect, None for all."""
    if is_anybody(host):
        return None
    target = parse_target(host)
    return (
        {_plain(address) for address in await context.outlet.resolve(target)} if isinstance(target, str) else {target}
    )


async def _accept(listener: TunnelListener, expected: Collection[IPAddress] | None, number: int) -> TunnelStream:
    strangers = 0
    while True:
        stream = await listener.accept()
        if expected is None or _plain(stream.remote_address[0]) in expected:
            return stream
        stream.abort()
        strangers += 1
        _logger.info("connection %d: %d connections from others than the expected address refused", number, strangers)


def _plain(address: IPAddress) -> IPAddress:
    """Return an IPv4 address in IPv6 notation as what it is (RFC 4291 2.5.5.2)."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
