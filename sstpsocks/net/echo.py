"""Echo requests of ours and their replies (ping; RFC 1122 section 3.2.2.6, RFC 4443 section 4)."""

from __future__ import annotations

from collections.abc import Callable

from ..base.entropy import random_below
from ..errors import ConnectTimedOut, SstpsocksError, TooManyConnections
from . import icmp, icmp6
from .address import IPAddress, require_reachable, require_source
from .flow import FlowHost
from .icmp import IcmpErrorKind, IcmpType
from .icmp6 import Icmp6Type
from .ip import PROTOCOL_ICMP
from .ip6 import PROTOCOL_ICMP6
from .memory import ENDPOINT_COST

_MAX_ECHOES = 4096
"""Echo requests of ours that wait at once, a sixteenth of the identifiers."""


class IcmpEcho:
    """One echo request: sent once, ended by its reply, an ICMP error or the time-out of the configuration."""

    __slots__ = (
        "__weakref__", "_dont_fragment", "_host", "_payload", "_pending", "address", "error", "finished", "identifier",
        "notify", "replied", "round_trip", "sent_at", "sequence", "source",
    )  # fmt: skip

    def __init__(
        self,
        host: FlowHost,
        address: IPAddress,
        source: IPAddress,
        identifier: int,
        sequence: int,
        payload: bytes,
        now: float,
        *,
        dont_fragment: bool = False,
    ) -> None:
        self._host = host
        self._dont_fragment = dont_fragment
        self._payload = payload
        self._pending = True
        self.address = address
        self.source = source
        self.identifier = identifier
        self.sequence = sequence
        self.replied = False
        """Whether the reply has come, with our payload."""
        self.error: SstpsocksError | None = None
        """Why there will be no reply: what ICMP said, ConnectTimedOut, or why the tunnel ended."""
        self.round_trip: float | None = None
        """Seconds from when the request was handed down to its reply."""
        self.sent_at: float | None = None
        """When the request was handed down."""
        self.finished = False
        self.notify: Callable[[], None] | None = None
        host.memory.flows += 1
        host.memory.charge(ENDPOINT_COST + len(payload))
        host.set_deadline(self, now + host.config.echo_timeout)
        host.mark_output(self)

    def __repr__(self) -> str:
        state = "replied" if self.replied else "failed" if self.error else "closed" if self.finished else "waiting"
        return f"<IcmpEcho to {self.address}, {state}>"

    def close(self) -> None:
        """Stop waiting for the reply."""
        if not self.finished:
            self.finished = True
            self._pending = False
            self._host.memory.flows -= 1
            self._host.memory.charge(-ENDPOINT_COST - len(self._payload))
            self._host.set_deadline(self, None)
            self._host.forget(self)

    @property
    def has_urgent_output(self) -> bool:
        """Whether the request has not been sent."""
        return self._pending

    def has_output(self) -> bool:
        """Whether the request has not been sent."""
        return self._pending

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        """Build the request."""
        if not self._pending:
            return []
        self._pending = False
        self.sent_at = now
        self._host.counters.icmp_out_msgs += 1
        source, destination = self.source.packed, self.address.packed
        protocol = PROTOCOL_ICMP
        if self.address.version == 4:
            request = icmp.echo(IcmpType.ECHO_REQUEST, self.identifier, self.sequence, self._payload).to_bytes()
        else:
            protocol = PROTOCOL_ICMP6
            message = icmp6.echo(Icmp6Type.ECHO_REQUEST, self.identifier, self.sequence, self._payload)
            request = message.to_bytes(source, destination)
        return self._host.build_datagrams(source, destination, protocol, request, dont_fragment=self._dont_fragment)

    def receive_reply(self, sequence: int, payload: bytes, now: float) -> bool:
        """Take an echo reply with our identifier from our address; False when it answers something else."""
        if self.sent_at is None or sequence != self.sequence or payload != self._payload:
            return False
        self.replied = True
        self.round_trip = now - self.sent_at
        self._finish()
        return True

    def on_icmp_error(self, kind: IcmpErrorKind, sequence: int) -> bool:
        """Take an ICMP error about a request with our identifier to our address; False when it is not this one."""
        if self.sent_at is None or sequence != self.sequence:
            return False
        self.error = kind.to_error(f"{self.address} (echo)")
        self._finish()
        return True

    def fail(self, error: SstpsocksError) -> None:
        """End it: the tunnel is gone."""
        self.error = error
        self._finish()

    def handle_timer(self, now: float) -> None:
        """Give up."""
        self.error = ConnectTimedOut(f"{self.address} did not answer an echo request")
        self._finish()

    def _finish(self) -> None:
        self.close()
        self._host.mark_dirty(self)


class EchoRequests:
    """The echo requests of one stack, of both IP versions."""

    __slots__ = ("_host", "_waiting")

    def __init__(self, host: FlowHost) -> None:
        self._host = host
        self._waiting: dict[tuple[bytes, int], IcmpEcho] = {}
        """By packed remote address and identifier."""

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, address: IPAddress, payload: bytes, now: float, *, dont_fragment: bool = False) -> IcmpEcho:
        """Send an echo request with a random identifier.

        Raises DeniedByRule for an address of no host, NetworkUnreachable without an address of ours to send from,
        TooManyConnections when too many requests wait or memory is short.
        """
        require_reachable(address, self._host.local_addresses)
        source = require_source(address, self._host.source_for(address))
        if len(self._waiting) >= _MAX_ECHOES:
            raise TooManyConnections(f"{_MAX_ECHOES} echo requests wait for replies")
        if self._host.memory.short:
            raise TooManyConnections("the tunnel's connections hold all the memory they may")
        identifier = random_below(self._host.entropy, 65536)
        while (address.packed, identifier) in self._waiting:
            identifier = (identifier + 1) & 0xFFFF
        request = IcmpEcho(self._host, address, source, identifier, 1, payload, now, dont_fragment=dont_fragment)
        self._waiting[address.packed, identifier] = request
        return request

    def receive_reply(self, source: bytes, identifier: int, sequence: int, payload: bytes, now: float) -> bool:
        """Take a reply from a packed address; False when it answers nothing that waits."""
        request = self._waiting.get((source, identifier))
        return request is not None and request.receive_reply(sequence, payload, now)

    def receive_error(self, destination: bytes, transport: bytes, kind: IcmpErrorKind) -> bool:
        """Take an ICMP error that quotes a request to a packed address; False when none waits."""
        identifier = int.from_bytes(transport[4:6], "big")
        sequence = int.from_bytes(transport[6:8], "big")
        request = self._waiting.get((destination, identifier))
        return request is not None and request.on_icmp_error(kind, sequence)

    def remove(self, request: IcmpEcho) -> None:
        """Forget a request that has ended."""
        self._waiting.pop((request.address.packed, request.identifier), None)

    def abort_all(self, error: SstpsocksError) -> None:
        """End every request."""
        for request in list(self._waiting.values()):
            request.fail(error)
