"""What can be set about a stack. The defaults are meant to be right."""

from __future__ import annotations

from dataclasses import dataclass

from .tcp.config import TcpConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig(TcpConfig):
    """Limits and times of one :class:`~sstpsocks.net.stack.Stack`, those of TCP among them: seconds and octets."""

    max_connections: int = 65_536
    """TCP connections at once, also those in TIME-WAIT, which make room for new ones; connect_tcp raises
    TooManyConnections beyond. By default memory_maximum ends it first, at about 49,000."""

    max_half_open: int = 65_536
    """TCP connections that we began and nobody has answered yet; connect_tcp raises TooManyConnections beyond. A tunnel
    has a lower bound by default (tunnel/settings.py)."""

    memory_maximum: int = 256 * 1024 * 1024
    """Octets that all flows may hold together, fragments and answers included (net/memory.py): data that programs have
    not read or peers have not acknowledged, data behind holes, and the flows themselves."""

    # UDP
    udp_receive_datagrams: int = 512
    """Datagrams that wait in one endpoint to be received; more are dropped."""
    udp_receive_bytes: int = 1024 * 1024
    """Payload octets that wait in one endpoint to be received; more are dropped."""
    udp_send_bytes: int = 256 * 1024
    """Payload octets that wait in one endpoint to be sent; send() refuses more."""

    # Fragments
    reassembly_timeout: float = 30.0
    """From the first fragment to the last. RFC 1122 section 3.3.2 asks for 60 to 120 seconds, RFC 791 for 15; 30 is
    what kernels use, and at today's rates it keeps reused identifications apart (RFC 4963)."""
    reassembly_bytes: int = 1024 * 1024
    """Octets held in fragments altogether."""
    reassembly_bytes_per_source: int = 256 * 1024
    """Octets held in fragments from one address, so that one host cannot push out the others' fragments."""

    # ICMP
    echo_timeout: float = 10.0
    """How long an echo request waits for its reply."""
    icmp_errors_per_second: float = 20.0
    """Errors that we send (RFC 1812 section 4.3.2.8 tells why there must be a limit)."""
    icmp_replies_per_second: float = 200.0
    """Echo replies that we send."""
