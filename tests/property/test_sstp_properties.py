"""SSTP under arbitrary input: parse and write are inverse, and bad bytes raise RemoteProtocolError or nothing."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import HttpRejected, RemoteProtocolError
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.crypto_binding import build_call_connected, certificate_hash, verify_call_connected
from sstpsocks.sstp.events import CallAccepted, CallEnded, SstpEvent
from sstpsocks.sstp.frames import is_ncp_answer, is_network_layer
from sstpsocks.sstp.http import ClientPrelude, ServerPrelude
from sstpsocks.sstp.machine import SstpMachine
from sstpsocks.sstp.packet import (
    ALL_HASHES,
    MAX_FRAME,
    Attribute,
    ControlPacket,
    CryptoBinding,
    CryptoBindingRequest,
    EncapsulatedProtocolId,
    HashProtocol,
    MessageType,
    PacketBuffer,
    StatusInfo,
    call_abort,
    call_connect_ack,
    call_connect_nak,
    call_connect_request,
    call_disconnect,
    encode_data,
    end_status,
)
from sstpsocks.sstp.server import SstpServer

CERTIFICATE = b"certificate"
HLAK = bytes(range(32))
NONCE = SeededEntropy("server").random_bytes(32)
LCP = bytes.fromhex("ff03c02101000004")
IP = bytes.fromhex("ff03002145")

few = settings(deadline=None, max_examples=150)
bytes32 = st.binary(min_size=32, max_size=32)
octet = st.integers(0, 0xFF)

attributes = st.builds(Attribute, octet, st.binary(max_size=200))
control_packets = st.builds(ControlPacket, st.integers(0, 0xFFFF), st.lists(attributes, max_size=8).map(tuple))
protocols = st.builds(EncapsulatedProtocolId, st.integers(0, 0xFFFF))
status_infos = st.builds(StatusInfo, octet, st.integers(0, 0xFFFFFFFF), st.binary(max_size=64))
requests = st.builds(CryptoBindingRequest, st.integers(0, 3).map(HashProtocol), bytes32)
bindings = st.builds(CryptoBinding, octet, bytes32, bytes32, bytes32)

# Streams that get past the delineator: whole packets of all kinds, some of them changed in one byte.
good_packets = st.one_of(
    control_packets.map(ControlPacket.to_bytes),
    st.sampled_from(MessageType).map(lambda message: ControlPacket(message).to_bytes()),
    status_infos.map(lambda info: call_connect_nak((info,))),
    st.builds(call_abort, octet, st.integers(0, 20)),
    st.just(call_connect_request()),
    st.just(call_connect_ack(ALL_HASHES, NONCE)),
    st.just(call_disconnect()),
    st.just(build_call_connected(HLAK, HashProtocol.SHA256, NONCE, certificate_hash(CERTIFICATE, HashProtocol.SHA256))),
    st.binary(max_size=40).map(encode_data),
    st.sampled_from([LCP, IP]).map(encode_data),
)


@st.composite
def mutated(draw: st.DrawFn, base: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(base))
    for _ in range(draw(st.integers(0, 2))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(octet)
    return bytes(data)


streams = st.one_of(st.binary(max_size=300), st.lists(mutated(good_packets), max_size=10).map(b"".join))


# Parse and write


@few
@given(control_packets)
def test_control_packets_are_inverse(packet: ControlPacket) -> None:
    wire = packet.to_bytes()
    assert ControlPacket.parse(wire) == packet
    buffer = PacketBuffer()
    buffer.feed(wire)
    assert buffer.next_packet() == wire


@few
@given(protocols, status_infos, requests, bindings)
def test_attributes_are_inverse(
    protocol: EncapsulatedProtocolId, info: StatusInfo, request: CryptoBindingRequest, binding: CryptoBinding
) -> None:
    assert EncapsulatedProtocolId.parse(protocol.to_attribute().value) == protocol
    assert StatusInfo.parse(info.to_attribute().value) == info
    assert CryptoBindingRequest.parse(request.to_attribute().value) == request
    assert CryptoBinding.parse(binding.to_attribute().value) == binding


@few
@given(st.lists(st.binary(max_size=MAX_FRAME), max_size=5), st.integers(1, 5000))
def test_data_packets_are_inverse_in_chunks_of_any_size(frames: list[bytes], size: int) -> None:
    stream = b"".join(encode_data(frame) for frame in frames)
    buffer = PacketBuffer()
    found = []
    for start in range(0, len(stream), size):
        buffer.feed(stream[start : start + size])
        while (packet := buffer.next_packet()) is not None:
            found.append(packet[4:])
    assert found == frames


# Bad input


@few
@given(mutated(good_packets) | st.binary(max_size=120))
def test_parsers_raise_only_the_protocol_error(data: bytes) -> None:
    parsers: list[Callable[[bytes], object]] = [
        ControlPacket.parse,
        EncapsulatedProtocolId.parse,
        StatusInfo.parse,
        CryptoBindingRequest.parse,
        CryptoBinding.parse,
    ]
    for parser in parsers:
        try:
            parser(data)
        except RemoteProtocolError:
            pass
    # These never raise.
    end_status(data)
    is_ncp_answer(data)
    is_network_layer(data)
    verify_call_connected(data, hlak=HLAK, nonce=NONCE, certificate_der=CERTIFICATE, offered=ALL_HASHES)


def machine_in(stage: int, client: bool) -> SstpMachine:
    """A machine as far up as ``stage`` (0 to 2), or already disconnecting (3) or aborting (4)."""
    machine: SstpClient | SstpServer
    if client:
        machine = SstpClient(CERTIFICATE)
        machine.connect(0.0)
        if stage:
            machine.receive_data(call_connect_ack(ALL_HASHES, NONCE), 0.0)
    else:
        machine = SstpServer(CERTIFICATE, SeededEntropy("server"))
        machine.accept(0.0)
        if stage:
            machine.receive_data(call_connect_request(), 0.0)
    if stage == 2:
        machine.authenticated(HLAK, 0.0)
    elif stage == 3:
        machine.disconnect(0.0)
    elif stage == 4:
        machine.abort(2, 7, 0.0)
    return machine


def outcome(machine: SstpMachine, chunks: list[bytes]) -> tuple[bool, list[bytes], list[SstpEvent], object]:
    """Return whether it raised, what it sent, what it told and where it stands."""
    raised = False
    try:
        for chunk in chunks:
            machine.receive_data(chunk, 1.0)
    except RemoteProtocolError:
        raised = True
    events = []
    while (event := machine.next_event()) is not None:
        events.append(event)
    return raised, machine.data_to_send(1.0), events, machine.state


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 4), st.booleans(), streams)
def test_machines_survive_any_stream_and_end_within_their_timers(stage: int, client: bool, stream: bytes) -> None:
    machine = machine_in(stage, client)
    raised, _, events, _ = outcome(machine, [stream])
    # An error ends the call without CallEnded; every other end is told, once.
    ends = sum(isinstance(event, CallEnded) for event in events)
    assert (machine.closed, ends) in ([(True, 0)] if raised else [(True, 1), (False, 0)])
    # Nobody speaks any more: whatever state it is in, the call ends, and each call of the timer moves it on.
    for _ in range(10):
        deadline = machine.poll_at()
        if deadline is None:
            break
        machine.handle_timer(deadline)
        later = machine.poll_at()
        assert later is None or later > deadline
    assert machine.closed


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 4), st.booleans(), streams)
def test_byte_at_a_time_equals_whole(stage: int, client: bool, stream: bytes) -> None:
    whole = outcome(machine_in(stage, client), [stream])
    piecemeal = outcome(machine_in(stage, client), [stream[i : i + 1] for i in range(len(stream))])
    assert piecemeal == whole


@few
@given(st.integers(0, 4), st.booleans(), st.lists(mutated(good_packets) | st.binary(max_size=60), max_size=6))
def test_packets_handed_over_one_by_one_raise_only_the_protocol_error(
    stage: int, client: bool, packets: list[bytes]
) -> None:
    machine = machine_in(stage, client)
    for packet in packets:
        try:
            machine.receive_packet(packet, 1.0)
        except RemoteProtocolError:
            assert machine.closed


@few
@given(streams)
def test_nothing_a_client_receives_makes_it_send_what_is_malformed(stream: bytes) -> None:
    _, sent, events, _ = outcome(machine_in(0, True), [stream])
    for packet in sent:
        assert ControlPacket.parse(packet).to_bytes() == packet
    assert sum(isinstance(event, CallAccepted) for event in events) <= 1


# HTTP


http_texts = mutated(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n\x10\x00",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\n\r\n",
            ClientPrelude("host", 443, "{guid}").data_to_send() + b"rest",
        ]
    )
)


def http_outcome(prelude: ClientPrelude | ServerPrelude, chunks: list[bytes]) -> object:
    """Return the SSTP bytes, None for unfinished, or the error with what was answered."""
    try:
        for index, chunk in enumerate(chunks):
            rest = prelude.receive_data(chunk)
            if rest is not None:
                return rest + b"".join(chunks[index + 1 :])
    except (HttpRejected, RemoteProtocolError) as error:
        return type(error), str(error), prelude.data_to_send()
    return None


@few
@given(http_texts | st.binary(min_size=1, max_size=100), st.booleans())
def test_http_raises_only_its_errors_and_chunks_do_not_matter(data: bytes, client: bool) -> None:
    def prelude() -> ClientPrelude | ServerPrelude:
        return ClientPrelude("host", 443, "{guid}") if client else ServerPrelude()

    whole = http_outcome(prelude(), [data] if data else [])
    assert http_outcome(prelude(), [data[i : i + 1] for i in range(len(data))]) == whole
