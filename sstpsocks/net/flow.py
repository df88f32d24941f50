"""What the stack knows of its users: TCP connections and listeners, UDP endpoints, echo requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..base.entropy import Entropy
from .address import IPAddress
from .config import StackConfig
from .counters import NetCounters
from .memory import Memory


class Notifying(Protocol):
    """Anything that can have news for the program above."""

    notify: Callable[[], None] | None
    """Set by the program's side, called by it for each flow that take_dirty() returned."""


class Flow(Notifying, Protocol):
    """What also has output for the network below, and a timer."""

    @property
    def has_urgent_output(self) -> bool:
        """Whether what it has to send is little and should pass others' bulk: acknowledgements, a first request."""
        ...

    def has_output(self) -> bool:
        """Whether next_packets() would build anything now."""
        ...

    def next_packets(self, now: float, max_bytes: int, /) -> list[bytes]:
        """Build whole IP packets, at least one if there is any, until ``max_bytes`` is reached or just passed."""
        ...

    def handle_timer(self, now: float, /) -> None:
        """Act on the deadline that has passed; it is used up and must be set again for another."""
        ...


class FlowHost(Protocol):
    """What UDP endpoints and echo requests see of the stack."""

    @property
    def counters(self) -> NetCounters:
        """The stack's counters."""
        ...

    @property
    def config(self) -> StackConfig:
        """The stack's limits."""
        ...

    @property
    def memory(self) -> Memory:
        """The bound on what all flows hold."""
        ...

    @property
    def entropy(self) -> Entropy:
        """Where random numbers come from."""
        ...

    @property
    def local_addresses(self) -> tuple[IPAddress, ...]:
        """Our addresses, the IPv4 address first."""
        ...

    def source_for(self, destination: IPAddress, /) -> IPAddress | None:
        """Return which of our addresses a packet to ``destination`` leaves from, None when none will do."""
        ...

    def mark_dirty(self, flow: Notifying, /) -> None:
        """Have take_dirty() return the flow: it has something new for the program."""
        ...

    def mark_output(self, flow: Flow, /) -> None:
        """Have packets_to_send() ask the flow for packets."""
        ...

    def set_deadline(self, flow: Flow, deadline: float | None, /) -> None:
        """Have handle_timer() call the flow's at that time; None: not at all."""
        ...

    def forget(self, flow: Flow, /) -> None:
        """Take a flow that has ended out of the demultiplexer."""
        ...

    def build_datagrams(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes, /, *, dont_fragment: bool = False
    ) -> list[bytes]:
        """Return a packet between two packed addresses of one family, or its fragments when it is larger than the MTU
        of its path.

        ``dont_fragment``: one packet, which nobody may fragment (RFC 1191), whatever is known about the path.
        """
        ...
