"""Paths that drop large packets and do not say so (RFC 4821)."""

from __future__ import annotations

from sstpsocks.net.tcp.black_hole import FAILED_PROBE, FIRST_PROBE, MAX_PROBES, BlackHole
from tests.helpers.netsim import LEFT, RIGHT, Path, Program, Simulation
from tests.helpers.tcp_peer import Peer, established

DATA = bytes(range(256)) * 4096
MSS = 1360
SMALLER = 1200 - 40
SMALLEST = 536


def stuck(timeouts: int, *, sack: bool = False) -> Peer:
    """Full segments of 1360 were sent, and timed out so many times."""
    peer = established(mss=MSS, sack=sack)
    peer.connection.send(bytes(30 * MSS), peer.now)
    peer.take()
    for _ in range(timeouts):
        count = peer.connection.timeouts
        while peer.connection.timeouts == count:
            peer.wait(60)
            sent = peer.take()
    assert len(sent[0].payload) == peer.connection.snd_mss
    return peer


def acknowledge_all(peer: Peer) -> None:
    """The peer acknowledges what is sent until all is."""
    connection = peer.connection
    while connection.unsent_and_unacknowledged:
        peer.now += 0.05
        peer.send(".", 1, (connection.snd_max - connection.iss) & 0xFFFFFFFF)
        peer.take()


def test_two_timeouts_in_a_row_make_segments_smaller() -> None:
    for sack in (False, True):
        assert stuck(1, sack=sack).connection.snd_mss == MSS
        assert stuck(2, sack=sack).connection.snd_mss == SMALLER
        assert stuck(3, sack=sack).connection.snd_mss == SMALLER
        assert stuck(4, sack=sack).connection.snd_mss == SMALLEST
        assert stuck(6, sack=sack).connection.snd_mss == SMALLEST


def test_small_segments_that_time_out_change_nothing() -> None:
    peer = established(mss=MSS)
    peer.connection.send(bytes(500), peer.now)
    peer.take()
    for _ in range(4):
        peer.wait(60)
        peer.take()
    assert peer.connection.snd_mss == MSS
    assert peer.host.path_mtus == []


def test_the_destination_is_remembered_when_a_smaller_segment_arrives() -> None:
    peer = stuck(2)
    assert peer.host.path_mtus == []
    peer.send(".", 1, 1 + SMALLER)
    assert peer.host.path_mtus == [1200]
    assert peer.host.counters.tcp_black_holes == 1


def probe(peer: Peer) -> list[int]:
    """Have plenty to send and return the sizes of what leaves."""
    peer.connection.send(bytes(20 * MSS), peer.now)
    return [len(sent.payload) for sent in peer.take()]


def test_a_probe_that_arrives_brings_the_old_size_back() -> None:
    peer = stuck(2)
    acknowledge_all(peer)
    assert set(probe(peer)[:-1]) == {SMALLER}
    acknowledge_all(peer)
    peer.now += FIRST_PROBE
    sizes = probe(peer)
    assert sizes[0] == MSS
    assert max(sizes[1:]) == SMALLER
    acknowledge_all(peer)
    assert peer.connection.snd_mss == MSS
    assert peer.connection.black_hole is None


def lose_first(peer: Peer) -> None:
    """The first segment of what was just sent is lost, the others arrive; then all is repaired."""
    una = (peer.connection.snd_una - peer.connection.iss) & 0xFFFFFFFF
    for _ in range(4):
        peer.send(".", 1, una)
    assert max(len(sent.payload) for sent in peer.take()) <= SMALLER
    acknowledge_all(peer)


def test_probes_that_are_lost_narrow_the_search() -> None:
    """RFC 8899 section 5.3.1, MAX_PROBES; after that the middle is tried."""
    peer = stuck(2)
    acknowledge_all(peer)
    for _ in range(MAX_PROBES):
        peer.now += FIRST_PROBE
        assert probe(peer)[0] == MSS
        lose_first(peer)
        assert peer.connection.snd_mss == SMALLER
    peer.now += FIRST_PROBE
    assert probe(peer)[0] == SMALLER
    acknowledge_all(peer)
    peer.now += FAILED_PROBE
    middle = (SMALLER + MSS) // 2
    assert probe(peer)[0] == middle
    acknowledge_all(peer)
    assert peer.connection.snd_mss == middle
    assert "search_high 1359" in repr(peer.connection.black_hole)


def test_there_is_one_probe_at_a_time_and_none_without_data_behind_it() -> None:
    peer = stuck(2)
    acknowledge_all(peer)
    peer.now += FIRST_PROBE
    peer.connection.send(bytes(2 * MSS), peer.now)
    assert max(len(sent.payload) for sent in peer.take()) == SMALLER
    acknowledge_all(peer)
    assert probe(peer).count(MSS) == 1
    assert isinstance(peer.connection.black_hole, BlackHole)


def test_a_transfer_through_a_black_hole_completes_and_the_next_begins_with_what_passes() -> None:
    simulation = Simulation(Path(mtu_blackhole=1280), mtu=1400)
    near, far = simulation.connect()
    sender, receiver = Program(near, DATA), Program(far)
    simulation.programs += [sender, receiver]
    simulation.run(lambda: len(receiver.received) == len(DATA), limit=60)
    assert bytes(receiver.received) == DATA
    assert near.local[0] == LEFT
    assert simulation.left.counters.tcp_black_holes == 1
    again = simulation.left.connect_tcp(RIGHT, 81, simulation.now)
    assert again.path_mss == SMALLER
