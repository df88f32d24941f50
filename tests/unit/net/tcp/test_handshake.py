"""Opening: RFC 9293 sections 3.5, 3.10.7.2 and 3.10.7.3, RFC 6528, RFC 7323, RFC 5461."""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost, ConnectionRefused, ConnectTimedOut, LocalProtocolError
from sstpsocks.net.icmp import IcmpErrorKind
from sstpsocks.net.tcp.handshake import initial_sequence_number, window_shift_for
from sstpsocks.net.tcp.segment import syn_options
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.tcp_peer import MSS, Peer, established, syn_received, syn_sent

OPTION_MSS, OPTION_WINDOW_SCALE = 2, 3


def test_active_open_sends_syn_with_mss_and_window_scale() -> None:
    peer = Peer(mtu=1400)
    peer.connection.open_active(peer.now)
    peer.expect_state(TcpState.SYN_SENT)
    assert peer.connection.has_urgent_output
    sent = peer.expect("S", 0)
    assert sent.options[OPTION_MSS] == (1360).to_bytes(2, "big")
    # 65536 << 8 is 16 MiB.
    assert sent.options[OPTION_WINDOW_SCALE] == b"\x08"
    assert sent.window == 65535


def test_three_way_handshake_ends_in_a_bare_ack_even_when_data_waits() -> None:
    peer = syn_sent()
    peer.connection.send(b"early", peer.now)
    peer.expect_nothing()
    peer.send("S.", 0, 1, options=syn_options(MSS, 0))
    assert peer.connection.established
    assert peer.connection in peer.host.dirty
    bare, data = peer.take()
    assert (bare.flags, bare.seq, bare.ack, bare.payload) == (".", 1, 1, b"")
    assert (data.flags, data.seq, data.payload) == ("P.", 1, b"early")
    # The window is scaled from now on and the whole first buffer is offered.
    assert bare.window << 8 == 256 * 1024


def test_without_window_scale_in_the_answer_no_window_is_scaled() -> None:
    peer = established(wind_shift=None, window=5000)
    assert peer.connection.snd_wnd == 5000
    peer.connection.send(b"x", peer.now)
    assert peer.take()[0].window == 65535


def test_window_scale_applies_to_all_but_the_syn() -> None:
    peer = established(wind_shift=3, window=5000)
    assert peer.connection.snd_wnd == 5000
    peer.send(".", 1, 1, window=5000)
    assert peer.connection.snd_wnd == 40_000


def test_without_mss_option_536_is_assumed() -> None:
    peer = syn_sent()
    peer.send("S.", 0, 1)
    peer.connection.send(bytes(600), peer.now)
    assert [len(sent.payload) for sent in peer.take()] == [0, 536, 64]


def test_our_segments_fit_the_link_whatever_the_peer_allows() -> None:
    peer = established(mss=9000)
    peer.connection.send(bytes(2000), peer.now)
    assert [len(sent.payload) for sent in peer.take()] == [1360, 640]


def test_data_on_the_syn_ack_is_taken() -> None:
    peer = syn_sent()
    peer.send("S.", 0, 1, b"banner")
    peer.expect(".", 1, 7)
    assert peer.read() == b"banner"


def test_syn_sent_wrong_ack_is_answered_with_a_reset() -> None:
    """RFC 9293 section 3.10.7.3, first: <SEQ=SEG.ACK><CTL=RST>."""
    for wrong in (0, 2, 5000):
        peer = syn_sent()
        peer.send("S.", 0, wrong)
        peer.expect("R", wrong)
        peer.send(".", 0, wrong)
        peer.expect("R", wrong)
        peer.expect_state(TcpState.SYN_SENT)


def test_syn_sent_reset_with_our_ack_refuses() -> None:
    peer = syn_sent()
    peer.send("R.", 0, 1)
    assert isinstance(peer.connection.error, ConnectionRefused)
    peer.expect_state(TcpState.CLOSED)
    assert not peer.host.flows
    assert peer.connection in peer.host.dirty
    assert peer.host.poll_at() is None
    peer.expect_nothing()


def test_syn_sent_reset_without_or_with_a_bad_ack_is_dropped() -> None:
    peer = syn_sent()
    peer.send("R", 0)
    peer.send("R.", 0, 7)
    peer.expect_nothing()
    peer.expect_state(TcpState.SYN_SENT)


def test_syn_sent_resets_without_ack_refuse_when_they_answer_two_syns() -> None:
    """SoftEther's SecureNAT refuses this way; one such reset alone could have come from anybody."""
    peer = syn_sent()
    peer.send("R", 0)
    peer.send("R", 77)
    peer.expect_no_error()
    peer.wait_and_expect(2, "S", 0)
    peer.expect_no_error()
    peer.send("R", 4711)
    assert isinstance(peer.connection.error, ConnectionRefused)
    peer.expect_state(TcpState.CLOSED)


def test_syn_sent_segment_without_syn_is_dropped() -> None:
    peer = syn_sent()
    peer.send(".", 1, 1, b"data")
    peer.send("F.", 1, 1)
    peer.expect_nothing()
    peer.expect_state(TcpState.SYN_SENT)


def test_syn_is_sent_again_after_1_2_4_8_seconds_and_given_up_after_30() -> None:
    peer = syn_sent()
    for expected in (1.0, 2.0, 4.0, 8.0):
        assert peer.wait_and_expect(60, "S", 0) == pytest.approx(expected)
    peer.wait(14.9)
    peer.expect_no_error()
    peer.wait(0.2)
    assert isinstance(peer.connection.error, ConnectTimedOut)
    peer.expect_nothing()
    assert not peer.host.flows


def test_a_lost_syn_makes_the_first_window_one_segment_and_the_rto_3_seconds() -> None:
    """RFC 5681 section 3.1 and RFC 6298 (5.7)."""
    peer = syn_sent()
    peer.wait_and_expect(2, "S", 0)
    peer.send("S.", 0, 1, options=syn_options(MSS, None))
    peer.connection.send(bytes(5000), peer.now)
    _, data = peer.take()
    assert len(data.payload) == MSS
    assert peer.connection.rtt.srtt is None
    peer.wait(60)
    assert peer.now - 11.0 == pytest.approx(3.0)


def test_the_handshake_measures_the_round_trip() -> None:
    peer = established()
    assert peer.connection.rtt.srtt == pytest.approx(0.1)
    assert peer.connection.rtt.rto == pytest.approx(0.3)


def test_how_long_it_took_is_counted_with_lost_syns() -> None:
    peer = syn_sent()
    peer.wait_and_expect(2, "S", 0)
    peer.now += 0.5
    peer.send("S.", 0, 1, options=syn_options(MSS, 0))
    counted = peer.host.counters.tcp_connect_seconds
    assert counted.count == 1
    assert counted.total == pytest.approx(1.5)


def test_simultaneous_open() -> None:
    """RFC 9293 figure 8."""
    peer = syn_received()
    peer.send("S.", 0, 1)
    peer.expect_state(TcpState.ESTABLISHED)
    peer.expect(".", 1, 1)
    peer.send("P.", 1, 1, b"hi")
    assert peer.read() == b"hi"


def test_simultaneous_open_that_ends_with_a_plain_ack() -> None:
    peer = syn_received()
    peer.send(".", 1, 1)
    peer.expect_state(TcpState.ESTABLISHED)
    peer.expect_nothing()


def test_syn_received_a_repeated_syn_is_answered_again() -> None:
    peer = syn_received()
    peer.send("S", 0)
    peer.expect("S.", 0, 1)


def test_syn_received_the_syn_ack_is_retransmitted() -> None:
    peer = syn_received()
    assert peer.wait_and_expect(5, "S.", 0, 1) == pytest.approx(1.0)
    peer.send(".", 1, 1)
    peer.expect_state(TcpState.ESTABLISHED)
    assert peer.connection.rtt.srtt is None


def test_syn_received_bad_ack_gets_a_reset() -> None:
    peer = syn_received()
    peer.send(".", 1, 77)
    peer.expect("R", 77)
    peer.expect_state(TcpState.SYN_RECEIVED)


def test_syn_received_reset_refuses_an_active_open() -> None:
    peer = syn_received()
    peer.send("R", 1)
    assert isinstance(peer.connection.error, ConnectionRefused)


def test_shutdown_before_the_handshake_ends_sends_the_data_and_then_a_fin() -> None:
    peer = syn_sent()
    peer.connection.send(b"one shot", peer.now)
    peer.connection.shutdown(peer.now)
    peer.send("S.", 0, 1)
    _, data = peer.take()
    assert (data.flags, data.payload) == ("FP.", b"one shot")
    peer.expect_state(TcpState.FIN_WAIT_1)


def test_abort_and_detach_while_connecting_leave_nothing() -> None:
    for leave in ("abort", "detach"):
        peer = syn_sent()
        getattr(peer.connection, leave)(peer.now)
        peer.expect_state(TcpState.CLOSED)
        assert isinstance(peer.connection.error, ConnectionLost)
        assert not peer.host.flows
        assert peer.host.poll_at() is None
        peer.expect_nothing()


def test_a_connection_opens_once() -> None:
    peer = syn_sent()
    with pytest.raises(LocalProtocolError):
        peer.connection.open_active(peer.now)


def test_initial_sequence_numbers_move_with_time_and_differ_by_connection() -> None:
    """RFC 6528."""
    first, second = Peer(), Peer()
    one = initial_sequence_number(first.connection, 10.0)
    assert initial_sequence_number(second.connection, 10.0) == one
    assert (initial_sequence_number(first.connection, 11.0) - one) & 0xFFFFFFFF == 250_000
    second.connection.remote = (second.connection.remote[0], 81)
    assert initial_sequence_number(second.connection, 10.0) != one
    first.host.isn_secret = b"another secret.."
    assert initial_sequence_number(first.connection, 10.0) != one


@pytest.mark.parametrize(("size", "shift"), [(0, 0), (65_536, 0), (65_537, 1), (4 << 20, 6), (1 << 40, 14)])
def test_window_shift(size: int, shift: int) -> None:
    assert window_shift_for(size) == shift


def test_icmp_errors_are_ignored_unless_they_quote_our_syn() -> None:
    peer = syn_sent()
    peer.connection.on_icmp_error(IcmpErrorKind.HOST_UNREACHABLE, peer.connection.iss + 1, peer.now)
    peer.connection.on_icmp_error(IcmpErrorKind.TTL_EXCEEDED, peer.connection.iss, peer.now)
    peer.expect_no_error()
    peer.connection.on_icmp_error(IcmpErrorKind.PORT_UNREACHABLE, peer.connection.iss, peer.now)
    assert isinstance(peer.connection.error, ConnectionRefused)
    peer.connection.on_icmp_error(IcmpErrorKind.HOST_UNREACHABLE, peer.connection.iss, peer.now)
    assert isinstance(peer.connection.error, ConnectionRefused)
