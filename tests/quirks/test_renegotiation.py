"""Sessions in which the server negotiates LCP or IPCP anew, or has the client log in again."""

from __future__ import annotations

import pytest

from sstpsocks.link import LinkPhase
from sstpsocks.ppp.auth import AuthMethod

from .server_script import CALL, LOGIN, ServerScript, connected

IP_PACKET = bytes.fromhex("4500001c00000000401166cd0a0000020a0000010035003500080000")


def carries_ip(script: ServerScript) -> bool:
    """Whether packets pass both ways; a client that is waiting lets none of either through."""
    script.packets.clear()
    script.receive_ip(IP_PACKET)
    assert bool(script.packets) is script.link.carries_ip
    return script.link.carries_ip


def test_ipcp_negotiated_anew_with_the_same_address_only_pauses_the_session() -> None:
    script = connected()
    script.play("""
        << ipcp Configure-Request 7 address=10.0.0.1
        >> ipcp Configure-Request 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        >> ipcp Configure-Ack 7 address=10.0.0.1
    """)
    assert not carries_ip(script)
    script.play("""
        << ipcp Configure-Ack 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        !! LinkResumed local=IPv4Address('10.0.0.9')
    """)
    assert carries_ip(script)


def test_lcp_negotiated_anew_asks_for_the_log_in_again_and_only_pauses_the_session() -> None:
    """CALL_CONNECTED is not repeated: the call is bound, and there is one for each call (MS-SSTP 3.2.5.2)."""
    script = connected()
    script.demand(AuthMethod.MSCHAPV2)
    script.play("""
        << lcp Configure-Request 9 mru=1500 auth=c22381 magic=0a0b0c0d
        >> lcp Configure-Request 2 mru=1400
        >> lcp Configure-Ack 9 mru=1500 auth=c22381 magic=0a0b0c0d
    """)
    assert not carries_ip(script)
    script.play("""
        << lcp Configure-Ack 2 mru=1400
        << login
        >> chap 2 *
        << login
        >> ipcp Configure-Request 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        << ipcp Configure-Request 8 address=10.0.0.1
        >> ipcp Configure-Ack 8 address=10.0.0.1
        << ipcp Configure-Ack 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        !! LinkResumed peer_mru=1500
    """)
    assert carries_ip(script)


def test_another_address_ends_the_session_because_no_connection_survives_it() -> None:
    script = connected()
    script.play("""
        << ipcp Configure-Request 7 address=10.0.0.1
        >> ipcp Configure-Request 3 *
        >> ipcp Configure-Ack 7 *
        << ipcp Configure-Nak 3 address=10.0.0.77
        >> ipcp Configure-Request 4 address=10.0.0.77 dns1=10.0.0.53 dns2=10.0.0.54
        << ipcp Configure-Ack 4 address=10.0.0.77 dns1=10.0.0.53 dns2=10.0.0.54
        >> lcp Terminate-Request *
        !! LinkFailing gives 10.0.0.77 instead of 10.0.0.9
    """)
    assert not carries_ip(script)


def test_a_renegotiation_that_comes_to_nothing_ends_the_session_within_its_limit() -> None:
    script = connected()
    script.play("""
        << ipcp Configure-Request 7 address=10.0.0.1
        >> ipcp Configure-Request 3 *
        >> ipcp Configure-Ack 7 *
    """)
    while script.link.error is None:
        script._step("@60", "")
        while script.sent():
            script._step(">> *", "")
        assert script.now <= 31
    assert "did not agree on addresses" in str(script.link.error)


def test_a_log_in_again_that_is_refused_ends_the_session_as_a_refusal() -> None:
    script = connected()
    script.demand(AuthMethod.MSCHAPV2)
    script.play("""
        << lcp Configure-Request 9 mru=1500 auth=c22381 magic=0a0b0c0d
        >> lcp Configure-Request 2 mru=1400
        >> lcp Configure-Ack 9 mru=1500 auth=c22381 magic=0a0b0c0d
        << lcp Configure-Ack 2 mru=1400
    """)
    script._step("<< login", "the Challenge")
    identifier = script.sent()[0].split()[2]
    script.play(f"""
        >> chap 2 {identifier} *
        << chap 4 {identifier} {b"E=647 R=0 V=3".hex()}
        >> lcp Terminate-Request *
        !! LinkFailing AuthenticationFailed
    """)
    assert script.link.phase is not LinkPhase.UP


@pytest.mark.parametrize("method", [AuthMethod.MSCHAPV2, AuthMethod.CHAP_MD5])
def test_a_challenge_in_a_running_session_is_answered_while_traffic_goes_on(method: AuthMethod) -> None:
    """RFC 1994 section 2: the server may challenge again "at random intervals"; nothing is negotiated for that."""
    script = ServerScript(method)
    script.demand(method)
    script.play(CALL.format(auth="c22381" if method is AuthMethod.MSCHAPV2 else "c22305") + LOGIN)
    script.demand(method)
    script.play("""
        << login
        >> chap 2 *
    """)
    assert carries_ip(script)
    script.play("<< login")
    assert carries_ip(script)


def test_softether_reopens_lcp_within_authentication() -> None:
    """A Nak of its EAP-TLS makes it ask for MS-CHAPv2 in a new Configure-Request, in the middle of the log-in."""
    script = ServerScript(AuthMethod.EAP_MSCHAPV2, AuthMethod.MSCHAPV2)
    script.play("""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Ack 1 mru=1400
        << lcp Configure-Request 0 mru=1500 auth=c227
        >> lcp Configure-Ack 0 mru=1500 auth=c227
        << eap 1 1 01
        >> eap 2 1 01616c696365
        << eap 1 1 0d20
        >> eap 2 1 031a
        << lcp Protocol-Reject 2 c22702010006031a
        << lcp Configure-Request 3 auth=c22381
        >> lcp Configure-Request 2 *
        >> lcp Configure-Ack 3 auth=c22381
        << lcp Configure-Ack 2 mru=1400
        << login
        >> chap 2 *
        << login
        >> sstp CALL_CONNECTED
        >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0
        << ipcp Configure-Request 1 address=10.0.0.1
        >> ipcp Configure-Ack 1 address=10.0.0.1
        << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53
        >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53
        << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53
        !! LinkUp
    """)
    assert carries_ip(script)
