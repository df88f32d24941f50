"""How a server that ends a session in order, because of a limit, is told from one that fails."""

from __future__ import annotations

import pytest

from sstpsocks.errors import PeerUnresponsive, SessionLimitReached, TunnelClosed

from .server_script import connected


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("Link inactive", "idle time", id="pppd idle"),
        pytest.param("Connect time expired", "length of a session", id="pppd maxconnect"),
        pytest.param("Idle-Timeout", "idle time", id="RADIUS Idle-Timeout"),
        pytest.param("idle timeout", "idle time", id="idle timeout"),
        pytest.param("Session-Timeout", "length of a session", id="RADIUS Session-Timeout"),
        pytest.param("session timed out", "length of a session", id="session timed out"),
        pytest.param("Time limit exceeded", "length of a session", id="time limit"),
    ],
)
def test_a_limit_that_lcp_names_is_no_failure(text: str, limit: str) -> None:
    script = connected()
    script.play(f"""
        << lcp Terminate-Request 9 {text.encode().hex()}
        !! LinkFailing SessionLimitReached
        >> lcp Terminate-Ack 9
        << sstp CALL_DISCONNECT
        >> sstp CALL_DISCONNECT_ACK
        @5
        !! LinkDown SessionLimitReached
    """)
    error = script.link.error
    assert isinstance(error, SessionLimitReached)
    assert error.may_retry
    assert limit in str(error)
    assert text in str(error)


@pytest.mark.parametrize(
    "text", ["", "Administrator request", "Peer not responding", "Connection timed out", "User request"]
)
def test_other_ends_of_ppp_are_not_taken_for_limits(text: str) -> None:
    script = connected()
    script.play(f"""
        << lcp Terminate-Request 9 {text.encode().hex()}
        !! LinkFailing TunnelClosed
        >> lcp Terminate-Ack 9
        << sstp CALL_DISCONNECT
        >> sstp CALL_DISCONNECT_ACK
        @5
        !! LinkDown
    """)
    assert type(script.link.error) is TunnelClosed
    assert text in str(script.link.error)


def test_a_bare_call_disconnect_is_an_orderly_end() -> None:
    script = connected()
    script.play("""
        << sstp CALL_DISCONNECT
        !! LinkFailing TunnelClosed
        >> sstp CALL_DISCONNECT_ACK
        @5
        !! LinkDown
    """)
    assert script.link.error is not None
    assert "in order: a limit on idle or session time" in script.link.error.hint


def test_an_abort_is_a_failure() -> None:
    script = connected()
    script.play("""
        << raw 1001000800050000
        !! LinkFailing aborted
        >> sstp CALL_ABORT
        @5
        !! LinkDown
    """)
    assert script.link.error is not None
    assert "in order" not in script.link.error.hint


def test_silence_is_a_failure() -> None:
    script = connected()
    script._step("@60", "")
    script._step(">> sstp ECHO_REQUEST", "")
    script._step(">> lcp Echo-Request *", "")
    script.play("""
        @60
        !! LinkFailing PeerUnresponsive
        !! LinkDown PeerUnresponsive
    """)
    assert isinstance(script.link.error, PeerUnresponsive)
