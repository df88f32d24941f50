"""IPv6 of a gateway: packets for any single host are taken, and what is not its own is handed up."""

from __future__ import annotations

from typing import Protocol

from .address import is_unicast
from .echo import EchoRequests
from .fragment import Reassembler
from .ip6 import PROTOCOL_ICMP6, Chain, Ipv6Header
from .ip6_layer import Ipv6Host, Ipv6Layer


class GatewayHost(Ipv6Host, Protocol):
    """What IPv6 needs of the gateway besides."""

    def receive_ipv6_for_others(self, header: Ipv6Header, data: bytes, start: int, position: int, end: int, /) -> bool:
        """Take what there is of IPv6 alone in a packet for another address; False for what both versions carry."""
        ...


class GatewayIpv6Layer(Ipv6Layer):
    """Takes packets for any unicast address."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: GatewayHost, reassembler: Reassembler, echoes: EchoRequests) -> None:
        super().__init__(gateway, reassembler, echoes)
        self._gateway = gateway

    def _accepts(self, header: Ipv6Header) -> bool:
        if not is_unicast(header.destination):
            return super()._accepts(header)
        return header.source not in self._addresses and is_unicast(header.source)

    def _deliver(self, header: Ipv6Header, chain: Chain, data: bytes, start: int, end: int, now: float) -> None:
        if not header.is_multicast and header.destination not in self._addresses:
            position = chain.position if chain.protocol == PROTOCOL_ICMP6 else end
            if self._gateway.receive_ipv6_for_others(header, data, start, position, end):
                return
        super()._deliver(header, chain, data, start, end, now)
