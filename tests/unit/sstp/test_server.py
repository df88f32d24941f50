"""The server's call, told as transcripts. What it shares with the client's is tested there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError
from sstpsocks.sstp.packet import (
    ECHO_REQUEST,
    Attribute,
    AttributeId,
    ControlPacket,
    CryptoBindingRequest,
    HashProtocol,
    MessageType,
    StatusInfo,
    call_abort,
    call_connect_request,
    call_disconnect,
)
from sstpsocks.sstp.server import SstpServer
from sstpsocks.sstp.states import State

from .playbook import (
    CERTIFICATE,
    CONNECTED,
    HLAK,
    IP_FRAME,
    IPCP_REQUEST,
    LCP_FRAME,
    Playbook,
    accepted_server,
    connected_server,
    control,
    pending_server,
    server_machine,
)

LIVE = [pending_server, accepted_server, connected_server]
PPP = Attribute(AttributeId.ENCAPSULATED_PROTOCOL_ID, b"\0\1")


def request(*attributes: Attribute) -> bytes:
    return ControlPacket(MessageType.CALL_CONNECT_REQUEST, attributes).to_bytes()


def server_of(book: Playbook) -> SstpServer:
    assert isinstance(book.machine, SstpServer)
    return book.machine


def test_a_call_comes_up() -> None:
    server = server_machine()
    assert repr(server) == "<SstpServer Server_Call_Disconnected>"
    assert server.poll_at() is None
    book = Playbook(server).local(server.accept)
    book.receives(call_connect_request()).sends("CALL_CONNECT_ACK").tells("CallAccepted")
    book.receives_frame(LCP_FRAME).tells(f"FrameReceived {LCP_FRAME.hex()}")
    book.local(lambda now: server.send_frame(LCP_FRAME, now)).sends(f"DATA {LCP_FRAME.hex()}")
    book.receives_frame(IP_FRAME)
    book.local(lambda now: server.authenticated(HLAK, now))
    book.receives(CONNECTED).tells("CallConnected")
    book.receives_frame(IP_FRAME).tells(f"FrameReceived {IP_FRAME.hex()}").done()
    assert server.passes_data
    assert server.frames_dropped == 1


def test_the_first_data_opens_the_call_too() -> None:
    book = Playbook(server_machine()).receives(call_connect_request()).sends("CALL_CONNECT_ACK").tells("CallAccepted")
    with pytest.raises(LocalProtocolError):
        server_of(book).accept(book.now)
    server = server_machine()
    server.receive_packet(call_connect_request(), 0.0)
    assert server.state is State.SERVER_CALL_CONNECTED_PENDING


def test_each_call_has_its_own_nonce_and_the_configured_hashes() -> None:
    entropy = SeededEntropy("nonces")
    nonces = set()
    for _ in range(2):
        server = SstpServer(CERTIFICATE, entropy, offered_hashes=HashProtocol.SHA256)
        server.receive_packet(call_connect_request(), 0.0)
        (ack,) = server.data_to_send(0.0)
        attribute = ControlPacket.parse(ack).find(AttributeId.CRYPTO_BINDING_REQ)
        assert attribute is not None
        offer = CryptoBindingRequest.parse(attribute.value)
        assert offer.hashes is HashProtocol.SHA256
        nonces.add(offer.nonce)
    assert len(nonces) == 2
    with pytest.raises(LocalProtocolError):
        SstpServer(CERTIFICATE, entropy, offered_hashes=HashProtocol(0))


@pytest.mark.parametrize(
    ("packet", "faults"),
    [
        pytest.param(request(), "1:10", id="no protocol"),
        pytest.param(request(Attribute(1, b"\0\2")), "1:4", id="another protocol"),
        pytest.param(request(Attribute(1, b"\0\0\1")), "1:3", id="wrong length"),
        pytest.param(request(PPP, PPP), "1:1", id="twice"),
        pytest.param(request(PPP, Attribute(9, b"x")), "9:2", id="unknown"),
        pytest.param(request(StatusInfo(1, 4).to_attribute(), PPP), "2:11", id="status info"),
        pytest.param(request(Attribute(9, b"x"), Attribute(1, b"\0\2")), "9:2 1:4", id="two faults"),
    ],
)
def test_a_request_is_refused_with_all_its_faults(packet: bytes, faults: str) -> None:
    book = pending_server().receives(packet).sends(f"CALL_CONNECT_NAK {faults}")
    book.receives(call_connect_request()).sends("CALL_CONNECT_ACK").tells("CallAccepted").done()


def test_a_status_info_without_error_is_no_fault() -> None:
    book = pending_server().receives(request(StatusInfo(0, 0).to_attribute(), PPP))
    book.sends("CALL_CONNECT_ACK").tells("CallAccepted").done()


def test_a_refusal_gives_at_most_64_bytes_of_the_value_back() -> None:
    server = server_machine()
    server.receive_packet(request(Attribute(1, bytes(range(100)))), 0.0)
    (nak,) = server.data_to_send(0.0)
    (attribute,) = ControlPacket.parse(nak).attributes
    assert StatusInfo.parse(attribute.value) == StatusInfo(1, 3, bytes(range(64)))


def test_the_fourth_bad_request_aborts_the_call() -> None:
    book = pending_server()
    for _ in range(3):
        book.receives(request()).sends("CALL_CONNECT_NAK 1:10")
    book.receives(request()).sends("CALL_ABORT 2:6").tells("CallEnding ABORTED 1:10").says("4 SSTP connect requests")


def test_a_request_that_cannot_be_read_aborts_the_call() -> None:
    book = pending_server().receives(bytes.fromhex("1001 000a 0001 0001 0001"))
    book.sends("CALL_ABORT 2:7").tells("CallEnding ABORTED 2:7")


def test_a_call_connected_that_comes_before_the_key_is_judged_when_the_key_is_there() -> None:
    book = accepted_server().receives(CONNECTED)
    book.receives_frame(IPCP_REQUEST).tells(f"FrameReceived {IPCP_REQUEST.hex()}")
    book.local(lambda now: server_of(book).authenticated(HLAK, now)).tells("CallConnected").done()


def test_two_early_call_connected_are_one_too_many() -> None:
    book = accepted_server().receives(CONNECTED).receives(CONNECTED).sends("CALL_ABORT 2:5")
    book.tells("CallEnding ABORTED 2:5")


def test_a_wrong_key_is_refused_early_or_late() -> None:
    early = accepted_server().receives(CONNECTED)
    early.local(lambda now: server_of(early).authenticated(bytes(32), now)).sends("CALL_ABORT 3:4")
    early.tells("CallEnding ABORTED 3:4").says("compound MAC is wrong")
    late = accepted_server()
    late.local(lambda now: server_of(late).authenticated(bytes(32), now))
    late.receives(CONNECTED).sends("CALL_ABORT 3:4").tells("CallEnding ABORTED 3:4")
    assert not server_of(late).passes_data


def test_a_call_connected_without_a_binding_is_refused() -> None:
    book = accepted_server()
    book.local(lambda now: server_of(book).authenticated(HLAK, now))
    book.receives(control(MessageType.CALL_CONNECTED)).sends("CALL_ABORT 2:9").tells("CallEnding ABORTED 2:9")


def test_a_server_that_does_not_verify_takes_anything() -> None:
    server = SstpServer(CERTIFICATE, SeededEntropy("server"), verify_binding=False)
    book = Playbook(server).receives(call_connect_request()).sends("CALL_CONNECT_ACK").tells("CallAccepted")
    book.receives(control(MessageType.CALL_CONNECTED)).tells("CallConnected")
    book.local(lambda now: server.authenticated(HLAK, now)).done()


def test_the_key_cannot_come_before_the_request() -> None:
    with pytest.raises(LocalProtocolError):
        server_of(pending_server()).authenticated(HLAK, 0.0)


def test_a_client_that_asks_for_nothing_is_aborted() -> None:
    book = pending_server().waits(59.9).waits(0.1).sends("CALL_ABORT 2:8")
    book.tells("CallEnding NEGOTIATION_TIMEOUT 2:8").says("sent no SSTP connect request")
    book.waits(3).tells("CallEnded NEGOTIATION_TIMEOUT 2:8").done()


def test_a_client_that_never_connects_is_aborted() -> None:
    book = accepted_server().waits(59.9).waits(0.1).sends("CALL_ABORT 2:8")
    book.tells("CallEnding NEGOTIATION_TIMEOUT 2:8").says("did not send CALL_CONNECTED")


def test_a_silent_client_is_asked_and_given_up() -> None:
    book = connected_server().waits(20).sends("ECHO_REQUEST").tells("EchoRequested")
    book.waits(20).tells("CallEnded PEER_SILENT").says("The client sent nothing")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (pending_server, MessageType.CALL_CONNECT_ACK),
        (pending_server, MessageType.CALL_CONNECTED),
        (accepted_server, MessageType.CALL_CONNECT_REQUEST),
        (accepted_server, MessageType.CALL_DISCONNECT_ACK),
        (connected_server, MessageType.CALL_CONNECTED),
        (connected_server, MessageType.CALL_CONNECT_REQUEST),
    ],
)
def test_a_message_out_of_place_aborts_the_call(state: Callable[[], Playbook], message: MessageType) -> None:
    book = state().receives(control(message)).sends("CALL_ABORT 2:5").tells("CallEnding ABORTED 2:5")
    book.says(f"The client broke the SSTP protocol: it sent {message.name}")


@pytest.mark.parametrize("state", LIVE)
def test_echo_abort_and_disconnect_are_answered_in_every_live_state(state: Callable[[], Playbook]) -> None:
    state().receives(ECHO_REQUEST).sends("ECHO_RESPONSE").done()
    book = state().receives(call_abort(2, 5)).sends("CALL_ABORT").tells("CallEnding PEER_ABORTED 2:5")
    book.says("The client aborted").waits(1).tells("CallEnded PEER_ABORTED 2:5").done()
    book = state().receives(call_disconnect()).sends("CALL_DISCONNECT_ACK").tells("CallEnding PEER_DISCONNECTED 0:0")
    book.says("The client ended").waits(1).tells("CallEnded PEER_DISCONNECTED 0:0").done()


def test_a_lost_connection_is_told_without_guesses_about_the_binding() -> None:
    book = connected_server()
    book.local(book.machine.lower_layer_lost).tells("CallEnded LOWER_LAYER_LOST").says("connection to the client")
    assert "binding" not in book.text
