"""The client's call, told as transcripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.crypto_binding import verify_call_connected
from sstpsocks.sstp.explain import describe_status
from sstpsocks.sstp.machine import SstpTimers
from sstpsocks.sstp.packet import (
    ALL_HASHES,
    CALL_DISCONNECT_ACK,
    ECHO_REQUEST,
    ECHO_RESPONSE,
    Attribute,
    ControlPacket,
    HashProtocol,
    MessageType,
    StatusInfo,
    call_abort,
    call_connect_ack,
    call_connect_nak,
    call_disconnect,
    encode_data,
)
from sstpsocks.sstp.states import State

from .playbook import (
    CERTIFICATE,
    CHAP_FRAME,
    HLAK,
    IP_FRAME,
    IPCP_ACK,
    IPCP_REQUEST,
    LCP_FRAME,
    SERVER_NONCE,
    Playbook,
    accepted_client,
    client_machine,
    connected_client,
    control,
    established_client,
    requesting_client,
)

LIVE = [requesting_client, accepted_client, connected_client, established_client]
NAK = call_connect_nak((StatusInfo(1, 4, b"\0\1"),))


def shown(frame: bytes) -> str:
    return f"FrameReceived {frame.hex()}"


# The way up


def test_a_call_comes_up() -> None:
    client = client_machine()
    assert repr(client) == "<SstpClient Client_Call_Disconnected>"
    book = Playbook(client)
    assert client.poll_at() is None
    book.local(client.connect).sends("CALL_CONNECT_REQUEST")
    book.receives(call_connect_ack(ALL_HASHES, SERVER_NONCE)).tells("CallAccepted")
    book.local(lambda now: client.send_frame(LCP_FRAME, now)).sends(f"DATA {LCP_FRAME.hex()}")
    book.receives_frame(CHAP_FRAME).tells(shown(CHAP_FRAME))
    passed = [client.passes_data]
    book.local(lambda now: client.authenticated(HLAK, now)).sends("CALL_CONNECTED").tells("CallConnected")
    passed.append(client.passes_data)
    assert passed == [False, True]
    book.local(lambda now: client.send_frame(IP_FRAME, now)).sends(f"DATA {IP_FRAME.hex()}")
    book.receives_frame(IP_FRAME).tells(shown(IP_FRAME))
    book.done()
    assert HLAK.hex() not in repr(client)


@pytest.mark.parametrize("offered", [HashProtocol.SHA1, HashProtocol.SHA256, ALL_HASHES])
def test_call_connected_carries_a_binding_that_holds(offered: HashProtocol) -> None:
    client = client_machine()
    client.connect(0.0)
    client.receive_packet(call_connect_ack(offered, SERVER_NONCE), 0.0)
    client.authenticated(HLAK, 0.0)
    _, message = client.data_to_send(0.0)
    fault = verify_call_connected(
        message, hlak=HLAK, nonce=SERVER_NONCE, certificate_der=CERTIFICATE, offered=ALL_HASHES
    )
    assert fault is None
    assert client.hash_protocol is (HashProtocol.SHA1 if offered is HashProtocol.SHA1 else HashProtocol.SHA256)


def test_an_unknown_attribute_in_the_ack_is_skipped() -> None:
    known = ControlPacket.parse(call_connect_ack(ALL_HASHES, SERVER_NONCE)).attributes
    packet = ControlPacket(MessageType.CALL_CONNECT_ACK, (Attribute(99, b"new"), *known))
    requesting_client().receives(packet.to_bytes()).tells("CallAccepted").done()


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        pytest.param(control(MessageType.CALL_CONNECT_ACK), "4:9", id="no attribute"),
        pytest.param(ControlPacket(2, (Attribute(4, b"short"),)).to_bytes(), "4:9", id="wrong length"),
        pytest.param(call_connect_ack(HashProtocol(0), SERVER_NONCE), "4:4", id="no hash"),
        pytest.param(bytes.fromhex("1001 000c 0002 0001 0004 0028"), "2:7", id="malformed"),
    ],
)
def test_an_ack_that_cannot_be_used_aborts_the_call(packet: bytes, status: str) -> None:
    book = requesting_client()
    book.receives(packet).sends(f"CALL_ABORT {status}").tells(f"CallEnding ABORTED {status}").says("The server")
    assert book.machine.state is State.CALL_ABORT_PENDING


def test_a_hash_that_we_do_not_support_is_none() -> None:
    client = SstpClient(CERTIFICATE, supported_hashes=HashProtocol.SHA256)
    book = Playbook(client).local(client.connect).sends("CALL_CONNECT_REQUEST")
    book.receives(call_connect_ack(HashProtocol.SHA1, SERVER_NONCE)).sends("CALL_ABORT 4:4")
    book.tells("CallEnding ABORTED 4:4").says("no hash")


def test_a_refused_request_is_repeated_three_times() -> None:
    book = requesting_client()
    for _ in range(3):
        book.waits(59).receives(NAK).sends("CALL_CONNECT_REQUEST")
    book.receives(NAK).sends("CALL_ABORT 2:6").tells("CallEnding ABORTED 1:4")
    book.says("refused the SSTP connect request 4 times", "encapsulated protocol: value not supported")


def test_a_request_may_succeed_after_a_refusal() -> None:
    book = requesting_client().receives(NAK).sends("CALL_CONNECT_REQUEST")
    book.receives(call_connect_ack(ALL_HASHES, SERVER_NONCE)).tells("CallAccepted").done()


def test_refusals_without_a_readable_reason_count_too() -> None:
    book = requesting_client()
    for _ in range(3):
        book.receives(control(MessageType.CALL_CONNECT_NAK)).sends("CALL_CONNECT_REQUEST")
    book.receives(bytes.fromhex("1001 000c 0003 0001 0002 00ff")).sends("CALL_ABORT 2:6")
    book.tells("CallEnding ABORTED").says("4 times")


# What may pass when


def test_frames_before_the_ack_are_dropped() -> None:
    book = requesting_client().receives_frame(LCP_FRAME)
    book.done()
    assert book.machine.frames_dropped == 1
    with pytest.raises(LocalProtocolError):
        book.machine.send_frame(LCP_FRAME, book.now)


def test_network_layer_frames_before_call_connected_are_dropped() -> None:
    book = accepted_client().receives_frame(IP_FRAME)
    book.receives_frame(IPCP_REQUEST).tells(shown(IPCP_REQUEST))
    assert book.machine.frames_dropped == 1
    with pytest.raises(LocalProtocolError):
        book.machine.send_frame(IP_FRAME, book.now)


def test_frames_of_a_call_that_is_ending_are_dropped_in_both_directions() -> None:
    book = connected_client()
    machine = book.machine
    book.local(machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    assert not machine.passes_data
    book.receives_frame(IP_FRAME).receives_frame(LCP_FRAME)
    book.local(lambda now: machine.send_frame(LCP_FRAME, now)).done()
    assert machine.frames_dropped == 3


def test_a_frame_too_short_to_name_a_protocol_is_left_to_ppp() -> None:
    accepted_client().receives_frame(b"").tells("FrameReceived ").done()


def test_what_the_state_does_not_allow_is_our_own_error() -> None:
    client = client_machine()
    with pytest.raises(LocalProtocolError):
        client.authenticated(HLAK, 0.0)
    client.connect(0.0)
    with pytest.raises(LocalProtocolError):
        client.connect(0.0)
    with pytest.raises(LocalProtocolError):
        client.authenticated(HLAK, 0.0)
    with pytest.raises(LocalProtocolError):
        SstpTimers(hello=0.0)


def test_authenticating_again_changes_nothing() -> None:
    book = connected_client()
    client = book.machine
    assert isinstance(client, SstpClient)
    book.local(lambda now: client.authenticated(bytes(32), now)).done()


# Echo


@pytest.mark.parametrize("state", LIVE)
def test_an_echo_request_is_answered_in_every_live_state(state: Callable[[], Playbook]) -> None:
    state().receives(ECHO_REQUEST).sends("ECHO_RESPONSE").receives(ECHO_RESPONSE).done()


def test_the_hello_timer_asks_once_and_then_gives_the_server_up() -> None:
    book = established_client().waits(19.9)
    book.waits(0.1).sends("ECHO_REQUEST").tells("EchoRequested")
    book.waits(19.9).waits(0.1).tells("CallEnded PEER_SILENT")
    book.says("sent nothing for 40 seconds")
    assert book.machine.closed
    assert book.machine.poll_at() is None


@pytest.mark.parametrize("life", [ECHO_RESPONSE, encode_data(IP_FRAME), encode_data(LCP_FRAME)])
def test_any_packet_at_all_is_life(life: bytes) -> None:
    book = established_client()
    for _ in range(3):
        book.waits(20).sends("ECHO_REQUEST").tells("EchoRequested")
        book.waits(19).receives(life).whatever()
        book.waits(19.9).receives(life).whatever()
    book.done()


def test_life_that_the_data_path_notes_by_itself_counts() -> None:
    book = established_client().waits(20).sends("ECHO_REQUEST").tells("EchoRequested")
    book.machine.last_received = book.now + 5
    book.waits(24.9).waits(0.1).sends("ECHO_REQUEST").tells("EchoRequested").done()


def test_the_hello_timer_begins_with_call_connected_not_with_the_last_packet_before() -> None:
    book = accepted_client().waits(50)
    client = book.machine
    assert isinstance(client, SstpClient)
    book.local(lambda now: client.authenticated(HLAK, now)).sends("CALL_CONNECTED").tells("CallConnected")
    book.waits(19.9).waits(0.1).sends("ECHO_REQUEST").tells("EchoRequested").done()


def test_an_answer_within_the_resolution_of_the_clock_is_life() -> None:
    book = established_client().waits(20).sends("ECHO_REQUEST").tells("EchoRequested")
    book.receives(ECHO_RESPONSE).waits(20).sends("ECHO_REQUEST").tells("EchoRequested").done()


def test_a_timer_called_late_still_asks_first() -> None:
    book = established_client()
    book.now += 3600
    book.local(book.machine.handle_timer).sends("ECHO_REQUEST").tells("EchoRequested")
    book.waits(20).tells("CallEnded PEER_SILENT")


def test_no_echo_request_is_sent_before_call_connected() -> None:
    accepted_client().waits(59.9).done()


# Timers of negotiation


def test_no_answer_to_the_request_aborts_the_call() -> None:
    book = requesting_client().waits(59.9).waits(0.1).sends("CALL_ABORT 2:8")
    book.tells("CallEnding NEGOTIATION_TIMEOUT 2:8").says("did not answer the SSTP connect request within 60 seconds")
    book.waits(3).tells("CallEnded NEGOTIATION_TIMEOUT 2:8").done()


def test_the_ack_restarts_the_timer_and_logging_in_must_end_within_it() -> None:
    book = requesting_client().waits(50).receives(call_connect_ack(ALL_HASHES, SERVER_NONCE)).tells("CallAccepted")
    book.waits(59.9).waits(0.1).sends("CALL_ABORT 2:8").tells("CallEnding NEGOTIATION_TIMEOUT 2:8")
    book.says("log-in")


def test_lengths_of_timers_are_settings() -> None:
    client = SstpClient(CERTIFICATE, timers=SstpTimers(negotiation=5.0))
    book = Playbook(client).local(client.connect).sends("CALL_CONNECT_REQUEST")
    book.waits(5).sends("CALL_ABORT 2:8").tells("CallEnding NEGOTIATION_TIMEOUT 2:8")


# Messages that the state does not allow


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (requesting_client, MessageType.CALL_CONNECT_REQUEST),
        (requesting_client, MessageType.CALL_CONNECTED),
        (requesting_client, MessageType.CALL_DISCONNECT_ACK),
        (accepted_client, MessageType.CALL_CONNECT_ACK),
        (accepted_client, MessageType.CALL_CONNECT_NAK),
        (accepted_client, MessageType.CALL_CONNECTED),
        (connected_client, MessageType.CALL_CONNECT_ACK),
        (connected_client, MessageType.CALL_CONNECT_REQUEST),
        (connected_client, MessageType.CALL_DISCONNECT_ACK),
    ],
)
def test_a_message_out_of_place_aborts_the_call(state: Callable[[], Playbook], message: MessageType) -> None:
    book = state().receives(control(message)).sends("CALL_ABORT 2:5").tells("CallEnding ABORTED 2:5")
    book.says(f"The server broke the SSTP protocol: it sent {message.name}")
    book.waits(2.9).waits(0.1).tells("CallEnded ABORTED 2:5").done()


@pytest.mark.parametrize("state", LIVE)
def test_an_unknown_message_type_aborts_the_call(state: Callable[[], Playbook]) -> None:
    book = state().receives(bytes.fromhex("1001 0008 000a 0000")).sends("CALL_ABORT 2:7")
    book.tells("CallEnding ABORTED 2:7").receives(bytes.fromhex("1001 0008 ffff 0000")).done()


# The server ends the call


def test_an_abort_without_a_reason_is_told_so() -> None:
    assert describe_status(0, 0) == "no error (attribute 0, status 0)"


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize(
    ("abort", "told"),
    [
        pytest.param(call_abort(2, 7), " 2:7", id="as specified"),
        pytest.param(control(MessageType.CALL_ABORT), "", id="no attribute"),
        pytest.param(bytes.fromhex("1001 0010 0005 0001 0002 0008 00000007"), " -:7", id="only the status"),
        pytest.param(call_abort(0, 0), " 0:0", id="no reason given"),
        pytest.param(bytes.fromhex("1001 000c 0005 0001 0002 00ff"), "", id="broken attribute"),
    ],
)
def test_an_abort_is_answered_in_whatever_form_it_comes(state: Callable[[], Playbook], abort: bytes, told: str) -> None:
    book = state().receives(abort).sends("CALL_ABORT").tells(f"CallEnding PEER_ABORTED{told}")
    assert book.machine.state is State.CALL_ABORT_TIMEOUT_PENDING
    # While lingering everything is ignored, but a disconnect is still acknowledged.
    book.receives(abort, ECHO_REQUEST, control(MessageType.CALL_CONNECT_ACK), CALL_DISCONNECT_ACK)
    book.receives(call_disconnect()).sends("CALL_DISCONNECT_ACK")
    book.waits(0.9).waits(0.1).tells(f"CallEnded PEER_ABORTED{told}").done()


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize(
    ("disconnect", "told"),
    [
        pytest.param(call_disconnect(), " 0:0", id="as specified"),
        pytest.param(control(MessageType.CALL_DISCONNECT), "", id="no attribute"),
        pytest.param(bytes.fromhex("1001 0010 0006 0001 0000 0008 00000000"), " -:0", id="attribute id 0"),
    ],
)
def test_a_disconnect_is_acknowledged_in_whatever_form_it_comes(
    state: Callable[[], Playbook], disconnect: bytes, told: str
) -> None:
    book = state().receives(disconnect).sends("CALL_DISCONNECT_ACK").tells(f"CallEnding PEER_DISCONNECTED{told}")
    assert book.machine.state is State.CALL_DISCONNECT_TIMEOUT_PENDING
    book.receives(call_abort(2, 5), ECHO_REQUEST, CALL_DISCONNECT_ACK, control(MessageType.CALL_CONNECT_NAK))
    book.receives(disconnect).sends("CALL_DISCONNECT_ACK")
    book.waits(0.9).waits(0.1).tells(f"CallEnded PEER_DISCONNECTED{told}").done()


def test_an_abort_right_after_call_connected_names_the_crypto_binding_whatever_its_status() -> None:
    for abort in (call_abort(2, 7), control(MessageType.CALL_ABORT)):
        book = connected_client().receives(abort).sends("CALL_ABORT")
        book.says("The server aborted", "probably rejected the crypto binding", "load balancer or TLS inspection")


def test_a_request_that_crosses_call_connected_does_not_prove_the_binding() -> None:
    book = connected_client().receives_frame(IPCP_REQUEST).tells(shown(IPCP_REQUEST))
    book.receives(call_disconnect()).sends("CALL_DISCONNECT_ACK").says("crypto binding", "TLS inspection")


@pytest.mark.parametrize("proof", [IPCP_ACK, IP_FRAME])
def test_after_an_answer_the_binding_is_not_suspected(proof: bytes) -> None:
    book = connected_client().receives_frame(proof).tells(shown(proof))
    book.receives(call_abort(2, 7)).sends("CALL_ABORT").tells("CallEnding PEER_ABORTED 2:7")
    assert "binding" not in book.text
    book.says("while the call was established", "invalid message received")


def test_a_status_that_names_the_binding_is_believed() -> None:
    book = established_client().receives(call_abort(3, 4)).sends("CALL_ABORT").tells("CallEnding PEER_ABORTED 3:4")
    book.says("it rejected the crypto binding", "(attribute 3, status 4)")


def test_an_unknown_status_is_shown_by_its_number() -> None:
    book = requesting_client().receives(call_abort(9, 77)).sends("CALL_ABORT").tells("CallEnding PEER_ABORTED 9:77")
    book.says("before the call was accepted", "unknown attribute: unknown (attribute 9, status 77)")


# We end the call


@pytest.mark.parametrize("state", LIVE)
def test_a_disconnect_of_ours_ends_with_its_acknowledgment(state: Callable[[], Playbook]) -> None:
    book = state()
    book.local(book.machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.local(book.machine.disconnect)
    book.receives(ECHO_REQUEST, control(MessageType.CALL_CONNECT_ACK), encode_data(LCP_FRAME))
    book.receives(CALL_DISCONNECT_ACK).tells("CallEnded DISCONNECTED 0:0").done()
    assert book.machine.closed


def test_a_disconnect_that_nobody_acknowledges_ends_after_five_seconds() -> None:
    book = connected_client()
    book.local(book.machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.waits(4.9).waits(0.1).tells("CallEnded DISCONNECTED 0:0").done()


def test_disconnects_that_cross_are_both_acknowledged() -> None:
    book = connected_client()
    book.local(book.machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.receives(call_disconnect()).sends("CALL_DISCONNECT_ACK")
    assert book.machine.state is State.CALL_DISCONNECT_TIMEOUT_PENDING
    book.receives(CALL_DISCONNECT_ACK).waits(0.9).waits(0.1).tells("CallEnded DISCONNECTED 0:0").done()


def test_an_abort_that_crosses_our_disconnect_is_answered() -> None:
    book = connected_client()
    book.local(book.machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.receives(call_abort(2, 7)).sends("CALL_ABORT")
    book.waits(1).tells("CallEnded DISCONNECTED 0:0").done()


def test_a_failed_authentication_disconnects() -> None:
    book = accepted_client()
    client = book.machine
    book.local(client.authentication_failed).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.says("authentication failed")


def test_an_abort_of_ours_waits_for_the_servers() -> None:
    book = connected_client()
    book.local(lambda now: book.machine.abort(2, 7, now)).sends("CALL_ABORT 2:7").tells("CallEnding ABORTED 2:7")
    book.receives(ECHO_REQUEST, CALL_DISCONNECT_ACK, encode_data(IP_FRAME))
    book.receives(call_disconnect()).sends("CALL_DISCONNECT_ACK")
    book.waits(2.9).receives(call_abort(2, 7))
    assert book.machine.state is State.CALL_ABORT_TIMEOUT_PENDING
    book.waits(0.9).waits(0.1).tells("CallEnded ABORTED 2:7").done()


def test_a_call_that_was_never_begun_just_ends() -> None:
    client = client_machine()
    Playbook(client).local(client.disconnect).tells("CallEnded DISCONNECTED 0:0").done()
    client = client_machine()
    Playbook(client).local(lambda now: client.abort(2, 7, now)).tells("CallEnded ABORTED 2:7").done()
    assert client.closed


# The connection below


@pytest.mark.parametrize("state", LIVE)
def test_a_lost_connection_ends_the_call_at_once_and_sends_nothing(state: Callable[[], Playbook]) -> None:
    book = state()
    book.machine.receive_data(ECHO_REQUEST, book.now)
    book.local(book.machine.lower_layer_lost).tells("CallEnded LOWER_LAYER_LOST")
    book.local(book.machine.lower_layer_lost).receives(ECHO_REQUEST).waits(1000).done()


def test_a_close_right_after_call_connected_names_the_crypto_binding() -> None:
    book = connected_client()
    book.local(book.machine.lower_layer_lost).says("connection to the server", "crypto binding")


def test_what_began_the_end_is_told_even_when_the_connection_goes_first() -> None:
    book = connected_client().receives(call_abort(2, 7)).sends("CALL_ABORT").tells("CallEnding PEER_ABORTED 2:7")
    book.local(book.machine.lower_layer_lost).tells("CallEnded PEER_ABORTED 2:7").done()


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400", b"\x10\x00\x00\x03", b"\x10\x01\x00\x07"])
def test_a_stream_that_cannot_be_delineated_ends_without_a_word(garbage: bytes) -> None:
    book = connected_client()
    client = book.machine
    with pytest.raises(RemoteProtocolError):
        client.receive_data(encode_data(IPCP_ACK) + ECHO_REQUEST + garbage, book.now)
    assert client.state is State.ERROR
    assert client.closed
    # What came before the error still counts, but nothing goes out any more.
    book.waits(1000).tells(shown(IPCP_ACK)).done()
    with pytest.raises(RemoteProtocolError):
        client.receive_data(ECHO_REQUEST, book.now)
    book.local(client.disconnect).local(client.lower_layer_lost).done()


@pytest.mark.parametrize("packet", [b"", b"\x10\x01", ECHO_REQUEST + b"\0", ECHO_REQUEST[:-1]])
def test_receive_packet_takes_exactly_one_packet(packet: bytes) -> None:
    book = connected_client()
    with pytest.raises(RemoteProtocolError):
        book.machine.receive_packet(packet, book.now)
    assert book.machine.closed


def test_packets_behind_the_end_of_a_call_are_ignored() -> None:
    book = connected_client()
    book.local(book.machine.disconnect).sends("CALL_DISCONNECT 0:0").tells("CallEnding DISCONNECTED 0:0")
    book.receives(CALL_DISCONNECT_ACK, ECHO_REQUEST, b"garbage").tells("CallEnded DISCONNECTED 0:0")
    book.machine.receive_packet(ECHO_REQUEST, book.now)
    book.local(lambda now: book.machine.send_frame(LCP_FRAME, now)).done()
