from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from sstpsocks.ppp import mschapv2
from sstpsocks.ppp.auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.auth_packet import AuthPacket, ChapCode, ChapValue
from sstpsocks.ppp.chap_machine import RESPONSE_TIMER, ChapClientState
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Client, MsChapV2Server
from sstpsocks.ppp.mschapv2_messages import FailureMessage, ResponseValue, SuccessMessage
from tests.helpers.auth import ALICE, PASSWORDS, WRONG, Pair, make_pair

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "mschapv2.json").read_text(encoding="utf-8"))
CHALLENGE = bytes(range(16))
CHALLENGE_2 = bytes(range(16, 32))
NOW = 50.0


class FixedEntropy:
    """Gives the peer challenge of the RFC's example."""

    def random_bytes(self, count: int, /) -> bytes:
        result = bytes.fromhex(VECTORS["peer_challenge"])
        assert count == len(result)
        return result


def challenge(identifier: int, value: bytes = CHALLENGE, name: bytes = b"vm") -> bytes:
    return AuthPacket(ChapCode.CHALLENGE, identifier, ChapValue(value, name).to_bytes()).to_bytes()


def success(identifier: int, text: str) -> bytes:
    return AuthPacket(ChapCode.SUCCESS, identifier, text.encode()).to_bytes()


def failure(identifier: int, text: str) -> bytes:
    return AuthPacket(ChapCode.FAILURE, identifier, text.encode()).to_bytes()


def new_client(credentials: Credentials = ALICE) -> MsChapV2Client:
    client = MsChapV2Client(credentials, SeededEntropy("client"))
    client.start(NOW)
    return client


def only_packet(client: MsChapV2Client) -> bytes:
    (packet,) = client.packets_to_send(NOW)
    return packet


def response_of(packet: bytes) -> tuple[int, bytes, ResponseValue]:
    parsed = AuthPacket.parse(packet)
    assert parsed.code == ChapCode.RESPONSE
    value = ChapValue.parse(parsed.data, "mschapv2")
    return parsed.identifier, value.name, ResponseValue.parse(value.value)


def proof_for(packet: bytes, authenticator_challenge: bytes = CHALLENGE, password: str = ALICE.password) -> bytes:
    _, name, value = response_of(packet)
    return mschapv2.generate_authenticator_response(
        mschapv2.nt_password_hash(password), value.nt_response, value.peer_challenge, authenticator_challenge, name
    )


def refused(client: MsChapV2Client) -> AuthRefused:
    event = client.next_event()
    assert isinstance(event, AuthRefused)
    assert client.next_event() is None
    return event


def refuse_with(text: str) -> AuthRefused:
    client = new_client()
    client.receive_packet(challenge(7), NOW)
    client.receive_packet(failure(7, text), NOW)
    return refused(client)


class TestTheExampleOfTheRfc:
    def logged_in(self) -> MsChapV2Client:
        client = MsChapV2Client(Credentials(VECTORS["username"], VECTORS["password"]), FixedEntropy())
        client.receive_packet(challenge(1, bytes.fromhex(VECTORS["authenticator_challenge"])), NOW)
        return client

    def test_response(self) -> None:
        identifier, name, value = response_of(only_packet(self.logged_in()))
        assert (identifier, name) == (1, b"User")
        assert value.nt_response.hex() == VECTORS["nt_response"]
        assert value.peer_challenge.hex() == VECTORS["peer_challenge"]

    def test_success_gives_the_key_that_crypto_binding_needs(self) -> None:
        client = self.logged_in()
        client.receive_packet(success(1, VECTORS["authenticator_response_text"] + " M=Hello"), NOW)
        hlak = bytes.fromhex(VECTORS["client_hlak"])
        assert client.next_event() == AuthSucceeded(AuthMethod.MSCHAPV2, hlak, "User", "Hello")
        assert client.poll_at() is None


class TestTheServersProof:
    @pytest.mark.parametrize(
        "form", ["S={0}", "S={0} M=Welcome", "S={1}", " S={1} M=", "M=Welcome S={0}", "S={0}\0", "S={0}M=Welcome"]
    )
    def test_is_accepted_in_any_usual_form(self, form: str) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        proof = proof_for(only_packet(client)).hex()
        client.receive_packet(success(7, form.format(proof.upper(), proof.lower())), NOW)
        assert isinstance(client.next_event(), AuthSucceeded)
        assert client.state is ChapClientState.SUCCEEDED

    @pytest.mark.parametrize(
        "text", ["", "M=Welcome", "S=", "S=00", f"S={'0' * 40}", f"S={'G' * 40} M=x", f"S={'0' * 400}", "S=\u0661" * 40]
    )
    def test_missing_or_wrong_is_an_impostor(self, text: str) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(success(7, text), NOW)
        event = refused(client)
        assert event.message == "the server could not prove that it knows the password"
        assert not event.retry_allowed
        assert client.state is ChapClientState.REFUSED

    def test_of_another_password_is_an_impostor(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        proof = proof_for(only_packet(client), password="something else")
        client.receive_packet(success(7, f"S={proof.hex()}"), NOW)
        assert "could not prove" in refused(client).message

    def test_after_an_impostor_nothing_is_answered_any_more(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(success(7, "S=0"), NOW)
        client.packets_to_send(NOW)
        client.receive_packet(challenge(8, CHALLENGE_2), NOW)
        assert client.packets_to_send(NOW) == []
        assert client.poll_at() is None


class TestUserNames:
    @pytest.mark.parametrize(
        ("username", "hashed"),
        [("LAB\\alice", b"alice"), ("alice@LAB", b"alice@LAB"), ("jürgen", "jürgen".encode())],
    )
    def test_the_packet_carries_all_and_the_hash_leaves_out_the_domain(self, username: str, hashed: bytes) -> None:
        client = new_client(Credentials(username, "pw"))
        client.receive_packet(challenge(1), NOW)
        _, name, value = response_of(only_packet(client))
        assert name == username.encode()
        short = hashlib.sha1(value.peer_challenge + CHALLENGE + hashed).digest()[:8]  # noqa: S324
        assert value.nt_response == mschapv2.challenge_response(short, mschapv2.nt_password_hash("pw"))

    @pytest.mark.parametrize("username", ["a" * 256, "ü" * 128, "al\udcffice"])
    def test_what_cannot_be_sent_is_a_configuration_error(self, username: str) -> None:
        with pytest.raises(ConfigError, match="user name"):
            new_client(Credentials(username, "pw"))

    def test_255_bytes_can_be_sent(self) -> None:
        client = new_client(Credentials("a" * 255, "pw"))
        client.receive_packet(challenge(1), NOW)
        assert response_of(only_packet(client))[1] == b"a" * 255


class TestChallenges:
    def test_the_same_one_again_gets_the_identical_response(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        first = only_packet(client)
        client.receive_packet(challenge(7, name=b"other name"), NOW)
        assert only_packet(client) == first

    @pytest.mark.parametrize("second", [challenge(8), challenge(7, CHALLENGE_2)])
    def test_a_new_one_gets_a_new_response(self, second: bytes) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        _, _, first_value = response_of(only_packet(client))
        client.receive_packet(second, NOW)
        identifier, _, second_value = response_of(only_packet(client))
        assert identifier == second[1]
        assert second_value.peer_challenge != first_value.peer_challenge

    def test_only_the_newest_is_answered_when_two_came_at_once(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(challenge(8, CHALLENGE_2), NOW)
        assert response_of(only_packet(client))[0] == 8

    def test_after_success_they_are_answered_without_a_second_event(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.start()
        pair.run()
        pair.server.start(pair.now)
        pair.run()
        assert len(pair.sent_by("client")) == 2
        assert len(pair.client_events) == len(pair.server_events) == 1
        assert isinstance(pair.client, MsChapV2Client)
        assert pair.client.state is ChapClientState.SUCCEEDED

    def test_a_failed_repetition_after_success_is_an_event(self) -> None:
        passwords = dict(PASSWORDS)
        pair = make_pair(AuthMethod.MSCHAPV2, server=MsChapV2Server(passwords.get, SeededEntropy(1)))
        pair.start()
        pair.run()
        passwords["alice"] = "changed meanwhile"
        pair.server.start(pair.now)
        pair.run()
        assert [type(event) for event in pair.client_events] == [AuthSucceeded, AuthRefused]
        assert [type(event) for event in pair.server_events] == [AuthSucceeded, AuthRefused]

    @pytest.mark.parametrize("size", [1, 8, 15, 17, 255])
    def test_of_another_size_are_the_peers_fault(self, size: int) -> None:
        client = new_client()
        with pytest.raises(RemoteProtocolError, match="16"):
            client.receive_packet(challenge(1, bytes(size)), NOW)
        client.receive_packet(challenge(2), NOW)
        assert response_of(only_packet(client))[0] == 2

    def test_an_answered_one_is_answered_again_when_the_server_says_nothing(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        first = only_packet(client)
        client.handle_timer(NOW + RESPONSE_TIMER - 0.001)
        assert client.packets_to_send(NOW) == []
        assert client.poll_at() == NOW + RESPONSE_TIMER
        client.handle_timer(NOW + RESPONSE_TIMER)
        assert only_packet(client) == first

    def test_a_server_that_never_answers_gets_a_bounded_number_of_responses(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.fate = lambda number: 1 if number == 0 else 0
        pair.start()
        pair.run(10_000)
        assert len(pair.sent_by("client")) == 4
        assert pair.client.poll_at() is None


class TestResultsThatDoNotFit:
    @pytest.mark.parametrize("code", [ChapCode.SUCCESS, ChapCode.FAILURE])
    def test_before_the_response_are_discarded(self, code: int) -> None:
        client = new_client()
        client.receive_packet(AuthPacket(code, 0, b"E=691 R=0").to_bytes(), NOW)
        assert client.next_event() is None
        assert client.discarded == 1

    @pytest.mark.parametrize("code", [ChapCode.SUCCESS, ChapCode.FAILURE])
    def test_with_another_identifier_are_discarded(self, code: int) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(AuthPacket(code, 8, b"E=691 R=0").to_bytes(), NOW)
        assert client.next_event() is None
        assert client.state is ChapClientState.RESPONSE_SENT

    @pytest.mark.parametrize("code", [0, ChapCode.RESPONSE, 5, 7, 255])
    def test_other_codes_are_discarded(self, code: int) -> None:
        client = new_client()
        client.receive_packet(AuthPacket(code, 1, b"").to_bytes(), NOW)
        assert client.discarded == 1

    def test_a_second_failure_is_no_second_event(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(failure(7, "E=691 R=0"), NOW)
        client.receive_packet(failure(7, "E=691 R=0"), NOW)
        refused(client)


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (646, "time of day"),
            (647, "disabled"),
            (648, "expired"),
            (649, "permission"),
            (691, "wrong user name or password"),
            (709, "could not be changed"),
        ],
    )
    def test_codes_are_told_in_words_with_something_to_try(self, code: int, words: str) -> None:
        event = refuse_with(f"E={code} R=0 C={'00' * 16} V=3 M=Nope")
        assert event.code == code
        assert words in event.message
        assert str(code) in event.message
        assert "Nope" in event.message
        assert event.hint

    def test_unknown_codes_are_shown(self) -> None:
        event = refuse_with("E=1234 R=0")
        assert event.code == 1234
        assert "1234" in event.message

    @pytest.mark.parametrize("text", ["", "go away", "E=", "E=x R=?", f"E={'9' * 5000}", "\x00\xff", "M="])
    def test_without_a_usable_code_it_is_still_a_refusal(self, text: str) -> None:
        event = refuse_with(text)
        assert event.code is None
        assert "refused" in event.message
        assert not event.retry_allowed

    def test_the_servers_text_is_made_safe(self) -> None:
        event = refuse_with("E=691 R=0 V=3 M=\x1b[31mred\r\nsstpsocks: connected\x07\u202e" + "x" * 5000)
        assert event.message.isprintable()
        assert len(event.message) < 300
        assert "\x1b" not in event.message

    def test_nothing_shows_the_password(self) -> None:
        client = new_client()
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(failure(7, "E=691 R=0"), NOW)
        texts = [repr(client), str(client.next_event()), repr(ALICE), repr(client.state)]
        assert not any(ALICE.password in text for text in texts)


class TestFailureMessages:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"E=691 R=1 C={'AB' * 16} V=3 M=Try again", FailureMessage(691, True, b"\xab" * 16, 3, "Try again")),
            (f"E=691 R=0 C={'ab' * 16} V=3", FailureMessage(691, False, b"\xab" * 16, 3)),
            ("E=691 R=0", FailureMessage(691, False, None, None)),
            (f"R=1 V=3 C={'ab' * 16} E=691", FailureMessage(691, True, b"\xab" * 16, 3)),
            (f"M=Try E=2 now R=1 C={'ab' * 16} E=691", FailureMessage(691, True, b"\xab" * 16, None, "Try E=2 now")),
            ("E=691 R=0 M=see E=5 on page 3", FailureMessage(691, False, None, None, "see E=5 on page 3")),
            ("E=691 R=1 C=cccccccc", FailureMessage(691, True, None, None)),
            (f"E=691 R=1 C={'zz' * 16}", FailureMessage(691, True, None, None)),
            ("E=691  R=1   V=3", FailureMessage(691, True, None, 3)),
            ("E=691 E=646", FailureMessage(691, False, None, None)),
            ("no fields", FailureMessage(None, False, None, None, "no fields")),
        ],
    )  # fmt: skip
    def test_are_read_leniently(self, text: str, expected: FailureMessage) -> None:
        assert FailureMessage.parse(text.encode()) == expected

    def test_as_softether_writes_them(self) -> None:
        parsed = FailureMessage.parse(b"E=691 R=0 C=1234567890ABCDEF1234567890ABCDEF V=3")
        assert (parsed.error, parsed.retry_allowed, parsed.version) == (691, False, 3)


class TestAnotherTry:
    def refused_client(self) -> MsChapV2Client:
        client = new_client(WRONG)
        client.receive_packet(challenge(255), NOW)
        client.packets_to_send(NOW)
        client.receive_packet(failure(255, f"E=691 R=1 C={CHALLENGE_2.hex()} V=3 M=Again"), NOW)
        assert refused(client).retry_allowed
        return client

    def test_answers_the_new_challenge_with_the_next_identifier(self) -> None:
        client = self.refused_client()
        client.retry(ALICE, NOW)
        packet = only_packet(client)
        assert response_of(packet)[0] == 0
        client.receive_packet(success(0, f"S={proof_for(packet, CHALLENGE_2).hex()}"), NOW)
        assert isinstance(client.next_event(), AuthSucceeded)

    def test_never_sends_the_same_credentials_twice(self) -> None:
        client = self.refused_client()
        with pytest.raises(LocalProtocolError, match="not sent again"):
            client.retry(Credentials(WRONG.username, WRONG.password), NOW)
        assert client.packets_to_send(NOW) == []
        client.retry(ALICE, NOW)
        assert client.packets_to_send(NOW)

    def test_never_sends_credentials_refused_two_tries_ago(self) -> None:
        client = self.refused_client()
        client.retry(Credentials("alice", "third"), NOW)
        client.receive_packet(failure(0, f"E=691 R=1 C={CHALLENGE.hex()}"), NOW)
        with pytest.raises(LocalProtocolError):
            client.retry(WRONG, NOW)

    def test_sends_nothing_by_itself(self) -> None:
        client = self.refused_client()
        client.receive_packet(challenge(255), NOW)
        client.receive_packet(challenge(3), NOW)
        assert client.poll_at() is None
        client.handle_timer(NOW + 1000)
        assert client.packets_to_send(NOW) == []

    def test_answers_a_whole_new_challenge_if_the_server_sent_one(self) -> None:
        client = self.refused_client()
        client.receive_packet(challenge(3), NOW)
        client.retry(ALICE, NOW)
        assert response_of(only_packet(client))[0] == 3

    def test_is_not_drawn_by_a_late_duplicate_of_the_first_challenge(self) -> None:
        client = self.refused_client()
        client.receive_packet(challenge(255), NOW)
        client.retry(ALICE, NOW)
        assert response_of(only_packet(client))[0] == 0
        client.receive_packet(challenge(255), NOW)
        assert client.packets_to_send(NOW) == []

    @pytest.mark.parametrize("text", [f"E=691 R=0 C={'00' * 16}", "E=691 R=1", "E=691"])
    def test_is_impossible_without_permission_and_challenge(self, text: str) -> None:
        client = new_client(WRONG)
        client.receive_packet(challenge(7), NOW)
        client.receive_packet(failure(7, text), NOW)
        assert not refused(client).retry_allowed
        with pytest.raises(LocalProtocolError):
            client.retry(ALICE, NOW)

    def test_is_impossible_before_a_refusal(self) -> None:
        with pytest.raises(LocalProtocolError):
            new_client().retry(ALICE, NOW)

    def test_with_a_name_that_cannot_be_sent_changes_nothing(self) -> None:
        client = self.refused_client()
        with pytest.raises(ConfigError):
            client.retry(Credentials("x" * 256, "pw"), NOW)
        with pytest.raises(ConfigError):
            client.retry(Credentials("alice", "\udc00"), NOW)
        client.retry(ALICE, NOW)
        packet = only_packet(client)
        client.receive_packet(success(0, f"S={proof_for(packet, CHALLENGE_2).hex()}"), NOW)
        assert isinstance(client.next_event(), AuthSucceeded)


class TestServer:
    def test_refuses_with_691_and_no_other_try(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2, WRONG)
        pair.start()
        pair.run()
        message = FailureMessage.parse(AuthPacket.parse(pair.sent_by("server")[-1]).data)
        assert message.error == 691
        assert not message.retry_allowed
        assert message.challenge is not None
        assert message.version == 3
        assert message.text
        (event,) = pair.server_events
        assert isinstance(event, AuthRefused)
        assert "alice" in event.message

    def test_allows_as_many_tries_as_told(self) -> None:
        server = MsChapV2Server(PASSWORDS.get, SeededEntropy(1), retries=2)
        pair = make_pair(AuthMethod.MSCHAPV2, WRONG, server=server)
        pair.start()
        pair.run()
        for password in ("second", "third"):
            last = pair.client_events[-1]
            assert isinstance(last, AuthRefused)
            assert last.retry_allowed
            pair.client.retry(Credentials("alice", password), pair.now)
            pair.run()
        assert [event.retry_allowed for event in pair.client_events if isinstance(event, AuthRefused)] == [
            True,
            True,
            False,
        ]
        assert len(pair.server_events) == 1

    def test_success_after_another_try_gives_both_the_same_key(self) -> None:
        server = MsChapV2Server(PASSWORDS.get, SeededEntropy(1), retries=1)
        pair = make_pair(AuthMethod.MSCHAPV2, WRONG, server=server)
        pair.start()
        pair.run()
        pair.client.retry(ALICE, pair.now)
        pair.run()
        ours, theirs = pair.client_events[-1], pair.server_events[-1]
        assert isinstance(ours, AuthSucceeded)
        assert isinstance(theirs, AuthSucceeded)
        assert ours.hlak == theirs.hlak
        assert any(ours.hlak)

    def test_repeats_its_answer_to_a_repeated_response(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.start()
        pair.run()
        answer = pair.sent_by("server")[-1]
        pair.server.receive_packet(pair.sent_by("client")[-1], pair.now)
        pair.server.receive_packet(pair.sent_by("client")[-1], pair.now)
        assert pair.server.packets_to_send(pair.now) == [answer]
        assert pair.server.next_event() is None

    def test_repeats_its_challenge_ten_times_at_most(self) -> None:
        pair = Pair(new_client(), MsChapV2Server(PASSWORDS.get, SeededEntropy(1)), fate=lambda number: 0)
        pair.start()
        pair.run(10_000)
        assert len(pair.sent_by("server")) == 10
        assert len(set(pair.sent_by("server"))) == 1

    def test_discards_a_response_to_another_challenge(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.start()
        packet = bytearray(challenge(0))
        packet[1] = (pair.server.packets_to_send(pair.now)[0][1] + 1) % 256
        pair.client.receive_packet(bytes(packet), pair.now)
        (response,) = pair.client.packets_to_send(pair.now)
        pair.server.receive_packet(response, pair.now)
        assert pair.server.packets_to_send(pair.now) == []

    def test_a_response_of_another_size_is_the_peers_fault(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.start()
        identifier = pair.server.packets_to_send(pair.now)[0][1]
        data = ChapValue(bytes(48), b"alice").to_bytes()
        with pytest.raises(RemoteProtocolError, match="49"):
            pair.server.receive_packet(AuthPacket(ChapCode.RESPONSE, identifier, data).to_bytes(), pair.now)

    def test_has_no_credentials_to_retry_with(self) -> None:
        with pytest.raises(LocalProtocolError):
            MsChapV2Server(PASSWORDS.get, SeededEntropy(1)).retry(ALICE, NOW)

    def test_names_itself(self) -> None:
        pair = make_pair(AuthMethod.MSCHAPV2)
        pair.start()
        data = AuthPacket.parse(pair.server.packets_to_send(NOW)[0]).data
        assert ChapValue.parse(data, "mschapv2").name == b"lab"


def test_success_messages_parse_what_they_write() -> None:
    message = SuccessMessage(bytes(range(20)), "Welcome home")
    assert SuccessMessage.parse(message.to_bytes()) == message
