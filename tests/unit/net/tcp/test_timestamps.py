"""Timestamps and PAWS (RFC 7323 sections 3 to 5)."""

from __future__ import annotations

import struct

import pytest

from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.segment import sack_option, syn_options
from sstpsocks.net.tcp.timestamps import OUTDATED
from tests.helpers.tcp_peer import MASK, MSS, Peer, Sent, established, syn_sent


def stamps(sent: Sent) -> tuple[int, int] | None:
    """TSval and TSecr."""
    option = sent.options.get(8)
    return struct.unpack(">II", option) if option is not None else None


def stamped(peer: Peer, age: int = 0, tsecr: int | None = None) -> bytes:
    """The option as the peer would send it ``age`` milliseconds ago."""
    assert peer.tsval is not None
    tsval = (peer.tsval + int(peer.now * 1000) - age) & MASK
    return struct.pack(">BBBBII", 1, 1, 8, 10, tsval, peer.tsecr if tsecr is None else tsecr)


def tsval_now(peer: Peer) -> int:
    assert peer.tsval is not None
    return (peer.tsval + int(peer.now * 1000)) & MASK


def test_the_syn_offers_them() -> None:
    """Section 3.2: TSecr is zero in a SYN."""
    peer = Peer()
    peer.connection.open_active(peer.now)
    offered = stamps(peer.expect("S", 0))
    assert offered is not None
    assert offered[1] == 0


def test_the_syn_ack_has_them_only_when_the_syn_had() -> None:
    for timestamps in (None, (77, 0)):
        peer = syn_sent()
        peer.send("S", 0, options=syn_options(MSS, None, timestamps=timestamps))
        answer = stamps(peer.expect("S.", 0, 1))
        assert (answer and answer[1]) == (timestamps and 77)


def test_they_can_be_switched_off() -> None:
    peer = established(TcpConfig(timestamps=False), timestamps=True)
    peer.connection.send(b"x", peer.now)
    assert stamps(peer.expect("P.", 1, 1, b"x")) is None


def test_every_segment_has_them_and_room_for_them() -> None:
    """Section 3.2: "the TSopt MUST be sent in every non-<RST> segment"; RFC 6691: the MSS does not count options."""
    peer = established(timestamps=True)
    peer.connection.send(bytes(3 * MSS), peer.now)
    sent = peer.take()
    assert [len(one.payload) for one in sent] == [MSS - 12, MSS - 12, MSS - 12, 36]
    assert all(stamps(one) is not None for one in sent)
    echoed = tsval_now(peer)
    peer.send("P.", 1, 1, b"x")
    peer.wait(1)
    (ack,) = peer.take()
    assert stamps(ack) == (peer.tsecr, echoed)


def test_the_clock_counts_milliseconds_from_a_place_of_its_own() -> None:
    peer = established(timestamps=True)
    peer.connection.send(b"x", peer.now)
    peer.take()
    before = peer.tsecr
    peer.now += 0.25
    peer.connection.send(b"x", peer.now)
    peer.take()
    assert (peer.tsecr - before) & MASK == 250
    assert before != int((peer.now - 0.25) * 1000)


def test_the_earliest_segment_is_echoed_when_acks_are_delayed() -> None:
    """Section 4.3, situation (A)."""
    peer = established(timestamps=True)
    first = tsval_now(peer)
    peer.send(".", 1, 1, bytes(100))
    peer.now += 0.01
    peer.send(".", 101, 1, bytes(100))
    (ack,) = peer.take()
    echoed = stamps(ack)
    assert echoed is not None
    assert echoed[1] == first


def test_a_segment_behind_a_hole_is_not_echoed_and_what_fills_the_hole_is() -> None:
    """Section 4.3, situations (B) and (C)."""
    peer = established(timestamps=True)
    before = tsval_now(peer)
    peer.now += 0.01
    peer.send(".", 101, 1, bytes(100))
    echoed = stamps(peer.take()[0])
    assert echoed is not None
    assert echoed[1] <= before
    peer.now += 0.01
    peer.send(".", 1, 1, bytes(100))
    echoed = stamps(peer.take()[0])
    assert echoed is not None
    assert echoed[1] == tsval_now(peer)


def test_an_older_timestamp_is_not_accepted_and_acknowledged() -> None:
    """Section 5.3 R1: an old duplicate whose sequence number fits again."""
    peer = established(timestamps=True)
    peer.send(".", 1, 1, b"old", options=stamped(peer, age=1))
    peer.expect(".", 1, 1)
    assert peer.connection.readable == 0
    assert peer.host.counters.tcp_paws_discards == 1
    peer.send(".", 1, 1, b"new")
    assert peer.read() == b"new"


def test_a_reset_is_not_judged_by_its_timestamp() -> None:
    """Section 5.2."""
    peer = established(timestamps=True)
    peer.send("R.", 1, 1, options=stamped(peer, age=1000))
    assert peer.connection.error is not None


def test_a_segment_without_timestamps_is_dropped_silently() -> None:
    """Section 3.2: it SHOULD be dropped, and MUST NOT abort the connection."""
    peer = established(timestamps=True)
    peer.tsval = None
    peer.send(".", 1, 1, b"bare")
    peer.expect_nothing()
    peer.expect_no_error()
    assert peer.connection.readable == 0
    peer.send("R.", 1, 1)
    assert peer.connection.error is not None


def test_after_24_days_the_last_timestamp_says_nothing() -> None:
    """Section 5.5."""
    peer = established(timestamps=True)
    peer.now += OUTDATED + 1
    peer.send(".", 1, 1, b"late", options=stamped(peer, age=int(OUTDATED * 1000) + 5000))
    assert peer.read() == b"late"


def test_what_was_sent_twice_is_measured_too() -> None:
    """Section 4: the echo tells which transmission was acknowledged, so Karn's algorithm is not needed."""
    peer = established(timestamps=True)
    rtt = peer.connection.rtt
    peer.connection.send(b"x", peer.now)
    peer.take()
    assert peer.wait_and_expect(1, "P.", 1, 1, b"x") == pytest.approx(0.3)
    assert rtt.rto == pytest.approx(0.6)
    peer.now += 0.1
    peer.send(".", 1, 2)
    assert rtt.rto < 0.4
    assert rtt.srtt == pytest.approx(0.1, abs=0.002)


def test_an_impossible_echo_is_not_believed() -> None:
    peer = established(timestamps=True)
    peer.connection.send(b"x", peer.now)
    peer.take()
    peer.wait(1)
    peer.take()
    peer.now += 0.1
    peer.send(".", 1, 2, options=stamped(peer, tsecr=(peer.tsecr + 5000) & MASK))
    assert peer.connection.rtt.srtt == pytest.approx(0.1)


def test_three_sack_blocks_fit_beside_them() -> None:
    """RFC 2018 section 3."""
    peer = established(timestamps=True, sack=True)
    for block in range(5):
        peer.send(".", 1001 + 2000 * block, 1, bytes(100))
    (ack,) = peer.take()
    assert stamps(ack) is not None
    assert len(ack.sack) == 3


def test_the_peer_may_report_blocks_beside_them() -> None:
    peer = established(timestamps=True, sack=True)
    peer.connection.send(bytes(5 * MSS), peer.now)
    peer.take()
    edge = (peer.connection.iss + 1 + 2 * (MSS - 12)) & MASK
    peer.send(".", 1, 1, options=stamped(peer) + sack_option([(edge, (edge + MSS - 12) & MASK)]))
    assert peer.connection.scoreboard is not None
    assert peer.connection.scoreboard.sacked == MSS - 12
