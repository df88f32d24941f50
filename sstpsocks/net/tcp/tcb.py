"""The transmission control block: every state variable of a connection (RFC 9293 section 3.3.1).

The other modules of this package are functions over it, cut by topic: handshake, receive, send, recovery. None of
them calls the stack: they change the variables here, and the connection reports to the stack once per call what came
of it (news for the owner, output, the next deadline).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from ...base.bytequeue import ByteQueue
from ...base.seqnum import MASK
from ...errors import SstpsocksError
from ..address import IPAddress
from .builder import packet_builder
from .congestion import CongestionControl, NewReno
from .host import TcpHost
from .prr import Prr
from .rack import Rack
from .reassembly import Reassembly
from .rtt import RttEstimator
from .scoreboard import Scoreboard
from .undo import Undo

if TYPE_CHECKING:
    from .black_hole import BlackHole
    from .listener import TcpListener

MINIMUM_MSS: Final = 48
"""A peer's MSS option below this is taken as this: smaller segments would be all header."""
DEFAULT_MSS: Final = 536
"""RFC 9293 section 3.7.1 (MUST-15): what "TCP implementations MUST assume" over IPv4 without an MSS option."""
DEFAULT_MSS_IPV6: Final = 1220
"""The same over IPv6: the minimum MTU of 1280 octets less 60."""


class TcpState(Enum):
    """RFC 9293 section 3.3.2."""

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"

    # Members are single objects. Enum's own hash is a Python function, and every segment asks for sets of states.
    __hash__ = object.__hash__


_COUNTED: Final = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})
"""RFC 4022, tcpCurrEstab: "the current state is either ESTABLISHED or CLOSE-WAIT"."""


class Tcb:
    """State of one connection. Times are seconds, sizes octets, sequence numbers integers modulo 2**32."""

    __slots__ = (
        "ack_now",
        "bare_ack_first",
        "before_upload_reduction",
        "black_hole",
        "builder",
        "challenge_acks",
        "challenge_period_end",
        "charged",
        "congestion",
        "connect_deadline",
        "consumed_in_round",
        "cwr_due",
        "cwr_end",
        "default_mss",
        "delack_deadline",
        "detached",
        "dirty",
        "dsack",
        "dupacks",
        "ecn",
        "ecn_echo",
        "ect",
        "error",
        "established",
        "fin_acked",
        "fin_queued",
        "fin_received",
        "fin_seq",
        "host",
        "in_order_run",
        "in_recovery",
        "inflation",
        "interactive",
        "irs",
        "iss",
        "keep_alive_deadline",
        "keep_alive_due",
        "keep_alive_probes",
        "large_flight",
        "last_ack_sent",
        "last_heard",
        "last_received",
        "last_sent",
        "link_mss",
        "listener",
        "local",
        "max_snd_wnd",
        "nagle",
        "option_size",
        "partial_acks",
        "path_mss",
        "persist_deadline",
        "predictable",
        "probes",
        "prr",
        "put_off_since",
        "put_off_until",
        "quick_acks",
        "rack",
        "rack_deadline",
        "rcv_adv",
        "rcv_capacity",
        "rcv_joined",
        "rcv_nxt",
        "rcv_pieces",
        "rcv_wind_shift",
        "readable",
        "reassembly",
        "recover",
        "remote",
        "replies",
        "rescue_rxt",
        "retransmissions",
        "room_wanted",
        "round_began",
        "rto_deadline",
        "rto_recovery",
        "rtt",
        "rtt_round_end",
        "sack_permitted",
        "scoreboard",
        "send_head",
        "send_queue",
        "sent_again_at",
        "snd_max",
        "snd_mss",
        "snd_nxt",
        "snd_una",
        "snd_wind_shift",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "stalled_since",
        "state",
        "syn_pending",
        "syn_reset_bare",
        "syn_transmissions",
        "timed_at",
        "timed_end",
        "timeouts",
        "timestamps",
        "tlp_deadline",
        "tlp_due",
        "tlp_end_seq",
        "tlp_is_retrans",
        "ts_ecr",
        "ts_offset",
        "ts_recent",
        "ts_recent_age",
        "unacked_segments",
        "undo",
        "upload_reduction",
        "upload_ssthresh",
        "user_timeout",
        "wait_deadline",
    )

    def __init__(self, host: TcpHost, local: tuple[IPAddress, int], remote: tuple[IPAddress, int]) -> None:
        config = host.config
        self.host = host
        """The stack: settings, counters and randomness."""
        self.local = local
        """Our address and port."""
        self.remote = remote
        """The peer's address and port."""
        self.builder = packet_builder(local[0].packed, local[1], remote[0].packed, remote[1], host.isn_secret)
        """Writes our packets."""
        self.listener: TcpListener | None = None
        """Who waits for this connection to be established; None for an active open and after accept()."""

        self.state = TcpState.CLOSED
        """Where in figure 5 of RFC 9293 we are; change it with enter()."""
        self.established = False
        """Whether the handshake was ever completed."""
        self.error: SstpsocksError | None = None
        """Why the connection ended, when it did not end in order."""
        self.detached = False
        """The owner is gone: nobody will read what arrives."""
        self.dirty = False
        """There is news for the owner; cleared when reported."""
        self.predictable = False
        """A segment of pure header prediction may be handled by the receive run; recomputed after everything else."""

        # Send sequence variables
        self.iss = 0
        """ISS: initial send sequence number."""
        self.snd_una = 0
        """SND.UNA: oldest unacknowledged sequence number; send_queue begins here once the SYN is acknowledged."""
        self.snd_nxt = 0
        """SND.NXT: the next to send; falls back to snd_una when the retransmission timer fires."""
        self.snd_max = 0
        """The highest sequence number sent, plus one; what the peer may acknowledge up to."""
        self.snd_wnd = 0
        """SND.WND: the window the peer offers from snd_una on, scaled."""
        self.max_snd_wnd = 0
        """The largest window the peer ever offered (RFC 9293 section 3.8.6.2.1, RFC 5961 section 5.2)."""
        self.snd_wl1 = 0
        """SND.WL1: sequence number of the segment that set snd_wnd last."""
        self.snd_wl2 = 0
        """SND.WL2: acknowledgement number of that segment."""
        self.snd_wind_shift = 0
        """Snd.Wind.Shift: how far windows that we receive are shifted left (RFC 7323)."""
        self.link_mss = host.mss + 40 - self.builder.HEADERS
        """The segment without options that fits the link, told the peer in our SYN (RFC 6691)."""
        self.path_mss = self.link_mss
        """What fits the path to the peer, as far as it is known."""
        self.default_mss = DEFAULT_MSS if local[0].version == 4 else DEFAULT_MSS_IPV6
        """What is assumed without an MSS option, and believed to fit every path."""
        self.snd_mss = min(self.default_mss, self.path_mss)
        """Eff.snd.MSS: the largest payload we send (RFC 6691)."""
        self.black_hole: BlackHole | None = None
        """What is known when large segments were lost on the way again and again; None: nothing was."""
        self.option_size = 0
        """Octets of options in every segment, which snd_mss leaves room for: those of timestamps."""
        self.send_queue = ByteQueue()
        """Data from snd_una on: sent and unacknowledged, then unsent."""
        self.fin_queued = False
        """A FIN follows the data of send_queue."""
        self.fin_acked = False
        """The peer acknowledged our FIN."""
        self.nagle = config.nagle
        """Small segments wait while something is in flight."""
        self.room_wanted = False
        """send() filled the buffer, so the owner may be waiting for room."""

        # Loss recovery
        self.rtt = RttEstimator(config.initial_rto, config.min_rto, config.max_rto)
        """The round-trip time and the retransmission timeout."""
        self.congestion: CongestionControl = NewReno(self.snd_mss)
        """The congestion window; made anew when the MSS is known."""
        self.dupacks = 0
        """Duplicate ACKs in a row."""
        self.in_recovery = False
        """Fast recovery is under way (RFC 6582)."""
        self.inflation = 0
        """Octets added to cwnd for segments that duplicate ACKs prove to have left the network."""
        self.recover = 0
        """RFC 6582: snd_max when recovery began or the timer fired."""
        self.partial_acks = 0
        """Partial acknowledgements in this recovery."""
        self.scoreboard: Scoreboard | None = None
        """What was sent and what arrived of it; None without SACK, when recovery is NewReno's."""
        self.rack = Rack()
        """Tells by time what is lost (RFC 8985)."""
        self.prr = Prr()
        """The pace of fast recovery with SACK (RFC 9937)."""
        self.undo = Undo()
        """What is needed to take back a recovery that was not necessary."""
        self.rto_recovery = False
        """With SACK: recovery after a retransmission timeout, until ``recover`` is acknowledged."""
        self.rescue_rxt: int | None = None
        """RescueRxt of RFC 6675, as a position of the scoreboard; None before a recovery's first retransmission."""
        self.tlp_end_seq: int | None = None
        """TLP.end_seq of RFC 8985: the position of SND.MAX when a tail loss probe was sent that is unanswered."""
        self.tlp_is_retrans = False
        """TLP.is_retrans: that probe was a retransmission."""
        self.tlp_due = False
        """A tail loss probe is to be sent now."""
        self.rtt_round_end = 0
        """With SACK: the position whose delivery ends the present round trip, and may be measured."""
        self.send_head = False
        """Send one segment from snd_una now, whatever the windows say: retransmission or window probe."""
        self.sent_again_at = 0.0
        """When our SYN, or because of send_head the segment at snd_una, was sent last."""
        self.timed_end: int | None = None
        """Sequence number whose acknowledgement ends the round-trip measurement under way."""
        self.timed_at = 0.0
        """When the segment that is measured was sent."""
        self.timeouts = 0
        """Retransmission timeouts in a row."""
        self.probes = 0
        """Window probes in a row; each doubles the time to the next."""
        self.user_timeout = config.user_timeout
        """USER_TIMEOUT of RFC 5482: how long sent data may go unacknowledged before the connection is given up."""
        self.stalled_since = 0.0
        """Since when sent data waits for a sign of life; measured against user_timeout."""
        self.retransmissions = 0
        """Segments that were sent again, all in all."""
        self.last_sent = 0.0
        """When data was sent last."""

        # Receive sequence variables
        self.irs = 0
        """IRS: initial receive sequence number."""
        self.rcv_nxt = 0
        """RCV.NXT: next sequence number expected."""
        self.rcv_adv = 0
        """RCV.NXT + RCV.WND: the right edge of the window we offered; never moves left."""
        self.rcv_wind_shift = 0
        """Rcv.Wind.Shift: how far windows that we offer are shifted right (RFC 7323)."""
        self.rcv_capacity = config.receive_buffer_initial
        """In-order octets we are willing to hold; grows while the reader keeps up."""
        self.rcv_pieces: list[memoryview] = []
        """In-order data the owner has not consumed."""
        self.rcv_joined = 0
        """How many of the first pieces were joined already (see receive.join_leftovers)."""
        self.readable = 0
        """Octets in rcv_pieces."""
        self.reassembly = Reassembly(config.maximum_held_segments)
        """Data behind a hole."""
        self.sack_permitted = False
        """Both ends allowed selective acknowledgements (RFC 2018)."""
        self.dsack: list[tuple[int, int]] = []
        """What arrived a second time and is still to be reported (RFC 2883), as sequence numbers."""
        self.fin_seq: int | None = None
        """Sequence number of the peer's FIN, once a segment showed it."""
        self.fin_received = False
        """The peer's FIN arrived in order: nothing more will come."""
        self.charged = 0
        """Octets that the connection is charged for in the stack's memory (net/memory.py)."""
        self.consumed_in_round = 0
        """Octets the owner consumed since round_began, for the growth of rcv_capacity."""
        self.round_began = 0.0
        """When the present measurement of the owner's speed began."""

        # Timestamps
        self.timestamps = False
        """Snd.TS.OK: both SYNs had the option, so every segment has it (RFC 7323 section 3.2)."""
        self.ts_offset = 0
        """What is added to our clock for TSval."""
        self.ts_recent = 0
        """TS.Recent: the timestamp that our segments echo, and that PAWS compares with."""
        self.ts_recent_age = 0.0
        """When TS.Recent was taken."""
        self.ts_ecr = 0
        """TSecr of the segment that is processed, or was last."""
        self.last_ack_sent = 0
        """Last.ACK.sent: the acknowledgement number that we sent last."""

        # Explicit congestion notification (ecn.py)
        self.ecn = False
        """ECN is used on the connection; before it is established, we have offered to."""
        self.ect = False
        """Our new data is marked as ECT(0), and the peer's ECN-Echo means something."""
        self.ecn_echo = False
        """A segment with CE arrived and none with CWR since: everything we send says ECN-Echo."""
        self.cwr_due = False
        """The window was reduced: the next segment with new data says CWR."""
        self.cwr_end: int | None = None
        """SND.MAX when the window was reduced last, or when CWR was said; None once that is passed."""
        self.upload_reduction = 0
        """The number of the reduction for the sake of the tunnel's queue that was made last (upload.py)."""
        self.before_upload_reduction: CongestionControl | None = None
        """What it was before; None where that is not to come back."""
        self.upload_ssthresh = 0
        """ssthresh after it."""

        # Acknowledgements and other output
        self.ack_now = False
        """An ACK is due now."""
        self.bare_ack_first = False
        """The handshake's ACK goes out without data (SoftEther's SecureNAT loses data on it)."""
        self.unacked_segments = 0
        """Data segments received since we sent an ACK."""
        self.large_flight = True
        """Many segments arrive in a round trip, or it is short."""
        self.in_order_run = 0
        """Data segments acknowledged in order since the last disturbance; decides how often we acknowledge."""
        self.last_received = float("-inf")
        """When data arrived in order last."""
        self.interactive = False
        """The data before that was answered so soon that a delayed ACK rode on the answer; it may again."""
        self.quick_acks = 0
        """ACKs still to be sent at once, as the peer may be in slow start."""
        self.syn_pending = False
        """Our SYN, or SYN and ACK, must be sent."""
        self.syn_transmissions = 0
        """How often it was sent."""
        self.syn_reset_bare = 0
        """The value of syn_transmissions when a reset without ACK first answered our SYN; 0: none did."""
        self.challenge_acks = 0
        """Challenge ACKs in the present period (RFC 5961 section 7)."""
        self.challenge_period_end = 0.0
        """When the count starts anew."""
        self.replies: list[bytes] = []
        """Whole packets to be sent before anything else: resets."""

        # Keep-alive
        self.last_heard = 0.0
        """When a segment arrived last."""
        self.keep_alive_probes = 0
        """Probes in a row that were not answered."""
        self.keep_alive_due = False
        """A probe is to be sent."""

        # Deadlines, None when not running
        self.keep_alive_deadline: float | None = None
        """Keep-alive timer; None also when keep-alive is off."""
        self.connect_deadline: float | None = None
        """When an unfinished handshake is given up."""
        self.put_off_since = 0.0
        """When the retransmission timer was started that now waits for the outer connection."""
        self.put_off_until: float | None = None
        """The value of rto_deadline when it was last put off for that."""
        self.rto_deadline: float | None = None
        """Retransmission timer."""
        self.tlp_deadline: float | None = None
        """PTO timer of the tail loss probe."""
        self.rack_deadline: float | None = None
        """RACK reordering timer."""
        self.persist_deadline: float | None = None
        """Window probe timer."""
        self.delack_deadline: float | None = None
        """Delayed ACK timer."""
        self.wait_deadline: float | None = None
        """TIME-WAIT, or FIN-WAIT-2 without an owner."""

    @property
    def flight_size(self) -> int:
        """FlightSize of RFC 5681: what is sent and not acknowledged, SYN and FIN included."""
        return (self.snd_max - self.snd_una) & MASK

    def enter(self, state: TcpState) -> None:
        """Change the state and keep the gauge of established connections."""
        self.host.counters.tcp_curr_estab += (state in _COUNTED) - (self.state in _COUNTED)
        self.state = state

    def close(self) -> None:
        """Delete the TCB: no timers, no output; what the owner has not read yet stays readable."""
        self.enter(TcpState.CLOSED)
        self.connect_deadline = self.rto_deadline = self.persist_deadline = None
        self.keep_alive_deadline = None
        self.keep_alive_due = False
        self.delack_deadline = self.wait_deadline = self.tlp_deadline = self.rack_deadline = None
        self.send_queue.clear()
        self.reassembly.clear()
        self.scoreboard = None
        self.ack_now = self.bare_ack_first = self.syn_pending = self.send_head = self.tlp_due = False
        self.dirty = True

    def enter_time_wait(self, now: float) -> None:
        """Section 3.10.7.4: "enter the TIME-WAIT state, start the time-wait timer, turn off the other timers"."""
        self.enter(TcpState.TIME_WAIT)
        self.rto_deadline = self.persist_deadline = self.tlp_deadline = self.rack_deadline = None
        self.keep_alive_deadline = None
        self.wait_deadline = now + 2 * self.host.config.msl

    def fail(self, error: SstpsocksError) -> None:
        """Delete the TCB and tell the owner why."""
        counters = self.host.counters
        if self.state in (TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
            # RFC 4022, tcpAttemptFails
            counters.tcp_attempt_fails += 1
        elif self.state in _COUNTED:
            # RFC 4022, tcpEstabResets
            counters.tcp_estab_resets += 1
        self.error = error
        self.close()

    def reply(self, packet: bytes) -> None:
        """Queue a packet that needs no further state; a flood of causes does not make a queue of effects."""
        if len(self.replies) < 4:
            self.replies.append(packet)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline."""
        earliest = self.rto_deadline
        for deadline in (
            self.delack_deadline,
            self.tlp_deadline,
            self.rack_deadline,
            self.persist_deadline,
            self.connect_deadline,
            self.wait_deadline,
            self.keep_alive_deadline,
        ):
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest
