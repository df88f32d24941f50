"""Closing: RFC 9293 sections 3.6, 3.10.4 and 3.10.5, RFC 1122 section 4.2.2.13."""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost, LocalProtocolError
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.tcp_peer import (
    close_wait,
    closing,
    established,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    syn_received,
    synchronized_states,
    time_wait,
)


def test_active_close_goes_through_fin_wait_and_time_wait() -> None:
    peer = fin_wait_2()
    peer.send("F.", 1, 2)
    assert peer.connection.eof
    peer.expect(".", 2, 2)
    peer.expect_state(TcpState.TIME_WAIT)
    peer.wait(59.9)
    peer.expect_state(TcpState.TIME_WAIT)
    peer.wait(0.2)
    peer.expect_state(TcpState.CLOSED)
    peer.expect_no_error()
    assert not peer.host.flows
    assert peer.host.poll_at() is None


def test_passive_close() -> None:
    peer = close_wait()
    assert peer.connection.eof
    peer.connection.send(b"answer", peer.now)
    peer.connection.shutdown(peer.now)
    peer.expect("FP.", 1, 2, b"answer")
    peer.send(".", 2, 8)
    peer.expect_state(TcpState.CLOSED)
    peer.expect_no_error()
    assert not peer.host.flows


def test_simultaneous_close() -> None:
    peer = closing()
    peer.send(".", 2, 2)
    peer.expect_state(TcpState.TIME_WAIT)
    peer.expect_nothing()


def test_fin_that_acknowledges_our_fin_enters_time_wait_at_once() -> None:
    peer = fin_wait_1()
    peer.send("F.", 1, 2)
    peer.expect_state(TcpState.TIME_WAIT)
    peer.expect(".", 2, 2)


def test_half_close_we_still_receive() -> None:
    peer = fin_wait_2()
    peer.send("P.", 1, 2, b"the answer")
    assert peer.read() == b"the answer"
    peer.send("FP.", 11, 2, b" and more")
    assert peer.read() == b" and more"
    assert peer.connection.eof


def test_half_close_we_still_send() -> None:
    peer = close_wait()
    for number in range(3):
        peer.connection.send(b"data", peer.now)
        peer.expect("P.", 1 + 4 * number, 2, b"data")
        peer.send(".", 2, 5 + 4 * number)
    peer.expect_state(TcpState.CLOSE_WAIT)


def test_eof_is_seen_only_when_everything_before_it_was_consumed() -> None:
    peer = established()
    peer.send("FP.", 1, 1, b"last words")
    assert peer.connection.fin_received
    assert not peer.connection.eof
    peer.read()
    assert peer.connection.eof


def test_fin_before_missing_data_waits_for_it() -> None:
    peer = established()
    peer.send("F.", 5, 1, b"late")
    peer.expect(".", 1, 1)
    assert not peer.connection.fin_received
    peer.send(".", 1, 1, b"soon")
    peer.expect(".", 1, 10)
    assert peer.read() == b"soonlate"
    peer.expect_state(TcpState.CLOSE_WAIT)


def test_a_repeated_fin_is_acknowledged_in_every_state() -> None:
    for make in (close_wait, closing, last_ack, time_wait):
        peer = make()
        peer.send("F.", 1, 1)
        assert [(sent.flags[-1], sent.ack) for sent in peer.take()] == [(".", 2)], make.__name__


def test_a_repeated_fin_restarts_time_wait() -> None:
    peer = time_wait()
    peer.wait(50)
    peer.send("F.", 1, 2)
    peer.expect(".", 2, 2)
    peer.wait(50)
    peer.expect_state(TcpState.TIME_WAIT)
    peer.wait(20)
    peer.expect_state(TcpState.CLOSED)


def test_our_fin_is_retransmitted() -> None:
    for make, acknowledged in ((fin_wait_1, 1), (last_ack, 2), (closing, 2)):
        peer = make()
        assert peer.wait_and_expect(1, "F.", 1, acknowledged) > 0.2
        assert peer.wait_and_expect(2, "F.", 1, acknowledged) > 0.4


def test_data_before_our_fin_is_retransmitted_with_it() -> None:
    peer = established()
    peer.connection.send(b"data", peer.now)
    peer.connection.shutdown(peer.now)
    peer.expect("FP.", 1, 1, b"data")
    peer.wait_and_expect(1, "FP.", 1, 1, b"data")
    peer.send(".", 1, 5)
    peer.expect_state(TcpState.FIN_WAIT_1)
    peer.wait_and_expect(2, "F.", 5, 1)
    peer.send(".", 1, 6)
    peer.expect_state(TcpState.FIN_WAIT_2)


def test_nothing_can_be_sent_after_shutdown() -> None:
    peer = fin_wait_1()
    assert peer.connection.send_room() == 0
    with pytest.raises(LocalProtocolError):
        peer.connection.send(b"late", peer.now)
    peer.connection.shutdown(peer.now)
    peer.expect_nothing()


def test_abort_sends_one_reset_and_forgets() -> None:
    for state, peer in synchronized_states().items():
        peer.connection.abort(peer.now)
        peer.expect_state(TcpState.CLOSED)
        assert isinstance(peer.connection.error, ConnectionLost)
        assert not peer.host.flows
        # RFC 9293 section 3.10.5: in the last three states there is nothing left to reset.
        quiet = state in ("CLOSING", "LAST-ACK", "TIME-WAIT")
        assert [sent.flags for sent in peer.take()] == ([] if quiet else ["R."]), state
        peer.connection.abort(peer.now)
        peer.expect_nothing()
        assert peer.host.poll_at() is None


def test_abort_resets_what_was_not_said_yet() -> None:
    peer = close_wait()
    peer.connection.send(bytes(100_000), peer.now)
    peer.connection.shutdown(peer.now)
    peer.take()
    peer.expect_state(TcpState.LAST_ACK)
    peer.connection.abort(peer.now)
    assert [sent.flags for sent in peer.take()] == ["R."]


def test_abort_with_a_reason() -> None:
    peer = established()
    reason = ConnectionLost("the tunnel ended")
    peer.connection.abort(peer.now, reason)
    assert peer.connection.error is reason
    with pytest.raises(ConnectionLost):
        peer.connection.send(b"x", peer.now)


def test_the_reset_of_abort_follows_what_was_sent() -> None:
    peer = established()
    peer.connection.send(b"data", peer.now)
    peer.take()
    peer.connection.abort(peer.now)
    peer.expect("R.", 5, 1)


def test_detach_with_nothing_unread_closes_in_order() -> None:
    peer = established()
    peer.connection.send(b"bye", peer.now)
    peer.connection.detach(peer.now)
    peer.expect("FP.", 1, 1, b"bye")
    peer.send("F.", 1, 5)
    peer.expect(".", 5, 2)
    peer.expect_state(TcpState.TIME_WAIT)


def test_detach_with_unread_data_resets() -> None:
    peer = established()
    peer.send(".", 1, 1, b"nobody reads this")
    peer.connection.detach(peer.now)
    peer.expect("R.", 1, 18)
    assert not peer.host.flows


def test_data_after_detach_is_answered_with_a_reset() -> None:
    for shut_down_first in (False, True):
        peer = established()
        if shut_down_first:
            peer.connection.shutdown(peer.now)
        peer.connection.detach(peer.now)
        peer.expect("F.", 1, 1)
        peer.send(".", 1, 2, b"more")
        peer.expect("R.", 2, 1)
        peer.expect_state(TcpState.CLOSED)


def test_a_detached_connection_does_not_wait_for_ever_in_fin_wait_2() -> None:
    peer = fin_wait_2()
    peer.wait(1000)
    peer.expect_state(TcpState.FIN_WAIT_2)
    peer.connection.detach(peer.now)
    peer.wait(61)
    peer.expect_state(TcpState.CLOSED)
    late = fin_wait_1()
    late.connection.detach(late.now)
    late.send(".", 1, 2)
    late.wait(61)
    late.expect_state(TcpState.CLOSED)


def test_a_detached_connection_is_never_reported_as_dirty() -> None:
    peer = established()
    peer.connection.detach(peer.now)
    peer.take()
    peer.host.dirty.clear()
    peer.send("F.", 1, 2)
    assert peer.host.dirty == []


def test_detach_in_syn_received_resets() -> None:
    peer = syn_received()
    peer.connection.detach(peer.now)
    peer.expect("R.", 1, 1)


def test_received_data_stays_readable_after_a_reset() -> None:
    peer = established()
    peer.send(".", 1, 1, b"result")
    peer.send("R", 7)
    assert isinstance(peer.connection.error, ConnectionLost)
    assert peer.read() == b"result"


def test_fin_counts_as_news() -> None:
    peer = established()
    peer.host.dirty.clear()
    peer.send("F.", 1, 1)
    assert peer.host.dirty == [peer.connection]


def test_every_state_is_named_in_the_repr() -> None:
    for state, peer in synchronized_states().items():
        assert state in repr(peer.connection)
