"""Which UDP endpoint a datagram or an ICMP error is for."""

from __future__ import annotations

from ipaddress import ip_address

from ..errors import LocalProtocolError, RemoteProtocolError, SstpsocksError
from .address import IPAddress, is_ipv6_group, require_reachable, require_source
from .flow import FlowHost
from .icmp import IcmpErrorKind, Quote
from .ports import choose_port
from .udp import HEADER_SIZE, Endpoint, UdpDatagram, UdpEndpoint

_ANY = b""
"""In place of a packed address: all of ours."""


class UdpLayer:
    """The UDP endpoints of one stack."""

    __slots__ = ("_connected", "_host", "_unconnected")

    def __init__(self, host: FlowHost) -> None:
        self._host = host
        self._connected: dict[bytes, UdpEndpoint] = {}
        """By packed remote address, local address, remote port and local port, as they lie in a packet."""
        self._unconnected: dict[tuple[bytes, int], UdpEndpoint] = {}
        """By packed local address, or _ANY, and local port."""

    def __repr__(self) -> str:
        return f"<UdpLayer {len(self._connected)} connected, {len(self._unconnected)} not>"

    def open(
        self,
        remote: Endpoint | None,
        local_port: int | None,
        *,
        local_address: IPAddress | None = None,
        allow_broadcast: bool = False,
        allow_multicast: bool = False,
    ) -> UdpEndpoint:
        """Return a new endpoint; a random local port unless one is given.

        Without a local address, a connected one has that which suits the peer, others have all. Raises DeniedByRule
        for a remote address of no host, LocalProtocolError for a port that is in use or no port or an address that is
        not ours, NetworkUnreachable without an address to send from, TooManyConnections without a free port.
        """
        host = self._host
        if local_address is not None and local_address not in host.local_addresses:
            raise LocalProtocolError(f"{local_address} is no address of ours", layer="udp")
        for port in (local_port, None if remote is None else remote[1]):
            if port is not None and not 0 < port < 65536:
                raise LocalProtocolError(f"{port} is no UDP port", layer="udp")
        any_address = local_address is None and remote is None
        own = local_address if local_address is not None else host.local_addresses[0]
        group = remote is not None and allow_multicast and is_ipv6_group(remote[0])
        if remote is not None:
            if not group:
                require_reachable(remote[0], host.local_addresses)
            if local_address is None:
                own = require_source(remote[0], host.source_for(remote[0]))
            elif own.version != remote[0].version:
                raise LocalProtocolError(f"{remote[0]} cannot be reached from {own}", layer="udp")
        # Who answers a group is not known before, so that such an endpoint hears all.
        peer = None if group else remote
        bound = _ANY if any_address else own.packed
        if local_port is None:
            local_port = choose_port(host.entropy, lambda port: self._in_use(peer, own.packed, port))
        elif self._in_use(peer, own.packed, local_port):
            raise LocalProtocolError(f"UDP port {local_port} is in use", layer="udp")
        endpoint = UdpEndpoint(
            host,
            (own, local_port),
            remote,
            any_address=any_address,
            allow_broadcast=allow_broadcast,
            allow_multicast=allow_multicast,
        )
        if peer is None:
            self._unconnected[bound, local_port] = endpoint
        else:
            self._connected[_key(peer, own.packed, local_port)] = endpoint
        return endpoint

    def receive(self, source: bytes, destination: bytes, data: bytes, start: int, end: int) -> bool:
        """Take a datagram between two packed addresses; False when there is no endpoint for it."""
        counters = self._host.counters
        try:
            datagram = UdpDatagram.parse(data, start, end, source, destination)
        except RemoteProtocolError:
            counters.udp_in_errors += 1
            return True
        endpoint = self._connected.get(source + destination + data[start : start + 4])
        if endpoint is None:
            endpoint = self._listening(destination, datagram.destination_port)
        if endpoint is None:
            counters.udp_no_ports += 1
            return False
        endpoint.receive_datagram(datagram.payload, (ip_address(source), datagram.source_port))
        return True

    def wants_broadcast(self, data: bytes, start: int, end: int) -> bool:
        """Whether an endpoint takes the datagram in ``data[start:end]`` although it went to 255.255.255.255."""
        if end - start < HEADER_SIZE:
            return False
        endpoint = self._unconnected.get((_ANY, int.from_bytes(data[start + 2 : start + 4], "big")))
        return endpoint is not None and endpoint.allow_broadcast

    def receive_icmp_error(self, kind: IcmpErrorKind, quote: Quote) -> bool:
        """Take an ICMP error about a datagram; False when we did not send such a one."""
        ports = quote.transport[2:4] + quote.transport[:2]
        endpoint = self._connected.get(quote.destination + quote.source + ports)
        if endpoint is None:
            endpoint = self._listening(quote.source, int.from_bytes(quote.transport[:2], "big"))
        if endpoint is None:
            return False
        return endpoint.on_icmp_error(
            kind, (ip_address(quote.destination), int.from_bytes(quote.transport[2:4], "big"))
        )

    def remove(self, endpoint: UdpEndpoint) -> None:
        """Free the endpoint's port."""
        own, port = endpoint.local
        for key in ((_ANY, port), (own.packed, port)):
            if self._unconnected.get(key) is endpoint:
                del self._unconnected[key]
        if endpoint.remote is not None:
            connected = _key(endpoint.remote, own.packed, port)
            if self._connected.get(connected) is endpoint:
                del self._connected[connected]

    def address_lost(self, address: IPAddress, error: SstpsocksError) -> None:
        """End the endpoints of an address that is no longer ours."""
        for endpoint in (*self._connected.values(), *self._unconnected.values()):
            if endpoint.local[0] == address:
                endpoint.fail(error)

    def abort_all(self, error: SstpsocksError) -> None:
        """End every endpoint."""
        for endpoint in (*self._connected.values(), *self._unconnected.values()):
            endpoint.fail(error)

    def _listening(self, own: bytes, port: int) -> UdpEndpoint | None:
        endpoint = self._unconnected.get((own, port))
        return endpoint if endpoint is not None else self._unconnected.get((_ANY, port))

    def _in_use(self, peer: Endpoint | None, own: bytes, port: int) -> bool:
        if (_ANY, port) in self._unconnected or (own, port) in self._unconnected:
            return True
        return peer is not None and _key(peer, own, port) in self._connected


def _key(remote: Endpoint, own: bytes, port: int) -> bytes:
    return remote[0].packed + own + remote[1].to_bytes(2, "big") + port.to_bytes(2, "big")
