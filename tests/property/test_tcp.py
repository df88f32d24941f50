"""TCP against models: reassembly, the receive run against the slow path, and any segments at all."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sstpsocks.net.receive_run import receive_run
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.reassembly import Reassembly
from sstpsocks.net.tcp.segment import parse_segment, sack_option
from sstpsocks.net.tcp.tcb import Tcb, TcpState
from tests.helpers.tcp_peer import (
    PEER_ISS,
    Peer,
    close_wait,
    closing,
    established,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    syn_received,
    syn_sent,
    time_wait,
)

MASK = 0xFFFFFFFF

# Reassembly


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(1, 40)), max_size=40),
    st.sampled_from([0, 0xFFFFFFF0, 0x7FFFFFC0]),
)
def test_reassembly_gives_every_octet_once_and_in_order(cuts: list[tuple[int, int]], start: int) -> None:
    stream = bytes(range(250)) * 8
    held = Reassembly(limit=1000)
    arrived: set[int] = set()
    delivered = 0
    for begin, size in cuts:
        begin = max(begin, delivered)
        data = memoryview(stream)[begin : begin + size]
        arrived |= set(range(begin, begin + len(data)))
        if begin > delivered:
            assert held.insert((start + begin) & MASK, data, (start + delivered) & MASK)
            continue
        delivered += len(data)
        for piece in held.extract((start + delivered) & MASK):
            assert piece == stream[delivered : delivered + len(piece)]
            delivered += len(piece)
        assert delivered not in arrived
        assert bool(held) == any(number > delivered for number in arrived)


def test_what_follows_each_other_behind_a_hole_takes_few_chunks() -> None:
    """A window of 16 MiB is more segments than chunks may be held."""
    held = Reassembly(limit=20)
    for number in range(1, 1000):
        assert held.insert(number * 1000, memoryview(number.to_bytes(2, "big") * 500), 0)
    pieces = held.extract(1000)
    assert b"".join(pieces) == b"".join(number.to_bytes(2, "big") * 500 for number in range(1, 1000))
    assert not held


# The receive run and the slow path

VARIABLES = {
    name
    for name, kind in vars(Tcb).items()
    # How the interpreted and the compiled class show their attributes.
    if isinstance(kind, (MemberDescriptorType, GetSetDescriptorType)) and not name.startswith("_")
}
PREDICTED = {"rcv_pieces", "rcv_joined", "predictable", "builder", "host", "rtt", "congestion", "reassembly"}
PREDICTED |= {"scoreboard", "rack", "prr", "undo"}
"""What is compared otherwise, or may differ: how the same octets are cut into pieces."""


def state_of(connection: TcpConnection) -> dict[str, Any]:
    state: dict[str, Any] = {name: getattr(connection, name) for name in VARIABLES - PREDICTED}
    state["send_queue"] = connection.send_queue.peek(0, len(connection.send_queue))
    state["error"] = repr(connection.error)
    state["data"] = b"".join(connection.pieces())
    state["rtt"] = repr(connection.rtt)
    state["congestion"] = repr(connection.congestion)
    for name in ("reassembly", "scoreboard", "rack", "prr", "undo"):
        state[name] = repr(getattr(connection, name))
    return state


@dataclass(frozen=True)
class Step:
    """One segment of the peer: mostly what header prediction expects, sometimes not."""

    skip: int
    size: int
    acknowledge: int
    window: int
    flags: str
    corrupt: int
    age: int
    """How many milliseconds its timestamp is older than it should be."""
    ecn: int
    """The ECN codepoint of its packet."""


STEPS = st.builds(
    Step,
    skip=st.sampled_from([0, 0, 0, 0, 0, 0, 100, -50]),
    size=st.sampled_from([0, 1, 100, 500, 1000]),
    acknowledge=st.sampled_from([0, 0, 0, 700, 1000, 5000, -10]),
    window=st.sampled_from([60_000, 60_000, 60_000, 61_000, 500, 0]),
    flags=st.sampled_from([".", ".", ".", ".", "P.", "P.", ".E", ".W", "P.EW", "F.", "R.", "S.", "U.", ""]),
    corrupt=st.sampled_from([-1] * 12 + [8, 10, 26, 33, 40, 43, 52]),
    age=st.sampled_from([0] * 12 + [1, 100, -100, 1 << 31, -1]),
    ecn=st.sampled_from([2, 2, 0, 1, 3, 3]),
)
BATCHES = st.lists(st.lists(STEPS, min_size=1, max_size=12), min_size=1, max_size=6)


class Follower:
    """Turns steps into packets that continue from each other."""

    def __init__(self) -> None:
        self.position = 1
        self.acked = 1

    def packet(self, peer: Peer, step: Step) -> bytes:
        self.acked = max(self.acked + step.acknowledge, 1)
        seq = max(self.position + step.skip, 1)
        if peer.tsval is None or step.age == -1:
            packet = bytearray(peer.packet(step.flags, seq, self.acked, bytes(step.size), step.window, ecn=step.ecn))
        else:
            stamps = ((peer.tsval + int(peer.now * 1000) - step.age) & MASK, peer.tsecr)
            options = struct.pack(">BBBBII", 1, 1, 8, 10, *stamps)
            packet = bytearray(
                peer.packet(step.flags, seq, self.acked, bytes(step.size), step.window, options, step.ecn)
            )
        if 0 <= step.corrupt < len(packet):
            packet[step.corrupt] ^= 0x10
        if step.skip == 0 and step.corrupt < 0:
            self.position = seq + step.size
        return bytes(packet)


def deliver_fast(peer: Peer, packets: list[bytes]) -> None:
    spans = []
    end = 7
    for packet in packets:
        spans.append((end, end + len(packet)))
        end += len(packet)

    def slow(data: bytes, start: int, end: int, now: float) -> None:
        peer.host.receive_packet(data[start:end], now)

    flows = {key: flow for key, flow in peer.host.flows.items() if isinstance(flow, TcpConnection)}
    receive_run(flows, b"header." + b"".join(packets), spans, peer.now, slow)


@settings(deadline=None, max_examples=300)
@given(BATCHES, st.booleans(), st.sampled_from([None, 2]), st.booleans(), st.booleans(), st.booleans())
def test_the_receive_run_leaves_the_state_that_the_slow_path_leaves(
    batches: list[list[Step]], reads: bool, wind_shift: int | None, sack: bool, timestamps: bool, ecn: bool
) -> None:
    config = TcpConfig(receive_buffer_initial=8000, receive_buffer_maximum=8000)
    fast, slow = (
        established(config, wind_shift=wind_shift, sack=sack, timestamps=timestamps, ecn=ecn) for _ in range(2)
    )
    for peer in (fast, slow):
        peer.connection.send(bytes(20_000), peer.now)
        peer.take()
    follower = Follower()
    for batch in batches:
        packets = [follower.packet(fast, step) for step in batch]
        deliver_fast(fast, packets)
        for packet in packets:
            slow.host.receive_packet(packet, slow.now)
        assert state_of(fast.connection) == state_of(slow.connection)
        assert fast.host.flows.keys() == slow.host.flows.keys()
        assert bool(fast.host.dirty) == bool(slow.host.dirty)
        if reads:
            assert fast.read() == slow.read()
        assert fast.take() == slow.take()
        for peer in (fast, slow):
            told, real = peer.host.poll_at(), peer.connection.next_deadline()
            assert real is None or (told is not None and told <= real)
            peer.now += 0.03
            peer.host.handle_timer(peer.now)


@pytest.mark.parametrize(("negotiated", "codepoint"), [(True, 0), (True, 1), (True, 2), (False, 3)])
@pytest.mark.parametrize("timestamps", [False, True])
def test_a_bulk_transfer_never_leaves_the_receive_run(timestamps: bool, negotiated: bool, codepoint: int) -> None:
    peer = established(timestamps=timestamps, ecn=negotiated)
    size = 1052 if timestamps else 1040
    packets = [
        peer.packet("P." if number % 7 else ".", 1 + 1000 * number, 1, bytes(1000), ecn=codepoint)
        for number in range(50)
    ]
    flows = {key: flow for key, flow in peer.host.flows.items() if isinstance(flow, TcpConnection)}

    def slow(data: bytes, start: int, end: int, now: float) -> None:
        raise AssertionError("not predicted")

    spans = [(number * size, (number + 1) * size) for number in range(50)]
    assert receive_run(flows, b"".join(packets), spans, peer.now, slow) == (50, 50 * size)
    assert peer.connection.readable == 50_000
    peer.expect(".", 1, 50_001)


def test_a_mark_or_a_flag_of_ecn_leaves_the_receive_run_alone() -> None:
    """The packets before and after it are still predicted."""
    peer = established(ecn=True)
    packets = [peer.packet(".", 1 + 1000 * number, 1, bytes(1000), ecn=2) for number in range(9)]
    packets[3] = peer.packet(".", 3001, 1, bytes(1000), ecn=3)
    packets[6] = peer.packet(".W", 6001, 1, bytes(1000), ecn=2)
    deliver_fast(peer, packets[:5])
    assert [sent.flags for sent in peer.take()] == [".E"]
    deliver_fast(peer, packets[5:])
    assert [sent.flags for sent in peer.take()] == ["."]
    assert peer.connection.readable == 9000
    assert peer.host.counters.tcp_in_ce_segs == 1


# Anything at all


NUMBERS = st.one_of(
    st.integers(-10, 10),
    st.integers(-5000, 5000),
    st.sampled_from([0x7FFFFFFF, 0x80000000, -0x80000000, 65535, 300_000]),
)
MAKERS = [
    syn_sent, syn_received, established, fin_wait_1, fin_wait_2, close_wait, closing, last_ack, time_wait,
]  # fmt: skip


class AnySegments(RuleBasedStateMachine):
    """A live connection, a peer that does anything, an owner that does anything allowed: nothing raises, all ends."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: Peer = established()

    @rule(maker=st.sampled_from(MAKERS))
    @precondition(lambda self: self.peer.connection.state is TcpState.CLOSED)
    def start_in(self, maker: Any) -> None:
        self.peer = maker()

    @rule(
        flags=st.sets(st.sampled_from("SFRP.UEW")).map(lambda letters: "".join(sorted(letters)) + "."),
        seq=NUMBERS,
        ack=NUMBERS,
        size=st.integers(0, 3000),
        window=st.sampled_from([0, 1, 500, 60_000, 65_535]),
        options=st.sampled_from([b"", bytes(4), b"\x02\x04\x00\x00", b"\x03\x03\xff\x00", b"\xff" * 40]),
        ecn=st.integers(0, 3),
    )
    def near_segment(self, flags: str, seq: int, ack: int, size: int, window: int, options: bytes, ecn: int) -> None:
        """A segment with numbers relative to where both ends are."""
        connection = self.peer.connection
        seq += connection.rcv_nxt - PEER_ISS
        ack += connection.snd_una - connection.iss
        self.peer.send(flags, seq & MASK, ack & MASK, bytes(size), window, options, ecn)

    @rule(data=st.binary(max_size=80), position=st.integers(0, 59), value=st.integers(0, 255))
    def mutated_segment(self, data: bytes, position: int, value: int) -> None:
        connection = self.peer.connection
        packet = bytearray(self.peer.packet("P.", (connection.rcv_nxt - PEER_ISS) & MASK, 1, data))
        packet[min(position, len(packet) - 1)] = value
        connection.receive_segment(bytes(packet), 20, len(packet), self.peer.now)

    @rule(data=st.binary(max_size=60))
    def garbage(self, data: bytes) -> None:
        self.peer.connection.receive_segment(data, 0, len(data), self.peer.now)

    @rule()
    def good_acknowledgement(self) -> None:
        connection = self.peer.connection
        self.peer.send(
            ".", (connection.rcv_nxt - PEER_ISS) & MASK, (connection.snd_max - connection.iss) & MASK, window=60_000
        )

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 5.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.peer.now += seconds
        self.peer.host.handle_timer(self.peer.now)
        deadline = self.peer.host.poll_at()
        assert deadline is None or deadline > self.peer.now

    @rule()
    def output(self) -> None:
        self.peer.take()
        assert not self.peer.connection.has_output()

    @rule(size=st.integers(1, 20_000))
    def owner_sends(self, size: int) -> None:
        if self.peer.connection.send_room() and self.peer.connection.error is None:
            self.peer.connection.send(bytes(size), self.peer.now)

    @rule(share=st.floats(0, 1))
    def owner_reads(self, share: float) -> None:
        self.peer.connection.consume(int(self.peer.connection.readable * share), self.peer.now)

    @rule(verb=st.sampled_from(["shutdown", "detach", "abort"]))
    def owner_ends(self, verb: str) -> None:
        getattr(self.peer.connection, verb)(self.peer.now)

    @invariant()
    def sequence_variables_make_sense(self) -> None:
        connection = self.peer.connection
        flight = (connection.snd_max - connection.snd_una) & MASK
        assert (connection.snd_nxt - connection.snd_una) & MASK <= flight
        assert connection.readable == sum(len(piece) for piece in connection.pieces())
        assert connection.readable <= connection.rcv_capacity + 128 * 40
        assert (connection.rcv_adv - connection.rcv_nxt) & MASK < 1 << 30 or connection.state is TcpState.SYN_SENT
        if connection.state is TcpState.CLOSED:
            assert not self.peer.host.flows
            assert self.peer.host.poll_at() is None
        elif connection.established:
            assert flight <= len(connection.send_queue) + 1

    @invariant()
    def nothing_waits_without_a_timer(self) -> None:
        connection = self.peer.connection
        if connection in self.peer.host.flows.values() and (len(connection.send_queue) or connection.flight_size):
            waits = connection.rto_deadline is not None or connection.persist_deadline is not None
            assert waits or connection.has_output()

    def teardown(self) -> None:
        """Whatever happened, a connection whose owner leaves and whose peer is silent ends."""
        connection = self.peer.connection
        connection.detach(self.peer.now)
        for _ in range(200):
            self.peer.take()
            deadline = self.peer.host.poll_at()
            if deadline is None:
                break
            self.peer.now = max(self.peer.now, deadline)
            self.peer.host.handle_timer(self.peer.now)
        assert connection.state is TcpState.CLOSED


class AnySegmentsWithSack(AnySegments):
    """The same with ECN and a peer that permits SACK and reports anything: the scoreboard stays whole."""

    def __init__(self) -> None:
        super().__init__()
        self.peer = established(sack=True, ecn=True)

    @rule(
        ack=st.integers(0, 3000),
        blocks=st.lists(st.tuples(st.integers(-2000, 12_000), st.integers(-10, 4000)), min_size=1, max_size=4),
    )
    def selective_acknowledgement(self, ack: int, blocks: list[tuple[int, int]]) -> None:
        connection = self.peer.connection
        una = connection.snd_una
        ack = min(ack, connection.flight_size)
        edges = [((una + left) & MASK, (una + left + size) & MASK) for left, size in blocks]
        seq = (connection.rcv_nxt - PEER_ISS) & MASK
        self.peer.send(".", seq, (una - connection.iss + ack) & MASK, options=sack_option(edges))

    @invariant()
    def the_scoreboard_is_what_is_in_flight(self) -> None:
        connection = self.peer.connection
        board = connection.scoreboard
        if board is None:
            return
        assert board.high_data - board.high_ack == connection.flight_size
        edges = [board.high_ack, *(record.end for record in board.records)]
        assert edges == [*(record.start for record in board.records), board.high_data]
        assert board.sacked == sum(record.end - record.start for record in board.records if record.sacked)
        assert board.lost == sum(record.end - record.start for record in board.records if record.lost)
        assert not any(record.sacked and record.lost for record in board.records)
        assert not (connection.in_recovery and connection.rto_recovery)


AnySegments.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestAnySegments = AnySegments.TestCase
AnySegmentsWithSack.TestCase.settings = AnySegments.TestCase.settings
TestAnySegmentsWithSack = AnySegmentsWithSack.TestCase


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=100))
def test_any_octets_parse_or_do_not(data: bytes) -> None:
    segment = parse_segment(data, 0, len(data))
    assert segment is None or len(segment.payload) <= len(data) - 20
