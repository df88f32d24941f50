"""One scripted server for each habit of real servers that breaks simple clients, and what ours does about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sstpsocks.errors import CallRejected, NegotiationFailed, TunnelClosed
from sstpsocks.link import LinkPhase
from sstpsocks.ppp.auth import AuthMethod
from sstpsocks.sstp.http import ClientPrelude
from sstpsocks.sstp.packet import HashProtocol, call_connect_ack, encode_data

from .server_script import CALL, LOGIN, NONCE, ServerScript, connected

IP_PACKET = bytes.fromhex("4500001c00000000401166cd0a0000020a0000010035003500080000")
GUID = "{01234567-89AB-CDEF-0123-456789ABCDEF}"
IPCP_REQUEST = "ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 dns2=0.0.0.0"


def play_for(script: ServerScript, seconds: float) -> list[str]:
    """Let time pass and the client send what it will; return what that was."""
    sent = []
    until = script.now + seconds
    while True:
        while texts := script.sent():
            sent.append(texts[0])
            script._step(">> *", "")
        if script.now >= until or script.link.phase is LinkPhase.CLOSED:
            return sent
        script._step(f"@{until}", "")


def test_quirk_1_the_shopping_list_of_lcp() -> None:
    """What multilink needs is rejected first and only then is authentication Naked; the MRU of 4091 is taken."""
    ServerScript(AuthMethod.MSCHAPV2).play("""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Request 0 mru=4091 auth=c227 magic=0a0b0c0d pfc acfc callback=06 mrru=1614 epdisc=01aabb
        >> lcp Configure-Reject 0 callback=06 mrru=1614 epdisc=01aabb
        << lcp Configure-Request 1 mru=4091 auth=c227 magic=0a0b0c0d pfc acfc
        >> lcp Configure-Nak 1 auth=c22381
        << lcp Configure-Request 2 mru=4091 auth=c22381 magic=0a0b0c0d pfc acfc
        >> lcp Configure-Ack 2 mru=4091 auth=c22381 magic=0a0b0c0d pfc acfc
    """)


def test_quirk_1_a_server_that_keeps_asking_for_the_same_is_given_up() -> None:
    script = ServerScript(AuthMethod.MSCHAPV2)
    script.play(">> sstp CALL_CONNECT_REQUEST\n<< sstp CALL_CONNECT_ACK\n>> lcp Configure-Request 1 *")
    rounds = 0
    while script.link.error is None:
        script._step(f"<< lcp Configure-Request {rounds} mru=4091 auth=c227 magic=0a0b0c0d", "")
        while script.sent() and script.link.error is None:
            script._step(">> lcp Configure-Nak *", "")
        rounds += 1
        assert rounds < 20
    assert "insists on EAP" in str(script.link.error)


@pytest.mark.parametrize("form", ["ff030021", "0021", "ff0321", "21"])
def test_quirk_2_ip_comes_in_frames_of_any_form(form: str) -> None:
    script = connected()
    script.receive(encode_data(bytes.fromhex(form) + IP_PACKET))
    assert script.packets == [IP_PACKET]
    assert script.send_ip(IP_PACKET)[4:8] == bytes.fromhex("ff030021")


def test_quirk_2_lcp_comes_in_compressed_frames() -> None:
    """Windows leaves FF 03 out of LCP too; ours keep it, which ServerScript checks of each packet."""
    connected().play("<~ lcp Echo-Request 7 0a0b0c0d\n>> lcp Echo-Reply 7 00000000")


def test_quirk_3_the_client_speaks_first() -> None:
    """SoftEther has no PPP before the first data packet of the client."""
    script = ServerScript()
    script.play(">> sstp CALL_CONNECT_REQUEST")
    script._step("<< sstp CALL_CONNECT_ACK", "")
    assert script.now == 0.0
    assert script.sent() == ["lcp Configure-Request 1 mru=1400"]


def test_quirk_4_echoes_of_lcp_are_answered_but_those_of_sstp_are_not() -> None:
    """SoftEther: LCP's answer is as good a proof of life, for as long as it lasts."""
    script = connected()
    for _ in range(20):
        while not script.sent():
            script._step(f"@{script.now + 60}", "")
        script._step(">> sstp ECHO_REQUEST", "")
        identifier = script.sent()[0].split()[2]
        script.play(f">> lcp Echo-Request {identifier} *\n<< lcp Echo-Reply {identifier} 0a0b0c0d")
    assert script.now >= 20 * 20
    assert script.link.carries_ip


def test_quirk_4_the_servers_echoes_are_answered_at_once_and_count_as_life() -> None:
    """SoftEther drops a client that is silent for 20 s, and asks every few seconds in both protocols."""
    script = connected()
    for _ in range(40):
        script.play(f"""
            @{script.now + 4.8}
            << sstp ECHO_REQUEST
            >> sstp ECHO_RESPONSE
            << lcp Echo-Request 1 0a0b0c0d
            >> lcp Echo-Reply 1 00000000
        """)
    assert script.link.carries_ip


def test_quirk_4_no_echo_is_sent_before_call_connected() -> None:
    """accel-ppp aborts the call for it; sorz/sstp-server asks itself, and is answered."""
    script = ServerScript()
    script.play("""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 *
        << sstp ECHO_REQUEST
        >> sstp ECHO_RESPONSE
    """)
    sent = play_for(script, 29)
    assert sent
    assert all(text.startswith("lcp Configure-Request") for text in sent)


def test_quirk_5_ccp_is_rejected_each_time_it_comes() -> None:
    """Also when the server repeats it for ever; there is no agreement to MPPE in any case."""
    script = connected()
    for number in range(50):
        script.play(f"""
            << ccp Configure-Request {number} option18=01000060
            >> lcp Protocol-Reject * 80fd01{number:02x}000a120601000060
        """)
    assert script.link.carries_ip


def test_quirk_5_a_server_that_must_have_mppe_says_why_it_ends() -> None:
    """pppd with require-mppe."""
    script = connected()
    text = b"MPPE required but peer negotiation failed".hex()
    script.play(f"""
        << ccp Configure-Request 1 option18=01000060
        >> lcp Protocol-Reject *
        << lcp Terminate-Request 2 {text}
        !! LinkFailing MPPE required but peer negotiation failed
        >> lcp Terminate-Ack 2
    """)


def test_quirk_6_the_address_may_take_its_time() -> None:
    """A SoftEther hub asks its DHCP server first: no answer for eight seconds, then all at once."""
    script = ServerScript()
    script.play(CALL.format(auth="c22381") + LOGIN.partition("<< ipcp")[0])
    assert set(play_for(script, 8.0)) == {IPCP_REQUEST}
    script.play("<< ipcp" + LOGIN.partition("<< ipcp")[2])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("<< lcp Protocol-Reject 8 8057 0101000e", id="Protocol-Reject"),
        pytest.param("<< ipv6cp Configure-Reject 1 identifier=*", id="Configure-Reject"),
        pytest.param("<< lcp Discard-Request 1 00000000", id="no answer"),
    ],
)
def test_quirk_6_without_ipv6_ipv4_goes_on_and_ipv6cp_is_never_terminated(answer: str) -> None:
    """accel-ppp ends the whole session on a Terminate-Request of IPV6CP."""
    script = ServerScript(ipv6=True)
    script.play(CALL.format(auth="c22381"))
    lines = LOGIN.strip().splitlines()
    for line in lines:
        script._step(" ".join(line.split()), line)
    assert script.link.carries_ip
    (request,) = script.sent()
    identifier = request.partition("identifier=")[2]
    script._step(">> ipv6cp Configure-Request 1 *", "")
    script._step(answer.replace("*", identifier), "")
    sent = play_for(script, 15.0)
    assert not [text for text in sent if text.startswith("ipv6cp Terminate")]
    assert script.link.carries_ip


@pytest.mark.parametrize("hashes", [HashProtocol.SHA1, HashProtocol.SHA256, HashProtocol.SHA1 | HashProtocol.SHA256])
def test_quirk_7_the_binding_comes_right_after_the_log_in_with_the_best_hash_on_offer(hashes: HashProtocol) -> None:
    """LOGIN has CALL_CONNECTED before IPCP, and ServerScript verifies it."""
    script = ServerScript(hashes=hashes)
    script.play(CALL.format(auth="c22381") + LOGIN)


@pytest.mark.parametrize("abort", ["1001000800050000", "10010014 0005 0001 0002000c 00000002 00000007"])
def test_quirk_7_an_abort_right_after_the_binding_is_laid_to_what_is_between(abort: str) -> None:
    """A load balancer or an inspector of TLS; the status is not to be relied on."""
    script = ServerScript()
    script.play(CALL.format(auth="c22381"))
    script.play(f"""
        << login
        >> chap 2 *
        << login
        >> sstp CALL_CONNECTED
        >> {IPCP_REQUEST}
        << raw {abort}
        !! LinkFailing crypto binding
        >> sstp CALL_ABORT
        @5
        !! LinkDown
    """)
    assert isinstance(script.link.error, CallRejected)
    assert "certificate" in str(script.link.error)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\n\r\n", id="RRAS"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", id="sorz, SoftEther"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="any version"),
    ],
)
def test_quirk_8_odd_answers_of_http(answer: bytes) -> None:
    """Nothing is pipelined, nor is a query sent, nor ":443"; what comes behind the header is SSTP."""
    prelude = ClientPrelude("vpn.example.org", 443, GUID)
    request = prelude.data_to_send()
    assert request.startswith(b"SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n")
    assert b"\r\nHost: vpn.example.org\r\n" in request
    assert request.endswith(b"\r\n\r\n")
    assert len(request) < 1024  # the buffer of accel-ppp
    script = ServerScript()
    script.play(">> sstp CALL_CONNECT_REQUEST")
    sstp = prelude.receive_data(answer + call_connect_ack(HashProtocol.SHA256, NONCE))
    assert sstp is not None
    script.receive(sstp)
    script.play(">> lcp Configure-Request 1 *")


def test_quirk_9_a_nak_of_the_mru_is_taken() -> None:
    """accel-ppp, which allows 1452 or less; a client that asks for 1400 is not even Naked."""
    ServerScript(mru=4087).play("""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 mru=4087
        << lcp Configure-Nak 1 mru=1452
        >> lcp Configure-Request 2 mru=1452
        << lcp Configure-Ack 2 mru=1452
    """)


@pytest.mark.parametrize("mru", [128, 1400, 1452, 1500, 4091])
def test_quirk_9_the_servers_mru_is_never_naked(mru: int) -> None:
    """SoftEther answers such a Nak with the value in its option of authentication."""
    ServerScript(AuthMethod.MSCHAPV2).play(f"""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Request 1 mru={mru} auth=c22381
        >> lcp Configure-Ack 1 mru={mru} auth=c22381
    """)


def test_quirk_9_packets_larger_than_our_mru_are_taken() -> None:
    script = connected()
    packet = b"E" * 4087
    script.receive_ip(packet)
    assert script.packets == [packet]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param("1001000800060000", "CALL_DISCONNECT_ACK", id="SoftEther, Disconnect without attributes"),
        pytest.param("1001000800050000", "CALL_ABORT", id="SoftEther, Abort without attributes"),
        pytest.param("10010010 0005 0001 00020008 00000007", "CALL_ABORT", id="sorz, the status alone"),
        pytest.param("10010014 0006 0001 0000000c 00000000 00000000", "CALL_DISCONNECT_ACK", id="sorz, id 0"),
        pytest.param("10010014 0005 0001 0002000c 00000002 00000007", "CALL_ABORT", id="accel-ppp, always 2 and 7"),
        pytest.param("1001000e 0006 0001 00630006 abcd", "CALL_DISCONNECT_ACK", id="an unknown attribute"),
    ],
)
def test_quirk_10_farewells_in_any_form_are_answered(message: str, answer: str) -> None:
    script = connected()
    script.play(f"""
        << raw {message}
        !! LinkFailing TunnelClosed
        >> sstp {answer}
        @5
        !! LinkDown TunnelClosed
    """)


@pytest.mark.parametrize("when", ["call", "lcp"])
def test_quirk_10_disconnect_is_answered_in_every_state(when: str) -> None:
    script = ServerScript()
    script.play(">> sstp CALL_CONNECT_REQUEST")
    if when == "lcp":
        script.play("<< sstp CALL_CONNECT_ACK\n>> lcp Configure-Request 1 *")
    script.play("<< sstp CALL_DISCONNECT\n!! LinkFailing CallRejected\n>> sstp CALL_DISCONNECT_ACK")


def test_quirk_10_an_end_of_the_stream_without_close_notify_is_an_end_like_any_other() -> None:
    script = connected()
    script.link.transport_lost(TunnelClosed("server closed the connection"), script.now)
    script.play("!! LinkFailing server closed the connection\n!! LinkDown server closed the connection")


# Quirk 11, the spread of TLS, is about no script of SSTP: test_quirk_11_tls.py.


def test_quirk_12_the_domain_is_in_the_name_and_not_in_the_hash() -> None:
    """ServerScript's log-in takes LAB\\alice for alice, as servers do."""
    script = connected(username="LAB\\alice")
    assert script.link.carries_ip


def test_quirk_12_a_user_of_a_hub_is_hashed_as_written() -> None:
    script = connected(username="alice@hub")
    assert script.link.carries_ip


@pytest.mark.parametrize("spelling", [bytes.lower, bytes.upper, lambda proof: proof + b" M=welcome"])
def test_quirk_12_success_in_other_spellings(spelling: Callable[[bytes], bytes]) -> None:
    """The proof of the server in either case, with a message behind it or without."""
    script = ServerScript()
    script.play(CALL.format(auth="c22381"))
    script._step("<< login", "")
    script._step(">> chap 2 *", "")
    (success,) = script.login_packets()
    prefix, proof = success[4:6], success[6:46]
    assert (prefix, len(proof)) == (b"S=", 40)
    text = prefix + spelling(proof)
    script.receive(encode_data(b"\xff\x03\xc2\x23\x03" + success[1:2] + (4 + len(text)).to_bytes(2, "big") + text))
    script.play(f">> sstp CALL_CONNECTED\n>> {IPCP_REQUEST}")


def test_quirk_12_a_failure_without_challenge_and_message() -> None:
    """accel-ppp."""
    script = ServerScript()
    script.play(CALL.format(auth="c22381"))
    script._step("<< login", "")
    identifier = script.sent()[0].split()[2]
    script.play(f"""
        >> chap 2 {identifier} *
        << chap 4 {identifier} {b"E=691 R=0 V=3".hex()}
        >> lcp Terminate-Request *
        !! LinkFailing AuthenticationFailed
    """)


def test_quirk_12_softether_refused_pap_ends_the_session_with_the_way_out() -> None:
    """EAP, MS-CHAPv2 and PAP in turn, a step for each Nak; then it hangs up."""
    script = ServerScript(AuthMethod.CHAP_MD5)
    script.play("""
        >> sstp CALL_CONNECT_REQUEST
        << sstp CALL_CONNECT_ACK
        >> lcp Configure-Request 1 mru=1400
        << lcp Configure-Request 0 auth=c227
        >> lcp Configure-Nak 0 auth=c22305
        << lcp Configure-Request 1 auth=c22381
        >> lcp Configure-Nak 1 auth=c22305
        << lcp Configure-Request 2 auth=c023
        >> lcp Configure-Nak 2 auth=c22305
    """)
    script._step("<< lcp Terminate-Request 3", "")
    error = script.link.error
    assert isinstance(error, NegotiationFailed)
    assert error.hint == "Allow it with --auth chap,mschapv2."
