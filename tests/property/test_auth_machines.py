"""Whatever bytes come, the machines raise RemoteProtocolError or nothing; packets parse what they write."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.auth import Authenticator, AuthMethod
from sstpsocks.ppp.auth_packet import (
    AuthPacket,
    ChapValue,
    PapRequest,
    pap_message_to_bytes,
    parse_pap_message,
)
from sstpsocks.ppp.authenticators import make_client, make_server
from sstpsocks.ppp.mschapv2_messages import FailureMessage, ResponseValue, SuccessMessage
from tests.helpers.auth import ALICE, PASSWORDS, WRONG, make_pair
from tests.helpers.fake_tls import FakeTlsParameters

octet = st.integers(0, 255)
short = st.binary(max_size=255)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="="), max_size=60)


@settings(deadline=None, max_examples=100)
@given(st.builds(AuthPacket, octet, octet, st.binary(max_size=600)), st.binary(max_size=5))
def test_packets_parse_what_they_write_and_ignore_padding(packet: AuthPacket, padding: bytes) -> None:
    assert AuthPacket.parse(packet.to_bytes() + padding) == packet


@settings(deadline=None, max_examples=100)
@given(st.builds(ChapValue, st.binary(min_size=1, max_size=255), short))
def test_chap_values_parse_what_they_write(value: ChapValue) -> None:
    assert ChapValue.parse(value.to_bytes(), "chap") == value


@settings(deadline=None, max_examples=100)
@given(st.builds(PapRequest, short, short), short)
def test_pap_data_parses_what_it_writes(request: PapRequest, message: bytes) -> None:
    assert PapRequest.parse(request.to_bytes()) == request
    assert parse_pap_message(pap_message_to_bytes(message)) == message


@settings(deadline=None, max_examples=50)
@given(st.builds(ResponseValue, st.binary(min_size=16, max_size=16), st.binary(min_size=24, max_size=24)))
def test_response_values_parse_what_they_write(value: ResponseValue) -> None:
    assert ResponseValue.parse(value.to_bytes()) == value


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        FailureMessage,
        st.none() | st.integers(0, 10**10 - 1),
        st.booleans(),
        st.none() | st.binary(min_size=16, max_size=16),
        st.none() | st.integers(0, 10**10 - 1),
        printable,
    )
)
def test_failure_messages_parse_what_they_write(message: FailureMessage) -> None:
    assert FailureMessage.parse(message.to_bytes()) == message


@settings(deadline=None, max_examples=100)
@given(st.builds(SuccessMessage, st.none() | st.binary(min_size=20, max_size=20), printable))
def test_success_messages_parse_what_they_write(message: SuccessMessage) -> None:
    assert SuccessMessage.parse(message.to_bytes()) == message


def feed(machine: Authenticator, packet: bytes, now: float) -> None:
    try:
        machine.receive_packet(packet, now)
    except RemoteProtocolError:
        pass
    machine.handle_timer(now)
    assert all(len(answer) >= 4 for answer in machine.packets_to_send(now))
    while (event := machine.next_event()) is not None:
        assert event.message.isprintable()
    deadline = machine.poll_at()
    assert deadline is None or deadline > now


# Frames that get past the header more often than random bytes do.
framed = st.builds(
    lambda code, identifier, data: AuthPacket(code, identifier, data).to_bytes(),
    st.integers(0, 5),
    st.integers(0, 3),
    st.binary(max_size=70)
    | st.sampled_from([b"\x10" + bytes(16) + b"vm", b"E=691 R=1 C=" + b"0" * 32, b"E=691 R=0", b"S=" + b"0" * 40]),
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(AuthMethod), st.booleans(), st.lists(st.binary(max_size=80) | framed, max_size=12))
def test_random_packets(method: AuthMethod, client: bool, packets: list[bytes]) -> None:
    entropy = SeededEntropy(1)
    tls = FakeTlsParameters()
    if client:
        machine = make_client(method, ALICE, entropy, tls=tls)
    else:
        machine = make_server(method, PASSWORDS.get, entropy, tls=tls)
    machine.start(0.0)
    for number, packet in enumerate(packets):
        feed(machine, packet, float(number))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(AuthMethod), st.booleans(), st.data())
def test_mutated_conversations(method: AuthMethod, right: bool, data: st.DataObject) -> None:
    pair = make_pair(method, ALICE if right else WRONG)
    pair.start()
    for step in range(6):
        now = pair.now + step
        for sender, receiver in ((pair.server, pair.client), (pair.client, pair.server)):
            for packet in sender.packets_to_send(now):
                mutated = bytearray(packet)
                for _ in range(data.draw(st.integers(0, 2))):
                    mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(octet)
                del mutated[data.draw(st.integers(0, len(mutated)) | st.just(len(mutated))) :]
                try:
                    receiver.receive_packet(bytes(mutated), now)
                except RemoteProtocolError:
                    pass
