"""DHCPINFORM in a tunnel that has come up."""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv4Network

import trio

from ..base.entropy import Entropy
from ..net.address import LIMITED_BROADCAST
from ..net.dhcp import CLIENT_PORT, SERVER_PORT, DhcpAnswered, DhcpInformation, DhcpInformer, DhcpUnanswered
from ..net.route import Route, RouteTable
from ..net.stack import Stack
from .datagrams import UdpAcceptor
from .streams import Pump


async def ask_dhcp(
    stack: Stack, pump: Pump, address: IPv4Address, entropy: Entropy, *, host_name: str | None
) -> DhcpInformation | None:
    """Ask the network what it tells a host with our address; return None when nobody answers or the tunnel ends."""
    informer = DhcpInformer(address, entropy, host_name=host_name)
    endpoint = stack.open_udp(local_port=CLIENT_PORT, allow_broadcast=True)
    acceptor = UdpAcceptor(endpoint, pump)
    try:
        informer.start(trio.current_time())
        while True:
            for request in informer.data_to_send(trio.current_time()):
                await acceptor.send_to(request, (LIMITED_BROADCAST, SERVER_PORT))
            match informer.next_event():
                case DhcpAnswered(information):
                    return information
                case DhcpUnanswered():
                    return None
            deadline = informer.poll_at()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                payload, _ = await acceptor.receive_from()
                informer.receive_data(payload, trio.current_time())
            informer.handle_timer(trio.current_time())
    except trio.ClosedResourceError:
        return None
    finally:
        endpoint.close()


def strict_table(information: DhcpInformation, always: tuple[IPv4Address, ...]) -> RouteTable | None:
    """Return what may be reached with strict routes, None when no routes were pushed and so everything may.

    That is where the pushed routes lead, our own subnet, and ``always``: hosts that the tunnel itself named, such as
    its name servers.
    """
    if not information.routes:
        return None
    subnet = (Route(information.subnet),) if information.subnet is not None else ()
    return RouteTable((*information.routes, *subnet, *(Route(IPv4Network(host)) for host in always)))
