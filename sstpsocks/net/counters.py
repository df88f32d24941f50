"""Counters of the stack, named after the MIB objects they are: RFC 4293 (IP, ICMP), RFC 4022 (TCP), RFC 4113 (UDP).

Plain integers that only grow, but for ``tcp_curr_estab``, and one distribution. ``ipSystemStatsInReceives`` is
``ip_in_receives`` here, and so on; those without an object in the RFCs say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..base.histogram import Histogram

CONNECT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from a server in the same building to one that hardly answers."""


@dataclass(slots=True)
class NetCounters:
    """What happened in one stack since it was made."""

    # RFC 4293, ipSystemStatsTable
    ip_in_receives: int = 0
    """Packets received, also those with errors."""
    ip_in_octets: int = 0
    ip_in_hdr_errors: int = 0
    """Dropped: wrong version, lengths or header checksum."""
    ip_in_truncated_pkts: int = 0
    """Dropped: shorter than the header says."""
    ip_in_addr_errors: int = 0
    """Dropped: not addressed to us, or from an address nobody may send from."""
    ip_in_unknown_protos: int = 0
    ip_in_discards: int = 0
    """Dropped without an error of theirs, for want of room."""
    ip_in_delivers: int = 0
    ip_reasm_reqds: int = 0
    """Fragments received."""
    ip_reasm_oks: int = 0
    ip_reasm_fails: int = 0
    """Datagrams given up: time-out, overlap, inconsistent lengths, memory."""
    ip_out_transmits: int = 0
    ip_out_octets: int = 0
    ip_out_discards: int = 0
    """Not sent for want of room in a queue."""
    ip_out_frag_oks: int = 0
    ip_out_frag_creates: int = 0

    # RFC 4293, icmpStatsTable
    icmp_in_msgs: int = 0
    icmp_in_errors: int = 0
    """Dropped: too short or with a wrong checksum."""
    icmp_in_unmatched: int = 0
    """Dropped: about nothing that we sent (no MIB object)."""
    icmp_out_msgs: int = 0
    icmp_out_limited: int = 0
    """Not sent because of the rate limit (no MIB object)."""

    # RFC 4113
    udp_in_datagrams: int = 0
    udp_no_ports: int = 0
    udp_in_errors: int = 0
    """Dropped: wrong length or checksum, or the receiver's queue was full."""
    udp_out_datagrams: int = 0

    # RFC 4022
    tcp_active_opens: int = 0
    tcp_passive_opens: int = 0
    tcp_attempt_fails: int = 0
    tcp_estab_resets: int = 0
    tcp_curr_estab: int = 0
    """A gauge: connections in ESTABLISHED or CLOSE-WAIT."""
    tcp_in_segs: int = 0
    tcp_out_segs: int = 0
    tcp_retrans_segs: int = 0
    tcp_in_errs: int = 0
    """Dropped: wrong checksum or data offset."""
    tcp_out_rsts: int = 0
    tcp_black_holes: int = 0
    """Paths found that drop large segments without a report (RFC 4821; no MIB object)."""
    tcp_ecn_opens: int = 0
    """Connections established that use ECN (RFC 3168; no MIB object)."""
    tcp_ecn_reductions: int = 0
    """Times a congestion window was reduced for an ECN-Echo (no MIB object)."""
    tcp_upload_reductions: int = 0
    """Times a congestion window was reduced because the tunnel's queue had grown long (no MIB object)."""
    tcp_half_open_drops: int = 0
    """Half-open connections that made room for newer ones (no MIB object)."""
    tcp_in_ce_segs: int = 0
    """Segments with data that a router marked as having met congestion (no MIB object)."""
    tcp_in_ece_segs: int = 0
    """Acknowledgements with ECN-Echo (no MIB object)."""
    tcp_keep_alives: int = 0
    """Keep-alive probes sent (no MIB object)."""
    tcp_listen_drops: int = 0
    """SYNs dropped because a backlog was full of connections that nobody accepted (no MIB object)."""
    tcp_memory_discards: int = 0
    """Segments dropped or given up because the stack's memory was short (no MIB object)."""
    tcp_paws_discards: int = 0
    """Dropped: a timestamp older than the one before (RFC 7323 section 5; no MIB object)."""
    tcp_recoveries_undone: int = 0
    """Recoveries from losses that turned out to be none (no MIB object)."""
    tcp_timers_put_off: int = 0
    """Retransmission timers that fired while the outer connection made no progress, and waited (no MIB object)."""

    # Bounds of ours (no MIB objects)
    refused_for_flows: int = 0
    """Connections of programs that were not begun because there were as many as may be."""
    refused_for_half_open: int = 0
    """The same because so many were waiting for their targets' first answer."""
    refused_for_memory: int = 0
    """Connections and UDP sockets of programs that were not opened because the memory of all was used up."""

    tcp_connect_seconds: Histogram = field(default_factory=lambda: Histogram(CONNECT_BOUNDS))
    """How long our own connections took to be established (no MIB object)."""

    @property
    def ip_out_requests(self) -> int:
        """Packets that our own protocols wanted sent, before fragmentation; exact while no reply waits in a queue."""
        return self.ip_out_transmits + self.ip_out_discards + self.ip_out_frag_oks - self.ip_out_frag_creates
