from __future__ import annotations

import hashlib

import pytest

from sstpsocks.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from sstpsocks.ppp.auth import ZERO_HLAK, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.auth_packet import AuthPacket, ChapCode, ChapValue, PapCode, PapRequest
from sstpsocks.ppp.chap import ChapMd5Client
from sstpsocks.ppp.pap import PapClient, PapServer, PapState
from tests.helpers.auth import ALICE, PASSWORDS, WRONG, make_pair

NOW = 10.0


class TestPapClient:
    def started(self) -> tuple[PapClient, bytes]:
        client = PapClient(ALICE)
        client.start(NOW)
        (packet,) = client.packets_to_send(NOW)
        return client, packet

    def test_sends_name_and_password(self) -> None:
        _, packet = self.started()
        assert packet == b"\x01\x01\x00\x16\x05alice\x0bopen sesame"

    def test_repeats_itself_with_a_new_identifier(self) -> None:
        client, first = self.started()
        client.handle_timer(NOW + 19.9)
        assert client.packets_to_send(NOW + 19.9) == []
        client.handle_timer(NOW + 20.0)
        (second,) = client.packets_to_send(NOW + 20.0)
        assert second[1] != first[1]
        assert second[4:] == first[4:]

    def test_stops_after_ten_requests_and_still_takes_a_late_answer(self) -> None:
        pair = make_pair(AuthMethod.PAP)
        pair.fate = lambda number: 0
        pair.start()
        pair.run(10_000)
        assert len(pair.sent_by("client")) == 10
        pair.client.receive_packet(b"\x02\x01\x00\x04", pair.now)
        assert isinstance(pair.client.next_event(), AuthSucceeded)

    @pytest.mark.parametrize(
        ("data", "text"),
        [(b"", ""), (b"\x00", ""), (b"\x05Hello", "Hello"), (b"\xffHello", "Hello"), (b"\x05Hel\x1b\n", "Hel")],
    )
    def test_takes_any_message(self, data: bytes, text: str) -> None:
        client, _ = self.started()
        client.receive_packet(AuthPacket(PapCode.AUTHENTICATE_ACK, 1, data).to_bytes(), NOW)
        assert client.next_event() == AuthSucceeded(AuthMethod.PAP, ZERO_HLAK, "alice", text)
        assert client.poll_at() is None

    def test_a_nak_is_final(self) -> None:
        client, _ = self.started()
        client.receive_packet(AuthPacket(PapCode.AUTHENTICATE_NAK, 1, b"\x04Nope").to_bytes(), NOW)
        event = client.next_event()
        assert isinstance(event, AuthRefused)
        assert event.code is None
        assert not event.retry_allowed
        assert "Nope" in event.message
        assert event.hint
        client.start(NOW)
        client.handle_timer(NOW + 100)
        assert client.packets_to_send(NOW + 100) == []
        with pytest.raises(LocalProtocolError):
            client.retry(Credentials("alice", "other"), NOW)

    @pytest.mark.parametrize(
        "packet", [b"\x02\x09\x00\x04", b"\x03\x09\x00\x04", b"\x01\x01\x00\x04", b"\x09\x01\x00\x04"]
    )
    def test_discards_what_does_not_fit(self, packet: bytes) -> None:
        client, _ = self.started()
        client.receive_packet(packet, NOW)
        assert client.next_event() is None
        assert client.discarded == 1

    def test_discards_an_answer_before_the_question(self) -> None:
        client = PapClient(ALICE)
        client.receive_packet(b"\x02\x01\x00\x04", NOW)
        assert client.next_event() is None

    @pytest.mark.parametrize(
        "credentials",
        [
            Credentials("a" * 256, "x"),
            Credentials("a", "x" * 256),
            Credentials("a", "\udcff"),
            Credentials("\ud800", "x"),
        ],
    )
    def test_what_cannot_be_sent_is_a_configuration_error(self, credentials: Credentials) -> None:
        with pytest.raises(ConfigError):
            PapClient(credentials)

    def test_nothing_shows_the_password(self) -> None:
        client, packet = self.started()
        parsed = AuthPacket.parse(packet)
        request = PapRequest.parse(parsed.data)
        assert request.password == b"open sesame"
        assert not any("sesame" in repr(thing) for thing in (client, parsed, request))


class TestPapServer:
    def request(self, identifier: int, name: bytes = b"alice", password: bytes = b"open sesame") -> bytes:
        return AuthPacket(PapCode.AUTHENTICATE_REQUEST, identifier, PapRequest(name, password).to_bytes()).to_bytes()

    def test_goes_on_saying_what_it_said_first(self) -> None:
        for password, code, other in ((b"open sesame", 2, b"wrong"), (b"wrong", 3, b"open sesame")):
            server = PapServer(PASSWORDS.get)
            server.start(NOW)
            server.receive_packet(self.request(1, password=password), NOW)
            server.receive_packet(self.request(2, password=other), NOW)
            answers = server.packets_to_send(NOW)
            assert [(answer[0], answer[1]) for answer in answers] == [(code, 1), (code, 2)]
            assert server.next_event() is not None
            assert server.next_event() is None

    @pytest.mark.parametrize("name", [b"nobody", b"", b"\xff\xfe"])
    def test_refuses_unknown_names(self, name: bytes) -> None:
        server = PapServer(PASSWORDS.get)
        server.receive_packet(self.request(1, name), NOW)
        assert server.state is PapState.REFUSED
        assert isinstance(server.next_event(), AuthRefused)

    @pytest.mark.parametrize("data", [b"", b"\x05ali", b"\x05alice", b"\x05alice\x0bopen"])
    def test_a_cut_request_is_the_peers_fault(self, data: bytes) -> None:
        server = PapServer(PASSWORDS.get)
        with pytest.raises(RemoteProtocolError):
            server.receive_packet(AuthPacket(PapCode.AUTHENTICATE_REQUEST, 1, data).to_bytes(), NOW)
        server.receive_packet(self.request(2), NOW)
        assert server.state is PapState.SUCCEEDED

    def test_discards_other_codes(self) -> None:
        server = PapServer(PASSWORDS.get)
        server.receive_packet(b"\x02\x01\x00\x04", NOW)
        assert server.packets_to_send(NOW) == []
        assert server.discarded == 1


class TestChapMd5:
    @pytest.mark.parametrize("value", [b"\x01", bytes(range(16)), bytes(255)])
    def test_response(self, value: bytes) -> None:
        client = ChapMd5Client(Credentials("jürgen", "pässwörd"))
        client.receive_packet(AuthPacket(ChapCode.CHALLENGE, 9, ChapValue(value, b"").to_bytes()).to_bytes(), NOW)
        (packet,) = client.packets_to_send(NOW)
        parsed = AuthPacket.parse(packet)
        response = ChapValue.parse(parsed.data, "chap")
        assert (parsed.code, parsed.identifier) == (ChapCode.RESPONSE, 9)
        assert response.name == "jürgen".encode()
        assert response.value == hashlib.md5(b"\x09" + "pässwörd".encode() + value).digest()  # noqa: S324

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\x00name", b"\x10short"])
    def test_a_challenge_without_a_whole_value_is_the_peers_fault(self, data: bytes) -> None:
        client = ChapMd5Client(ALICE)
        with pytest.raises(RemoteProtocolError):
            client.receive_packet(AuthPacket(ChapCode.CHALLENGE, 9, data).to_bytes(), NOW)

    def test_wrong_password(self) -> None:
        pair = make_pair(AuthMethod.CHAP_MD5, WRONG)
        pair.start()
        pair.run()
        (event,) = pair.client_events
        assert isinstance(event, AuthRefused)
        assert event.code is None
        assert event.hint
        with pytest.raises(LocalProtocolError):
            pair.client.retry(ALICE, NOW)
        (event,) = pair.server_events
        assert isinstance(event, AuthRefused)

    def test_can_be_asked_again_at_any_time(self) -> None:
        pair = make_pair(AuthMethod.CHAP_MD5)
        pair.start()
        pair.run()
        for _ in range(300):
            pair.server.start(pair.now)
            pair.run()
        assert len(pair.sent_by("client")) == 301
        assert len(pair.client_events) == len(pair.server_events) == 1

    def test_no_key_comes_out(self) -> None:
        pair = make_pair(AuthMethod.CHAP_MD5)
        pair.start()
        pair.run()
        (event,) = pair.client_events
        assert event == AuthSucceeded(AuthMethod.CHAP_MD5, ZERO_HLAK, "alice", "Welcome")

    def test_a_password_that_is_no_text_is_a_configuration_error(self) -> None:
        with pytest.raises(ConfigError):
            ChapMd5Client(Credentials("alice", "\udcff"))


def test_every_challenge_is_another() -> None:
    seen = set()
    pair = make_pair(AuthMethod.CHAP_MD5, server=None, seed=5)
    for _ in range(50):
        pair.server.start(NOW)
        (packet,) = pair.server.packets_to_send(NOW)
        seen.add(packet)
    assert len(seen) == 50
