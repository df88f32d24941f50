"""Whole negotiations of the client against scripted servers: the known ones, and awkward ones."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from sstpsocks.base.entropy import SeededEntropy, random_uint32
from sstpsocks.errors import AuthenticationFailed, LocalProtocolError, NegotiationFailed
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.authenticators import make_server
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Server
from sstpsocks.ppp.events import Failed, Finished
from sstpsocks.ppp.ipcp import IpcpOption
from sstpsocks.ppp.peer import Phase, PppConfig, PppPeer, Role

from .ppp_playbook import Playbook

ALICE = Credentials("alice", "wonderland")
NBNS = frozenset({IpcpOption.PRIMARY_NBNS, IpcpOption.SECONDARY_NBNS})


RRAS_GIVES = "address=192.168.1.7 dns1=192.168.1.2 nbns1=192.168.1.3 dns2=192.168.1.4 nbns2=192.168.1.5"


def client(*methods: AuthMethod, login: AuthMethod | None = None, credentials: Credentials = ALICE) -> Playbook:
    """Return a playbook of a client that may use ``methods`` and a server that checks ``login``."""
    config = PppConfig(methods=methods or (AuthMethod.MSCHAPV2,), credentials=credentials)
    server = None
    if login is not None:
        server = make_server(login, {"alice": "wonderland"}.get, SeededEntropy("server"), "SERVER")
        server.start(0.0)
    return Playbook(PppPeer(config, SeededEntropy("client")), server)


def pap_client() -> Playbook:
    return client(AuthMethod.PAP, login=AuthMethod.PAP)


OPEN_WITH_PAP = """
    >> lcp Configure-Request 1 mru=4087 magic=*
    << lcp Configure-Request 1 mru=1500 auth=c023 magic=01020304
    >> lcp Configure-Ack 1 mru=1500 auth=c023 magic=01020304
    << lcp Configure-Ack 1 mru=4087 magic=*
    !! LcpOpened peer_mru=1500, method=<AuthMethod.PAP
    >> pap 1 *
    << login
    !! AuthenticationSucceeded method=<AuthMethod.PAP
"""
OPEN_IPCP = """
    >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0
    << ipcp Configure-Request 1 address=10.0.0.1
    >> ipcp Configure-Ack 1 address=10.0.0.1
    << ipcp Configure-Reject 1 nbns1=0.0.0.0 nbns2=0.0.0.0
    >> ipcp Configure-Request 2 address=0.0.0.0 dns1=0.0.0.0 dns2=0.0.0.0
    << ipcp Configure-Nak 2 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    >> ipcp Configure-Request 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    << ipcp Configure-Ack 3 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    !! Ipv4Opened local=IPv4Address('10.0.0.9'), peer=IPv4Address('10.0.0.1')
"""


def open_pap() -> Playbook:
    book = pap_client()
    book.play(OPEN_WITH_PAP)
    return book


def open_all() -> Playbook:
    book = open_pap()
    book.peer.start_network(book.now)
    book.play(OPEN_IPCP)
    return book


def failure(book: Playbook) -> NegotiationFailed:
    event = book.peer.next_event()
    assert isinstance(event, Failed), event
    assert isinstance(event.error, NegotiationFailed)
    assert book.peer.poll_at() is None
    return event.error


def test_rras_from_beginning_to_end() -> None:
    """The packets of a Windows server, with its compressed frames and its slow IPCP."""
    book = client(login=AuthMethod.MSCHAPV2)
    book.play("""
        >> lcp Configure-Request 1 mru=4087 magic=*
        @0.067
        << lcp Configure-Request 0 mru=4091 auth=c227 magic=1a2b3c4d pfc acfc callback=06 mrru=1614 epdisc=01aabbccdd
        >> lcp Configure-Reject 0 callback=06 mrru=1614 epdisc=01aabbccdd
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 1 mru=4091 auth=c227 magic=1a2b3c4d pfc acfc
        >> lcp Configure-Nak 1 auth=c22381
        << lcp Configure-Request 2 mru=4091 auth=c22381 magic=1a2b3c4d pfc acfc
        >> lcp Configure-Ack 2 mru=4091 auth=c22381 magic=1a2b3c4d pfc acfc
        !! LcpOpened peer_mru=4091, method=<AuthMethod.MSCHAPV2
        <~ lcp Identification 3 1a2b3c4d 4d5352415356352e3230
        <~ lcp Identification 4 1a2b3c4d 4d535241532d302d484f5354
        <~ login
        >> chap 2 *
        @0.205
        <~ login
        !! AuthenticationSucceeded method=<AuthMethod.MSCHAPV2
        <~ cbcp 1 1 0102
        >> lcp Protocol-Reject * c029010100060102
    """)
    assert book.peer.phase is Phase.NETWORK
    book.peer.start_network(book.now)
    book.play(f"""
        >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0
        @3.5
        >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0
        @3.666
        <~ ccp Configure-Request 5 option18=01000001
        >> lcp Protocol-Reject * 80fd0105000a120601000001
        <~ ipcp Configure-Request 6 address=192.168.1.1
        >> ipcp Configure-Ack 6 address=192.168.1.1
        <~ ipv6cp Configure-Request 7 option1=0011223344556677
        >> lcp Protocol-Reject * 80570107000e010a0011223344556677
        <~ lcp Protocol-Reject 8 8057 0101000e
        <~ ipcp Configure-Nak 1 {RRAS_GIVES}
        >> ipcp Configure-Request 2 {RRAS_GIVES}
        <~ ipcp Configure-Ack 2 {RRAS_GIVES}
        !! Ipv4Opened nbns=(IPv4Address('192.168.1.3'), IPv4Address('192.168.1.5'))
        <~ ip 4500aabb
        !! IpPacketReceived
        <~ ccp Configure-Request 9 option18=01000001
        >> lcp Protocol-Reject * 80fd0109000a120601000001
        << lcp Terminate-Request 10 1a2b3c4d 003ccd74 00000000
        >> lcp Terminate-Ack 10
        !! Ipv4Closed
        @5.0
        !! Finished reason='the server ended PPP', by_peer=True
    """)


def brief_client(*, unasked: frozenset[int] = NBNS) -> Playbook:
    """Return a playbook of a client that asks for as little as the tunnel does, so that little is refused."""
    config = PppConfig(credentials=ALICE, mru=1400, magic_number=False, unasked=unasked)
    server = make_server(AuthMethod.MSCHAPV2, {"alice": "wonderland"}.get, SeededEntropy("server"), "SERVER")
    server.start(0.0)
    return Playbook(PppPeer(config, SeededEntropy("client")), server)


def test_softether_refuses_nothing_that_a_brief_client_asks_for() -> None:
    """Of LCP it knows the MRU, of IPCP the address and one name server; every other option takes a round trip."""
    book = brief_client()
    book.play("""
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Ack 1 mru=1400
        << lcp Configure-Request 0 auth=c227
        >> lcp Configure-Nak 0 auth=c22381
        << lcp Configure-Request 1 auth=c22381
        >> lcp Configure-Ack 1 auth=c22381
        !! LcpOpened peer_mru=1500, method=<AuthMethod.MSCHAPV2
        << login
        >> chap 2 *
        << login
        !! AuthenticationSucceeded
    """)
    book.peer.start_network(book.now)
    book.play("""
        >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0
        << ipcp Configure-Request 1 address=10.0.0.1
        >> ipcp Configure-Ack 1 address=10.0.0.1
        << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53
        >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53
        << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53
        !! Ipv4Opened
    """)
    assert book.peer.network.rejected == frozenset()


def test_a_client_without_magic_number_takes_any_of_the_peer_and_echoes_zero() -> None:
    """Even the number that it would have told itself: that cannot be a loop."""
    would_be = random_uint32(SeededEntropy("client"))
    book = brief_client()
    book.play(f"""
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Ack 1 mru=1400
        << lcp Configure-Request 1 auth=c22381 magic={would_be:08x}
        >> lcp Configure-Ack 1 auth=c22381 magic={would_be:08x}
        !! LcpOpened
        << lcp Echo-Request 7 {would_be:08x}
        >> lcp Echo-Reply 7 00000000
    """)


def test_what_a_server_rejected_can_be_left_out_the_next_time() -> None:
    book = open_all()
    assert book.peer.network.rejected == NBNS
    again = brief_client(unasked=NBNS | {IpcpOption.SECONDARY_DNS})
    again.play("""
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Ack 1 mru=1400
        << lcp Configure-Request 1 auth=c22381 magic=01020304
        >> lcp Configure-Ack 1 auth=c22381 magic=01020304
        !! LcpOpened
        << login
        >> chap 2 *
        << login
        !! AuthenticationSucceeded
    """)
    again.peer.start_network(again.now)
    again.play(">> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0")


def test_softether_steps_down_to_pap() -> None:
    """It rejects all but the MRU, echoes before LCP is open, and takes PAP only after two Naks."""
    book = pap_client()
    book.play("""
        >> lcp Configure-Request 1 mru=4087 magic=*
        << lcp Configure-Request 0 auth=c227
        >> lcp Configure-Nak 0 auth=c023
        << lcp Echo-Request 0 00000000
        << lcp Configure-Reject 1 magic=*
        >> lcp Configure-Request 2 mru=4087
        << lcp Configure-Nak 2 mru=1500
        >> lcp Configure-Request 3 mru=1500
        << lcp Configure-Ack 3 mru=1500
        << lcp Configure-Request 1 auth=c22381
        >> lcp Configure-Nak 1 auth=c023
        << lcp Configure-Request 2 auth=c023
        >> lcp Configure-Ack 2 auth=c023
        !! LcpOpened peer_mru=1500, method=<AuthMethod.PAP
        >> pap 1 *
        << lcp Echo-Request 0 00000000
        >> lcp Echo-Reply 0 00000000
        << login
        !! AuthenticationSucceeded
    """)


def test_softether_wrong_pap_password_is_a_terminate_request_only() -> None:
    book = client(AuthMethod.PAP)
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 0 auth=c023
        >> lcp Configure-Ack 0 auth=c023
        !! LcpOpened
        >> pap 1 *
        << lcp Terminate-Request 3
        >> lcp Terminate-Ack 3
        !! AuthenticationRefused usually a wrong user name or password
        << lcp Terminate-Request 4
        >> lcp Terminate-Ack 4
        @2.0
        !! Finished by_peer=True
    """)


def test_a_new_configure_request_in_the_middle_of_authentication_starts_over() -> None:
    """What SoftEther does when its first method does not work out."""
    book = client(AuthMethod.MSCHAPV2, AuthMethod.PAP, login=AuthMethod.PAP)
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 0 auth=c22381
        >> lcp Configure-Ack 0 auth=c22381
        !! LcpOpened method=<AuthMethod.MSCHAPV2
        << lcp Configure-Request 1 auth=c023
        >> lcp Configure-Request 2 *
        >> lcp Configure-Ack 1 auth=c023
        << lcp Configure-Ack 2 mru=4087 magic=*
        !! LcpOpened method=<AuthMethod.PAP
        >> pap 1 *
        << login
        !! AuthenticationSucceeded
    """)


def test_a_server_that_insists_on_a_method_not_allowed() -> None:
    book = client()
    book.play(">> lcp Configure-Request 1 *\n<< lcp Configure-Ack 1 mru=4087 magic=*")
    for identifier in range(6):
        book.play(f"<< lcp Configure-Request {identifier} auth=c023\n>> lcp Configure-Nak {identifier} auth=c22381")
    book._step("<< lcp Configure-Request 6 auth=c023", "")
    error = failure(book)
    assert error.protocol == "authentication"
    assert "insists on pap" in str(error)
    assert "--auth mschapv2,pap" in error.hint


def test_a_server_that_knows_only_eap() -> None:
    book = client()
    book.play(">> lcp Configure-Request 1 *")
    for identifier in range(6):
        book.play(f"<< lcp Configure-Request {identifier} auth=c227\n>> lcp Configure-Nak {identifier} auth=c22381")
    book._step("<< lcp Configure-Request 6 auth=c227", "")
    error = failure(book)
    assert "insists on EAP" in str(error)
    assert error.hint.startswith("Allow it with --auth mschapv2,eap-mschapv2")


def eap_begun() -> Playbook:
    """SoftEther 5.01 with a user who has a password: within EAP it has only EAP-TLS, whose Nak it rejects in LCP."""
    book = client(AuthMethod.EAP_MSCHAPV2, AuthMethod.MSCHAPV2, login=AuthMethod.MSCHAPV2)
    book.play("""
    >> lcp Configure-Request 1 *
    << lcp Configure-Ack 1 mru=4087 magic=*
    << lcp Configure-Request 0 mru=1500 auth=c227
    >> lcp Configure-Ack 0 mru=1500 auth=c227
    !! LcpOpened
    << eap 1 1 01
    >> eap 2 1 01616c696365
    << eap 1 1 0d20
    >> eap 2 1 031a
    << lcp Protocol-Reject 2 c22702010006031a
    """)
    return book


def test_softether_rejects_a_nak_of_eap_tls_and_goes_on_in_lcp() -> None:
    eap_begun().play("""
    << lcp Configure-Request 3 auth=c22381
    >> lcp Configure-Request 2 *
    >> lcp Configure-Ack 3 auth=c22381
    << lcp Configure-Ack 2 mru=4087 magic=*
    !! LcpOpened peer_mru=1500, method=<AuthMethod.MSCHAPV2
    << login
    >> chap 2 *
    << login
    !! AuthenticationSucceeded
    """)


def test_a_server_that_rejects_eap_and_has_nothing_else() -> None:
    book = eap_begun()
    book._step("@3.5", "")
    assert "rejects the authentication protocol that it agreed to" in str(failure(book))


def test_a_repeated_demand_is_naked_with_the_next_method() -> None:
    client(AuthMethod.MSCHAPV2, AuthMethod.PAP).play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Request 0 auth=c227
        >> lcp Configure-Nak 0 auth=c22381
        << lcp Configure-Request 1 auth=c227
        >> lcp Configure-Nak 1 auth=c023
        << lcp Configure-Request 2 auth=c22305
        >> lcp Configure-Nak 2 auth=c22381
    """)


def test_a_server_that_ends_ppp_because_its_method_was_refused() -> None:
    book = client()
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Request 0 auth=c023
        >> lcp Configure-Nak 0 auth=c22381
    """)
    book._step("<< lcp Terminate-Request 1", "")
    assert "--auth mschapv2,pap" in failure(book).hint


def test_a_server_without_authentication_is_taken() -> None:
    book = client()
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 0
        >> lcp Configure-Ack 0
        !! LcpOpened peer_mru=1500, method=None
        !! AuthenticationSucceeded method=None
    """)


def test_the_options_of_the_peer_and_their_order() -> None:
    """Reject first, then Nak, then Ack (RFC 1661 section 5)."""
    pap_client().play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Request 1 mru=20 auth=c023 quality=c025 magic=00000000 pfc option99=01 acfc=00
        >> lcp Configure-Reject 1 quality=c025 option99=01 acfc=00
        << lcp Configure-Request 2 accm=00000000 mru=20 auth=c023 magic=00000000 pfc acfc
        >> lcp Configure-Nak 2 mru=1500 magic=*
        << lcp Configure-Request 3 accm=00000000 mru=9000 auth=c023 magic=00000007 pfc acfc
        >> lcp Configure-Ack 3 accm=00000000 mru=9000 auth=c023 magic=00000007 pfc acfc
    """)


def test_a_looped_back_link_is_found_out() -> None:
    book = client()
    frames = 0
    while book.peer.poll_at() is not None and frames < 100:
        for frame in book.peer.frames_to_send(0.0):
            frames += 1
            book.peer.receive_frame(frame, 0.0)
    assert "looped back" in str(failure(book))
    assert frames < 40


def test_a_server_that_never_agrees_is_given_up_after_some_rounds() -> None:
    book = client()
    book.play(">> lcp Configure-Request 1 *")
    for identifier in range(21):
        book._step(f"<< lcp Configure-Request {identifier} option99=01", "")
        if identifier < 20:
            book._step(f">> lcp Configure-Reject {identifier} option99=01", "")
    assert "did not agree" in str(failure(book))


def test_a_silent_server_is_given_up_after_the_limit() -> None:
    book = client()
    for _ in range(10):
        book._step(">> lcp Configure-Request 1 *", "")
        book._step("@40", "")
    assert book.now == 30.0
    assert failure(book).protocol == "lcp"


def test_a_server_without_a_verdict_is_given_up_after_the_limit() -> None:
    book = client(login=AuthMethod.MSCHAPV2)
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 0 auth=c22381
        >> lcp Configure-Ack 0 auth=c22381
        !! LcpOpened
    """)
    book._step("@100", "")
    assert failure(book).protocol == "authentication"
    book._step(">> lcp Terminate-Request *", "")


def test_echo_requests_are_answered_with_our_magic_and_only_when_open() -> None:
    book = pap_client()
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Echo-Request 9 00000000
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 1 mru=68 auth=c023
        >> lcp Configure-Ack 1 mru=68 auth=c023
        !! LcpOpened peer_mru=68
        >> pap 1 *
    """)
    magic = book._last_magic
    book.play(f"""
        << lcp Echo-Request 10 00000000 aabb
        >> lcp Echo-Reply 10 {magic}aabb
        << lcp Echo-Request 11 00000000 {"cc" * 100}
        >> lcp Echo-Reply 11 {magic}{"cc" * 60}
        << lcp Echo-Request 12 0000
        << lcp Discard-Request 13 00000000
        << lcp Time-Remaining 14 00000000 00000e10
        << lcp 77 15 0102
        >> lcp Code-Reject * 4d0f00060102
        << lcp 78 16 {"dd" * 100}
        >> lcp Code-Reject * 4e100068{"dd" * 60}
    """)
    assert book.peer.counters.discarded == 1


def test_our_echo_request_and_its_reply() -> None:
    book = open_pap()
    identifier = book.peer.send_echo_request(book.now)
    assert identifier is not None
    book.play(f"""
        >> lcp Echo-Request {identifier} *
        << lcp Echo-Reply {(identifier + 1) % 256} 01020304
        << lcp Echo-Reply {identifier} 01020304
        !! EchoReplied identifier={identifier}
        << lcp Echo-Reply {identifier} 01020304
    """)


def test_network_packets_before_authentication_are_dropped() -> None:
    book = pap_client()
    book.play("""
        >> lcp Configure-Request 1 *
        << ccp Configure-Request 1 option18=01000001
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 1 auth=c023
        >> lcp Configure-Ack 1 auth=c023
        !! LcpOpened
        >> pap 1 *
        << ipcp Configure-Request 1 address=10.0.0.1
        << ipv6cp Configure-Request 1 option1=0011223344556677
        << ip 4500
        << eap 1 1
    """)
    assert book.peer.counters.discarded == 5
    with pytest.raises(LocalProtocolError):
        book.peer.start_network(book.now)


def test_an_early_ipcp_request_waits_for_start_network() -> None:
    book = open_pap()
    book.play("<< ipcp Configure-Request 1 address=10.0.0.1")
    book.peer.start_network(book.now)
    book.play("""
        >> ipcp Configure-Request 1 *
        >> ipcp Configure-Ack 1 address=10.0.0.1
    """)


def test_ip_packets_pass_only_while_ipcp_is_open() -> None:
    book = open_all()
    book.play("""
        << ip 4500 0014
        !! IpPacketReceived
        << ipv6 6000
        << ipcp Terminate-Request 9
        >> ipcp Terminate-Ack 9
        !! Ipv4Closed the server ended IPCP
        << ip 4500 0014
    """)
    assert not book.peer.ipv4_open
    book._step("@60", "")
    assert failure(book).protocol == "ipcp"
    assert book.now == 1.0


def test_ipcp_may_be_renegotiated() -> None:
    book = open_all()
    book.play("""
        << ipcp Configure-Request 7 vj=002d0f01 address=10.0.0.1
        >> ipcp Configure-Request 4 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        >> ipcp Configure-Reject 7 vj=002d0f01
        !! Ipv4Closed the server renegotiates IPCP
        << ipcp Configure-Request 8
        >> ipcp Configure-Ack 8
        << ipcp Configure-Ack 4 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
        !! Ipv4Opened peer=None
    """)


def test_lcp_may_be_renegotiated_with_the_network_up() -> None:
    book = open_all()
    book.login = make_server(AuthMethod.PAP, {"alice": "wonderland"}.get, SeededEntropy(1), "SERVER")
    book.play("""
        << lcp Configure-Request 9 mru=1400 auth=c023
        >> lcp Configure-Request 2 *
        >> lcp Configure-Ack 9 mru=1400 auth=c023
        !! Ipv4Closed the server renegotiates LCP
        << lcp Configure-Ack 2 mru=4087 magic=*
        !! LcpOpened peer_mru=1400
        >> pap 1 *
        << login
        >> ipcp Configure-Request 4 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    """)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Configure-Reject 1 address=0.0.0.0", "refuses to give us an IPv4 address"),
        ("Configure-Nak 1 address=0.0.0.0", "offers 0.0.0.0"),
        ("Configure-Nak 1 address=127.0.0.1", "offers 127.0.0.1"),
        (
            "Configure-Ack 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0",
            "acknowledged 0.0.0.0",
        ),
        ("Terminate-Request 5", "ended IPCP"),
    ],
)
def test_without_an_ipv4_address_there_is_a_clear_error(answer: str, message: str) -> None:
    book = open_pap()
    book.peer.start_network(book.now)
    book._step(">> ipcp Configure-Request 1 *", "")
    book._step(f"<< ipcp {answer}", "")
    error = failure(book)
    assert error.protocol == "ipcp"
    assert message in str(error)


def test_a_rejected_ipcp_is_fatal_and_a_rejected_ipv6cp_is_not() -> None:
    book = open_pap()
    book.peer.start_network(book.now)
    book.play("""
        >> ipcp Configure-Request 1 *
        << lcp Protocol-Reject 2 8057 0101000e
        << lcp Protocol-Reject 3 00
    """)
    book._step("<< lcp Protocol-Reject 4 8021 01010004", "")
    assert "rejects IPCP" in str(failure(book))


def test_a_name_server_that_the_server_does_not_have_is_not_asked_for_again() -> None:
    book = open_pap()
    book.peer.start_network(book.now)
    book.play("""
        >> ipcp Configure-Request 1 *
        << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53 dns2=0.0.0.0 nbns1=0.0.0.0 vj=002d0f01
        >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53 nbns2=0.0.0.0
        << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53 nbns2=0.0.0.0
        << ipcp Configure-Request 1 address=0.0.0.0
        >> ipcp Configure-Ack 1 address=0.0.0.0
        !! Ipv4Opened peer=None, dns=(IPv4Address('10.0.0.53'),), nbns=()
    """)


def test_replies_that_do_not_fit_are_dropped() -> None:
    book = client()
    book.play("""
        >> lcp Configure-Request 1 mru=4087 magic=*
        << lcp Configure-Ack 2 mru=4087 magic=*
        << lcp Configure-Ack 1 mru=4000 magic=*
        << lcp Configure-Reject 1 option99=01
        << lcp Configure-Nak 7 mru=1400
        << lcp Configure-Reject 1 magic=*
        >> lcp Configure-Request 2 mru=4087
        << lcp Configure-Reject 1 magic=*
    """)
    assert book.peer.counters.discarded == 5
    book.peer.receive_frame(b"", 0.0)
    book.peer.receive_frame(b"\xff\x03\xc0\x21\x01", 0.0)
    assert book.peer.counters.malformed == 1
    assert book.peer.counters.discarded == 6


def test_a_nak_of_the_mru_is_taken_when_it_is_smaller() -> None:
    client().play("""
        >> lcp Configure-Request 1 mru=4087 magic=*
        << lcp Configure-Nak 1 mru=1452
        >> lcp Configure-Request 2 mru=1452 magic=*
        << lcp Configure-Nak 2 mru=9000
        >> lcp Configure-Request 3 magic=*
    """)


def test_max_failure_turns_naks_into_rejects() -> None:
    book = client()
    book.play(">> lcp Configure-Request 1 *")
    for identifier in range(5):
        book.play(f"<< lcp Configure-Request {identifier} mru=1\n>> lcp Configure-Nak {identifier} mru=1500")
    book.play("<< lcp Configure-Request 5 mru=1\n>> lcp Configure-Reject 5 mru=1")


def test_close_terminates_lcp_and_then_is_finished() -> None:
    book = open_all()
    book.peer.close(book.now)
    book.play("""
        >> lcp Terminate-Request *
        !! Ipv4Closed closed by us
        << ip 4500
        << lcp Terminate-Request 9
        >> lcp Terminate-Ack 9
        << lcp Terminate-Ack 2
        !! Finished reason='closed by us', by_peer=False
    """)
    assert book.peer.phase is Phase.TERMINATE
    book.peer.close(book.now)
    book.peer.receive_frame(b"\xff\x03\xc0\x21\x09\x01\x00\x08\x00\x00\x00\x00", book.now)
    assert book.peer.frames_to_send(book.now) == []


def test_close_is_finished_without_an_answer_too() -> None:
    book = open_all()
    book.peer.close(book.now)
    book.play("""
        >> lcp Terminate-Request *
        !! Ipv4Closed
        @9
        >> lcp Terminate-Request *
        @9
        !! Finished by_peer=False
    """)
    assert book.now == 6.0


def test_a_carrier_that_goes_away_closes_everything_silently() -> None:
    book = open_all()
    book.peer.lower_layer_down(book.now)
    book.play("!! Ipv4Closed the connection to the peer is gone")
    assert book.peer.phase is Phase.DEAD
    assert book.peer.poll_at() is None


def test_the_essentials_of_lcp_rejected_is_an_error() -> None:
    book = open_all()
    book.play("""
        << lcp Code-Reject 7 09010008
        << lcp Code-Reject 8
    """)
    for line in ("<< lcp Code-Reject 9 01010008", ">> lcp Terminate-Request *", "!! Ipv4Closed"):
        book._step(line, "")
    book._step("<< lcp Terminate-Ack 2", "")
    book.play("!! Finished reason='the server rejects the essentials of LCP'")


OPEN_FOR_A_SECOND_TRY = """
    >> lcp Configure-Request 1 mru=4087 magic=*
    << lcp Configure-Ack 1 mru=4087 magic=*
    << lcp Configure-Request 0 auth=c22381
    >> lcp Configure-Ack 0 auth=c22381
    !! LcpOpened
    << login
    >> chap 2 *
    << login
    !! AuthenticationRefused code=691, retry_allowed=True
"""


def refused_once() -> Playbook:
    config = PppConfig(credentials=Credentials("alice", "looking-glass"))
    server = MsChapV2Server({"alice": "wonderland"}.get, SeededEntropy("server"), retries=1)
    server.start(0.0)
    book = Playbook(PppPeer(config, SeededEntropy("client")), server)
    book.play(OPEN_FOR_A_SECOND_TRY)
    return book


def test_after_a_refusal_that_allows_it_other_credentials_may_follow() -> None:
    book = refused_once()
    book._step("@500", "")  # the user thinks
    with pytest.raises(LocalProtocolError):
        book.peer.retry_authentication(Credentials("alice", "looking-glass"), book.now)
    book.peer.retry_authentication(ALICE, book.now)
    book.play("""
        >> chap 2 *
        << login
        !! AuthenticationSucceeded
    """)
    with pytest.raises(LocalProtocolError):
        book.peer.retry_authentication(ALICE, book.now)


def test_refused_credentials_are_not_sent_again_when_lcp_starts_over() -> None:
    refused_once().play("""
        << lcp Configure-Request 1 auth=c023
        >> lcp Configure-Request 2 *
        >> lcp Configure-Nak 1 auth=c22381
        << lcp Configure-Ack 2 mru=4087 magic=*
        << lcp Configure-Request 2 auth=c22381
        >> lcp Configure-Ack 2 auth=c22381
        !! LcpOpened
        !! AuthenticationRefused retry_allowed=False
        >> lcp Terminate-Request *
        << lcp Terminate-Ack 3
        !! Finished the authentication was refused
    """)


def test_a_server_that_rejects_its_own_authentication_protocol() -> None:
    book = client(AuthMethod.PAP)
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
        << lcp Configure-Request 0 auth=c023
        >> lcp Configure-Ack 0 auth=c023
        !! LcpOpened
        >> pap 1 *
    """)
    book._step("<< lcp Protocol-Reject 1 c023 0101", "")
    assert failure(book).protocol == "authentication"


def test_a_windows_error_code_in_the_terminate_request_is_shown() -> None:
    book = open_all()
    book.play("""
        << lcp Terminate-Request 10 1a2b3c4d 003ccd74 000002b3
        >> lcp Terminate-Ack 10
        !! Ipv4Closed Windows error 691
    """)


def test_the_text_in_a_terminate_request_is_shown() -> None:
    book = client()
    book._step(">> lcp Configure-Request 1 *", "")
    book._step(f"<< lcp Terminate-Request 10 {b'no free ports'.hex()}", "")
    assert "no free ports" in str(failure(book))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mru": 4088},
        {"credentials": None},
        {"role": Role.SERVER},
        {"role": Role.SERVER, "local_address": IPv4Address("10.0.0.1"), "peer_address": IPv4Address("10.0.0.2")},
        {"dns": (IPv4Address("10.0.0.1"),) * 3},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        PppConfig(**({"credentials": ALICE} | wrong))


def test_no_secret_is_shown() -> None:
    config = PppConfig(credentials=ALICE)
    assert "wonderland" not in repr(config)
    assert "wonderland" not in repr(PppPeer(config, SeededEntropy(1)))


def test_closed_before_it_was_opened() -> None:
    peer = PppPeer(PppConfig(credentials=ALICE), SeededEntropy(1))
    peer.close(0.0)
    event = peer.next_event()
    assert event == Finished("closed before it was opened", False)
    with pytest.raises(LocalProtocolError):
        peer.open(0.0)


def test_start_network_in_the_middle_of_a_renegotiation_waits_for_the_next_authentication() -> None:
    book = open_pap()
    book.login = make_server(AuthMethod.PAP, {"alice": "wonderland"}.get, SeededEntropy(1), "SERVER")
    book.play("""
        << lcp Configure-Request 9 auth=c023
        >> lcp Configure-Request 2 *
        >> lcp Configure-Ack 9 auth=c023
    """)
    book.peer.start_network(book.now)
    book.play("""
        << ipcp Configure-Request 1 address=10.0.0.1
        << lcp Configure-Ack 2 mru=4087 magic=*
        !! LcpOpened
        >> pap 1 *
        << login
        >> ipcp Configure-Request 1 *
    """)


def test_a_client_without_credentials_rejects_authentication() -> None:
    book = Playbook(PppPeer(PppConfig(methods=()), SeededEntropy(1)))
    book._step(">> lcp Configure-Request 1 *", "")
    book._step("<< lcp Configure-Request 0 auth=c22380", "")
    book._step(">> lcp Configure-Reject 0 auth=c22380", "")
    error = failure(book)
    assert "insists on MS-CHAPv1 for authentication, and nothing is allowed" in str(error)


def test_mschap_of_version_1_is_refused_with_the_reason() -> None:
    book = client()
    book._step(">> lcp Configure-Request 1 *", "")
    for identifier in range(7):
        book._step(f"<< lcp Configure-Request {identifier} auth=c22380", "")
        if identifier < 6:
            book._step(f">> lcp Configure-Nak {identifier} auth=c22381", "")
    error = failure(book)
    assert str(error) == "the server insists on MS-CHAPv1 for authentication, and only mschapv2 is allowed"
    assert error.hint.startswith("MS-CHAPv1 is refused: its answers give the password away")


def test_credentials_that_the_method_cannot_carry_are_an_authentication_failure() -> None:
    book = client(AuthMethod.PAP, credentials=Credentials("alice", "x" * 256))
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Ack 1 mru=4087 magic=*
    """)
    for line in ("<< lcp Configure-Request 0 auth=c023", ">> lcp Configure-Ack 0 auth=c023", "!! LcpOpened"):
        book._step(line, "")
    event = book.peer.next_event()
    assert isinstance(event, Failed)
    assert isinstance(event.error, AuthenticationFailed)


def test_a_server_that_never_gives_an_address_is_given_up_after_the_limit() -> None:
    book = open_pap()
    book.peer.start_network(book.now)
    for _ in range(10):
        book._step(">> ipcp Configure-Request 1 *", "")
        book._step("@60", "")
    assert book.now == 30.0
    assert failure(book).protocol == "ipcp"


def test_a_server_that_naks_the_same_for_ever_is_given_up() -> None:
    book = open_pap()
    book.peer.start_network(book.now)
    book._step(">> ipcp Configure-Request 1 *", "")
    for identifier in range(1, 22):
        book._step(f"<< ipcp Configure-Nak {identifier} vj=002d0f01", "")
        if identifier < 21:
            book._step(f">> ipcp Configure-Request {identifier + 1} *", "")
    assert "did not agree on ipcp" in str(failure(book))


def test_only_a_handful_of_early_ipcp_packets_is_held() -> None:
    book = open_pap()
    for identifier in range(20):
        book.play(f"<< ipcp Configure-Request {identifier} address=10.0.0.1")
    assert book.peer.counters.discarded == 4


def test_lcp_rejected_by_protocol_reject_ends_in_order() -> None:
    open_all().play("""
        << lcp Protocol-Reject 1 c021 01010004
        >> lcp Terminate-Request *
        !! Ipv4Closed rejects the essentials
        << lcp Terminate-Ack 2
        !! Finished
    """)


def test_of_several_demands_the_strongest_is_recommended() -> None:
    """SoftEther to a client that allows only chap, which it does not have."""
    book = client(AuthMethod.CHAP_MD5)
    book.play("""
        >> lcp Configure-Request 1 *
        << lcp Configure-Request 0 auth=c227
        >> lcp Configure-Nak 0 auth=c22305
        << lcp Configure-Request 1 auth=c22381
        >> lcp Configure-Nak 1 auth=c22305
        << lcp Configure-Request 2 auth=c023
        >> lcp Configure-Nak 2 auth=c22305
    """)
    book._step("<< lcp Terminate-Request 3", "")
    error = failure(book)
    assert "demands EAP, then mschapv2, then pap" in str(error)
    assert error.hint == "Allow it with --auth chap,mschapv2."
