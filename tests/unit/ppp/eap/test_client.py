"""The client of EAP against single packets: what it answers, and what Success and Failure mean when."""

from __future__ import annotations

import hashlib

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.ppp.auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.eap.client import EapClient
from sstpsocks.ppp.eap.methods import make_eap_client
from sstpsocks.ppp.eap.packet import (
    GTC,
    IDENTITY,
    MD5_CHALLENGE,
    NOTIFICATION,
    EapCode,
    EapPacket,
    EapType,
    MethodType,
)

ALICE = Credentials("alice", "open sesame")
NOW = 5.0
GTC_ONLY = (AuthMethod.MSCHAPV2, AuthMethod.EAP_GTC)


def new_client(*methods: AuthMethod) -> EapClient:
    return make_eap_client(methods or GTC_ONLY, ALICE, SeededEntropy(1))


def request(identifier: int, kind: MethodType, data: bytes = b"") -> bytes:
    return EapPacket(EapCode.REQUEST, identifier, kind, data).to_bytes()


def success(identifier: int) -> bytes:
    return EapPacket(EapCode.SUCCESS, identifier).to_bytes()


def failure(identifier: int) -> bytes:
    return EapPacket(EapCode.FAILURE, identifier).to_bytes()


def feed(client: EapClient, *packets: bytes) -> list[EapPacket]:
    for packet in packets:
        client.receive_packet(packet, NOW)
    return [EapPacket.parse(packet) for packet in client.packets_to_send(NOW)]


def test_identity_and_a_method_lead_to_success() -> None:
    client = new_client()
    assert feed(client, request(1, IDENTITY, b"Who?")) == [EapPacket(EapCode.RESPONSE, 1, IDENTITY, b"alice")]
    assert feed(client, request(2, GTC, b"Password: ")) == [EapPacket(EapCode.RESPONSE, 2, GTC, b"open sesame")]
    feed(client, success(2))
    assert client.next_event() == AuthSucceeded(AuthMethod.EAP_GTC, bytes(32), "alice", "Password:")
    assert client.next_event() is None


def test_md5_is_answered_with_the_identifier_of_the_request() -> None:
    client = new_client(AuthMethod.EAP_MD5)
    (response,) = feed(client, request(77, MD5_CHALLENGE, b"\x04abcdserver"))
    digest = hashlib.md5(b"\x4dopen sesameabcd", usedforsecurity=False).digest()
    assert response.data == b"\x10" + digest + b"alice"


def test_a_repeated_request_gets_the_identical_response_and_nobody_is_asked_twice() -> None:
    client = new_client()
    first = feed(client, request(2, GTC))
    again = feed(client, request(2, GTC))
    assert first == again
    assert client.next_event() is None


def test_another_request_with_the_same_identifier_is_no_repetition() -> None:
    client = new_client()
    feed(client, request(1, IDENTITY))
    (response,) = feed(client, request(1, GTC))
    assert response.kind == GTC


def test_a_notification_is_acknowledged_at_any_time_and_shown_with_the_verdict() -> None:
    client = new_client()
    assert feed(client, request(1, NOTIFICATION, b"Expires\x1b[31m soon")) == [
        EapPacket(EapCode.RESPONSE, 1, NOTIFICATION, b"")
    ]
    feed(client, request(2, GTC), success(2))
    event = client.next_event()
    assert isinstance(event, AuthSucceeded)
    assert event.message == "Expires [31m soon"


def test_unwanted_methods_get_a_nak_with_a_list() -> None:
    client = new_client(AuthMethod.EAP_MSCHAPV2, AuthMethod.EAP_GTC)
    (response,) = feed(client, request(1, MethodType(21), b"\x20"))
    assert (response.kind, response.data) == ((EapType.NAK, 0), bytes((26, 6)))


def test_after_a_method_was_answered_others_are_discarded() -> None:
    client = new_client(AuthMethod.EAP_MD5, AuthMethod.EAP_GTC)
    feed(client, request(1, GTC))
    for late in (request(2, MD5_CHALLENGE, b"\x01x"), request(3, IDENTITY)):
        with pytest.raises(RemoteProtocolError):
            client.receive_packet(late, NOW)
    assert client.packets_to_send(NOW) == []


def test_a_malformed_first_request_selects_nothing() -> None:
    client = new_client(AuthMethod.EAP_MD5, AuthMethod.EAP_GTC)
    with pytest.raises(RemoteProtocolError):
        client.receive_packet(request(1, MD5_CHALLENGE), NOW)
    (response,) = feed(client, request(2, GTC))
    assert response.kind == GTC


@pytest.mark.parametrize("kind", [(2**32 - 1, 1), (3, 0), (0, 0)])
def test_types_without_requests(kind: tuple[int, int]) -> None:
    client = new_client()
    number, vendor = kind
    if vendor:
        (response,) = feed(client, request(1, MethodType(number, vendor)))
        assert response.expanded
    else:
        with pytest.raises(RemoteProtocolError):
            client.receive_packet(request(1, MethodType(number)), NOW)


def test_a_success_out_of_the_blue_counts_for_nothing() -> None:
    client = new_client()
    feed(client, success(1), request(1, IDENTITY), success(1))
    assert client.discarded == 2
    assert client.next_event() is None


def test_a_success_before_the_server_has_proved_itself_is_discarded() -> None:
    client = new_client(AuthMethod.EAP_MSCHAPV2)
    challenge = b"\x01\x07\x00\x15\x10" + bytes(range(16)) + b"vm"
    feed(client, request(3, MethodType(26), challenge))
    with pytest.raises(RemoteProtocolError):
        client.receive_packet(success(3), NOW)
    assert client.next_event() is None


@pytest.mark.parametrize(("identifier", "taken"), [(2, True), (3, True), (1, False), (200, False)])
def test_a_success_must_fit_the_last_response_or_be_one_further(identifier: int, *, taken: bool) -> None:
    client = new_client()
    feed(client, request(2, GTC), success(identifier))
    assert (client.next_event() is not None) == taken


def test_a_failure_before_any_method_is_about_the_name() -> None:
    client = new_client()
    feed(client, request(1, IDENTITY), failure(1))
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert "the user name" in event.message
    assert not event.retry_allowed


def test_a_server_without_a_usable_method_is_told_with_what_to_allow() -> None:
    client = new_client(AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2)
    feed(client, request(1, GTC), failure(1))
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert "offers only EAP-GTC" in event.message
    assert event.hint.startswith("Allow it with --auth mschapv2,eap-mschapv2,eap-gtc.")
    assert "shows the server the password" in event.hint


def test_a_server_with_methods_that_nobody_has() -> None:
    client = new_client()
    feed(client, request(1, MethodType(43)), failure(1))
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert "EAP-FAST" in event.message
    assert "None of these is supported" in event.hint


def test_a_second_question_of_a_token_card_is_not_answered_with_the_same_secret() -> None:
    client = new_client()
    feed(client, request(1, GTC, b"Password: "))
    assert feed(client, request(2, GTC, b"Code of the token: ")) == []
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert event.retry_allowed
    assert "Code of the token" in event.message
    with pytest.raises(LocalProtocolError):
        client.retry(ALICE, NOW)
    client.retry(Credentials("alice", "123456"), NOW)
    assert feed(client) == [EapPacket(EapCode.RESPONSE, 2, GTC, b"123456")]
    assert feed(client, request(2, GTC, b"Code of the token: "))[0].data == b"123456"
    feed(client, success(2))
    assert isinstance(client.next_event(), AuthSucceeded)


def test_a_repetition_while_the_user_is_asked_is_ignored() -> None:
    client = new_client()
    feed(client, request(1, GTC), request(2, GTC, b"Code"))
    assert feed(client, request(2, GTC, b"Code")) == [], "the password must not go out for the code"


def test_a_failure_while_the_user_is_asked_ends_it() -> None:
    client = new_client()
    feed(client, request(1, GTC), request(2, GTC, b"Code"), failure(2))
    client.next_event()
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert not event.retry_allowed


def test_another_login_on_the_open_link_is_answered_and_not_announced_again() -> None:
    client = new_client()
    feed(client, request(1, GTC), success(1))
    assert isinstance(client.next_event(), AuthSucceeded)
    assert feed(client, request(9, IDENTITY))[0].data == b"alice"
    assert feed(client, request(10, GTC))[0].data == b"open sesame"
    feed(client, success(10))
    assert client.next_event() is None
    assert "SUCCEEDED" in repr(client)


def test_nothing_is_answered_after_a_refusal() -> None:
    client = new_client()
    feed(client, request(1, GTC), failure(1))
    assert feed(client, request(2, IDENTITY), request(3, GTC)) == []
    with pytest.raises(LocalProtocolError):
        client.retry(Credentials("alice", "other"), NOW)
