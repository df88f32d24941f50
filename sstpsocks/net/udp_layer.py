"""Which UDP endpoint a datagram or an ICMP error is for."""

from __future__ import annotations

from ipaddress import IPv4Address

from ..errors import LocalProtocolError, RemoteProtocolError, SstpsocksError
from .address import require_reachable
from .flow import FlowHost
from .icmp import IcmpErrorKind, Quote
from .ip import Ipv4Header
from .ports import choose_port
from .udp import HEADER_SIZE, Endpoint, UdpDatagram, UdpEndpoint


class UdpLayer:
    """The UDP endpoints of one stack."""

    __slots__ = ("_address", "_connected", "_host", "_unconnected")

    def __init__(self, host: FlowHost, address: IPv4Address) -> None:
        self._host = host
        self._address = address
        self._connected: dict[tuple[Endpoint, int], UdpEndpoint] = {}
        """By remote address and port, and local port."""
        self._unconnected: dict[int, UdpEndpoint] = {}
        """By local port."""

    def __repr__(self) -> str:
        return f"<UdpLayer {len(self._connected)} connected, {len(self._unconnected)} not>"

    def open(self, remote: Endpoint | None, local_port: int | None, *, allow_broadcast: bool = False) -> UdpEndpoint:
        """Return a new endpoint; a random local port unless one is given.

        Raises DeniedByRule for a remote address of no host, LocalProtocolError for a port that is in use or no port,
        TooManyConnections without a free port.
        """
        if remote is not None:
            require_reachable(remote[0], self._address)
        for port in (local_port, None if remote is None else remote[1]):
            if port is not None and not 0 < port < 65536:
                raise LocalProtocolError(f"{port} is no UDP port", layer="udp")
        if local_port is None:
            local_port = choose_port(self._host.entropy, lambda port: self._in_use(remote, port))
        elif self._in_use(remote, local_port):
            raise LocalProtocolError(f"UDP port {local_port} is in use", layer="udp")
        endpoint = UdpEndpoint(self._host, (self._address, local_port), remote, allow_broadcast=allow_broadcast)
        if remote is None:
            self._unconnected[local_port] = endpoint
        else:
            self._connected[remote, local_port] = endpoint
        return endpoint

    def receive(self, header: Ipv4Header, data: bytes, start: int, end: int) -> bool:
        """Take a datagram; False when there is no endpoint for it."""
        counters = self._host.counters
        try:
            datagram = UdpDatagram.parse(data, start, end, header.source, header.destination)
        except RemoteProtocolError:
            counters.udp_in_errors += 1
            return True
        source = (IPv4Address(header.source), datagram.source_port)
        endpoint = self._connected.get((source, datagram.destination_port))
        if endpoint is None:
            endpoint = self._unconnected.get(datagram.destination_port)
        if endpoint is None:
            counters.udp_no_ports += 1
            return False
        endpoint.receive_datagram(datagram.payload, source)
        return True

    def wants_broadcast(self, data: bytes, start: int, end: int) -> bool:
        """Whether an endpoint takes the datagram in ``data[start:end]`` although it went to 255.255.255.255."""
        if end - start < HEADER_SIZE:
            return False
        endpoint = self._unconnected.get(int.from_bytes(data[start + 2 : start + 4], "big"))
        return endpoint is not None and endpoint.allow_broadcast

    def receive_icmp_error(self, kind: IcmpErrorKind, quote: Quote) -> bool:
        """Take an ICMP error about a datagram; False when we did not send such a one."""
        local_port, remote_port = (
            int.from_bytes(quote.transport[:2], "big"),
            int.from_bytes(quote.transport[2:4], "big"),
        )
        endpoint = self._connected.get(((IPv4Address(quote.destination), remote_port), local_port))
        return endpoint is not None and endpoint.on_icmp_error(kind)

    def remove(self, endpoint: UdpEndpoint) -> None:
        """Free the endpoint's port."""
        if endpoint.remote is None:
            self._unconnected.pop(endpoint.local[1], None)
        else:
            self._connected.pop((endpoint.remote, endpoint.local[1]), None)

    def abort_all(self, error: SstpsocksError) -> None:
        """End every endpoint."""
        for endpoint in (*self._connected.values(), *self._unconnected.values()):
            endpoint.fail(error)

    def _in_use(self, remote: Endpoint | None, port: int) -> bool:
        return port in self._unconnected or (remote is not None and (remote, port) in self._connected)
