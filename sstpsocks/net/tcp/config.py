"""What can be set about TCP. Seconds and octets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig:
    """Limits and times of every connection of one host; the defaults are meant to be right."""

    connect_timeout: float = 30.0
    """From open_active() to ESTABLISHED; a connection that takes longer fails with ConnectTimedOut."""
    user_timeout: float = 300.0
    """How long sent data may go without any acknowledgement before the connection is given up (R2 of RFC 9293 section
    3.8.3: "SHOULD correspond to at least 100 seconds"; kernels wait 10 to 15 minutes, five are ten retransmissions)."""
    nagle: bool = False
    """Hold small segments back while something is in flight (RFC 896, RFC 9293 section 3.7.4): off, since the programs
    whose data is relayed decided already what to send when."""
    keep_alive: bool = False
    """Probe peers that say nothing for long (RFC 9293 section 3.8.4, MUST-24, MUST-25): off, since the tunnel has echo
    requests of its own and most flows are relayed for programs that know better."""
    keep_alive_idle: float = 7200.0
    """How long nothing must have arrived before the first probe (MUST-28: "MUST default to no less than two hours")."""
    keep_alive_interval: float = 75.0
    """Between probes, as kernels do."""
    keep_alive_probes: int = 9
    """Probes in a row without an answer after which the connection is given up."""
    receive_buffer_initial: int = 256 * 1024
    """In-order octets a new connection holds for its reader: what it offers as its window."""
    receive_buffer_maximum: int = 16 * 1024 * 1024
    """What the receive buffer grows to while the reader keeps up; decides the window scale (RFC 7323)."""
    send_buffer_initial: int = 256 * 1024
    """Octets that send() accepts ahead of the peer's acknowledgements on a new connection."""
    send_buffer_maximum: int = 16 * 1024 * 1024
    """What the send buffer grows to with the congestion window."""
    timestamps: bool = True
    """Offer and take timestamps (RFC 7323): 12 octets of each segment for protection against old duplicates, and
    round-trip times also of what was sent twice."""
    congestion_control: Literal["cubic", "newreno"] = "cubic"
    """How much may be in flight: CUBIC with HyStart++ (RFC 9438, RFC 9406), or NewReno (RFC 5681)."""
    selective_acknowledgments: bool = True
    """Offer and take SACK (RFC 2018), and recover from losses by it; without it NewReno does what it can."""
    ecn: Literal["off", "passive", "active"] = "passive"
    """Explicit congestion notification (RFC 3168): ``passive`` uses it with peers that ask for it, ``active`` asks for
    it too. Passive as in Linux: a network that drops SYNs which ask costs each connection the second until the next
    SYN, which does not."""
    initial_rto: float = 1.0
    """RFC 6298 (2.1)."""
    min_rto: float = 0.2
    """RFC 6298 (2.4) says 1 s; 0.2 s is what kernels have used for decades and the delayed ACKs of today allow."""
    max_rto: float = 60.0
    """RFC 6298 (2.5): "MAY be placed on RTO provided it is at least 60 seconds"."""
    delayed_ack: float = 0.04
    """RFC 9293 section 3.8.6.3 (MUST-40): less than 0.5 s. Kernels use 40 ms, below every peer's minimal RTO."""
    quick_acks: int = 16
    """ACKs that are not delayed at the start of a connection and after it was idle, when the peer is in slow start and
    every ACK opens its window. Kernels send as many."""
    msl: float = 30.0
    """Maximum segment lifetime: TIME-WAIT lasts twice that. RFC 9293 says 2 minutes; 30 s is what kernels use."""
    fin_wait_2_timeout: float = 60.0
    """How long a connection whose owner is gone waits for the peer's FIN."""
    maximum_held_segments: int = 4096
    """Bound on out-of-order pieces of one connection; their octets are bounded by the window."""
