"""The Nagle algorithm, behind its switch (RFC 9293 section 3.7.4)."""

from __future__ import annotations

from sstpsocks.net.tcp.config import TcpConfig
from tests.helpers.tcp_peer import MSS, established

NAGLE = TcpConfig(nagle=True)


def test_it_is_off_for_relayed_data() -> None:
    peer = established()
    for number in range(3):
        peer.connection.send(b"x", peer.now)
        peer.expect("P.", 1 + number, 1, b"x")


def test_small_segments_wait_for_the_acknowledgement_of_what_is_in_flight() -> None:
    peer = established(NAGLE)
    peer.connection.send(b"a", peer.now)
    peer.expect("P.", 1, 1, b"a")
    for letter in (b"b", b"c", b"d"):
        peer.connection.send(letter, peer.now)
        peer.expect_nothing()
    peer.send(".", 1, 2)
    peer.expect("P.", 2, 1, b"bcd")


def test_full_segments_do_not_wait() -> None:
    peer = established(NAGLE)
    peer.connection.send(b"a", peer.now)
    peer.take()
    peer.connection.send(bytes(MSS + 1), peer.now)
    peer.expect(".", 2, 1, bytes(MSS))


def test_the_end_of_the_data_does_not_wait() -> None:
    peer = established(NAGLE)
    peer.connection.send(b"a", peer.now)
    peer.take()
    peer.connection.send(b"b", peer.now)
    peer.connection.shutdown(peer.now)
    (sent,) = peer.take()
    assert sent.payload == b"b"
    assert "F" in sent.flags


def test_a_program_may_switch_it_off_for_one_connection() -> None:
    """MUST-17."""
    peer = established(NAGLE)
    peer.connection.send(b"a", peer.now)
    peer.take()
    peer.connection.send(b"b", peer.now)
    peer.expect_nothing()
    peer.connection.set_nagle(False, peer.now)
    peer.expect("P.", 2, 1, b"b")
