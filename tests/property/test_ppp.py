"""PPP under arbitrary input: what is written is read back, and no frame raises anything."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.events import AuthenticationSucceeded
from sstpsocks.ppp.packet import (
    ControlPacket,
    Option,
    build_frame,
    options_to_bytes,
    parse_frame,
    parse_options,
)
from sstpsocks.ppp.peer import PppConfig, PppPeer, Role

octets = st.integers(0, 255)
options = st.builds(Option, octets, st.binary(max_size=20))
packets = st.builds(ControlPacket, octets, octets, st.binary(max_size=40))
# Odd low octet, even high octet: RFC 1661 section 2.
protocols = st.builds(lambda high, low: high << 8 | low, st.integers(0, 127).map(lambda n: 2 * n), octets).map(
    lambda number: number | 1
)


@settings(deadline=None, max_examples=200)
@given(packets, st.binary(max_size=4))
def test_control_packets_are_read_as_written(packet: ControlPacket, padding: bytes) -> None:
    assert ControlPacket.parse(packet.to_bytes() + padding) == packet


@settings(deadline=None, max_examples=200)
@given(st.lists(options, max_size=8))
def test_options_are_read_as_written(listed: list[Option]) -> None:
    assert parse_options(options_to_bytes(listed)) == tuple(listed)


@settings(deadline=None, max_examples=200)
@given(protocols, st.binary(max_size=40))
def test_frames_are_read_as_written(protocol: int, information: bytes) -> None:
    frame = build_frame(protocol, information)
    for form in (frame, frame[2:]) if protocol != 0xFF03 else (frame,):
        number, offset = parse_frame(form)
        assert (number, form[offset:]) == (protocol, information)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_parsers_raise_only_the_protocol_error(data: bytes) -> None:
    for parse in (parse_frame, ControlPacket.parse, parse_options):
        try:
            parse(data)
        except RemoteProtocolError:
            pass


def make_pair() -> tuple[PppPeer, PppPeer]:
    methods = (AuthMethod.MSCHAPV2, AuthMethod.PAP)
    client = PppConfig(methods=methods, credentials=Credentials("alice", "wonderland"), ipv6=True)
    server = PppConfig(
        role=Role.SERVER,
        methods=methods,
        lookup={"alice": "wonderland"}.get,
        local_address=IPv4Address("10.9.0.1"),
        peer_address=IPv4Address("10.9.0.2"),
        ipv6=True,
    )
    return PppPeer(client, SeededEntropy(1)), PppPeer(server, SeededEntropy(2))


# A frame of a protocol that means something, with anything in it.
wild_frames = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda protocol, packet: build_frame(protocol, packet.to_bytes()),
        st.sampled_from([0xC021, 0xC023, 0xC223, 0x8021, 0x8057, 0x80FD, 0xC227, 0x0021]),
        st.builds(
            ControlPacket,
            st.integers(1, 14),
            st.integers(0, 4),
            st.one_of(st.binary(max_size=30), st.lists(options, max_size=4).map(options_to_bytes)),
        ),
    ),
)
# (which frame of the exchange, what happens there)
faults = st.dictionaries(
    st.integers(0, 30),
    st.one_of(
        st.tuples(st.just("replace"), wild_frames),
        st.tuples(st.just("insert"), wild_frames),
        st.tuples(st.just("flip"), st.binary(min_size=1, max_size=1)),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(faults, octets)
def test_no_frame_raises_and_no_timer_spins(faults: dict[int, tuple[str, bytes]], place: int) -> None:
    client, server = make_pair()
    now = 0.0
    client.open(now)
    server.open(now)
    count = 0
    for _ in range(200):
        moved = False
        for sender, receiver in ((client, server), (server, client)):
            while (event := sender.next_event()) is not None:
                if isinstance(event, AuthenticationSucceeded):
                    sender.start_network(now)
            for frame in sender.frames_to_send(now):
                moved = True
                kind, data = faults.get(count, ("", b""))
                count += 1
                if kind == "flip":
                    index = place % len(frame)
                    frame = frame[:index] + bytes((frame[index] ^ data[0],)) + frame[index + 1 :]
                if kind == "insert":
                    receiver.receive_frame(data, now)
                receiver.receive_frame(data if kind == "replace" else frame, now)
        if moved:
            continue
        times = [time for time in (client.poll_at(), server.poll_at()) if time is not None]
        if not times:
            break
        assert min(times) >= now
        now = min(times)
        client.handle_timer(now)
        server.handle_timer(now)
        assert (client.poll_at() or now + 1) > now
        assert (server.poll_at() or now + 1) > now


@settings(deadline=None, max_examples=200)
@given(st.lists(wild_frames, max_size=30), st.booleans())
def test_any_sequence_of_frames_leaves_a_working_machine(frames: list[bytes], is_client: bool) -> None:
    peer = make_pair()[0 if is_client else 1]
    peer.open(0.0)
    for frame in frames:
        peer.receive_frame(frame, 0.0)
        peer.frames_to_send(0.0)
    while peer.next_event() is not None:
        pass
    peer.close(0.0)
    for _ in range(40):
        due = peer.poll_at()
        if due is None:
            break
        peer.handle_timer(due)
    assert peer.poll_at() is None
