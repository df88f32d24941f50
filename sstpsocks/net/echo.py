"""An echo request of ours and its reply (ping; RFC 792, RFC 1122 section 3.2.2.6)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from ..errors import ConnectTimedOut, SstpsocksError
from .flow import FlowHost
from .icmp import IcmpErrorKind, IcmpType, echo
from .ip import PROTOCOL_ICMP


class IcmpEcho:
    """One echo request: sent once, ended by its reply, an ICMP error or the time-out of the configuration."""

    __slots__ = (
        "__weakref__", "_host", "_payload", "_pending", "address", "error", "finished", "identifier", "notify",
        "replied", "round_trip", "sent_at", "sequence",
    )  # fmt: skip

    def __init__(
        self, host: FlowHost, address: IPv4Address, identifier: int, sequence: int, payload: bytes, now: float
    ) -> None:
        self._host = host
        self._payload = payload
        self._pending = True
        self.address = address
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
        request = echo(IcmpType.ECHO_REQUEST, self.identifier, self.sequence, self._payload)
        return self._host.build_datagrams(self.address.packed, PROTOCOL_ICMP, request.to_bytes())

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
