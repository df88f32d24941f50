"""Whatever a SOCKS4 client sends, in whatever pieces, the machine copes, and the pieces make no difference."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.proxy.socks.conversation import ConnectRequested, Event, State
from sstpsocks.proxy.socks.socks4 import Socks4Machine

fragments = st.sampled_from(
    [
        b"\x04\x01\x00\x50",
        b"\x04\x02\x00\x50",
        b"\x0a\x00\x00\x01",
        b"\x00\x00\x00\x01",
        b"alice\x00",
        b"\x00",
        b"web\x00",
    ]
)
streams = st.lists(fragments | st.binary(max_size=300), min_size=1, max_size=8).map(b"".join).filter(bool)
without_null = st.binary(max_size=255).filter(lambda text: 0 not in text)
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=63)
Outcome = tuple[bytes, list[Event], State, bytes]


def run(pieces: list[bytes], users_required: bool) -> Outcome:
    machine = Socks4Machine(users_required=users_required)
    sent, events = b"", []
    for piece in pieces:
        try:
            machine.receive_data(piece)
        except RemoteProtocolError:
            assert machine.state is State.ERROR
        sent += machine.data_to_send()
        while (event := machine.next_event()) is not None:
            events.append(event)
    return sent, events, machine.state, machine.take_early_data()


@settings(deadline=None, max_examples=400)
@given(streams, st.booleans(), st.lists(st.integers(min_value=1, max_value=30)))
def test_any_bytes_in_any_pieces(stream: bytes, users_required: bool, sizes: list[int]) -> None:
    pieces, rest = [], stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    whole = run([stream], users_required)
    assert run([piece for piece in (*pieces, rest) if piece], users_required) == whole
    assert run([bytes((byte,)) for byte in stream], users_required) == whole
    assert len(whole[1]) <= 1
    assert len(whole[0]) in (0, 8)
    assert whole[2] is not State.AWAITING_REPLY or not users_required


@settings(deadline=None, max_examples=200)
@given(st.ip_addresses(v=4) | names, st.integers(0, 65535), without_null, st.binary(max_size=50))
def test_what_is_asked_is_what_was_meant(host: IPv4Address | str, port: int, userid: bytes, early: bytes) -> None:
    if isinstance(host, IPv4Address):
        if 0 < int(host) < 256:
            return  # announces a name
        message = b"\x04\x01" + port.to_bytes(2, "big") + host.packed + userid + b"\x00"
    else:
        message = (
            b"\x04\x01" + port.to_bytes(2, "big") + b"\x00\x00\x00\x09" + userid + b"\x00" + host.encode() + b"\x00"
        )
    assert run([message + early], users_required=False) == (
        b"",
        [ConnectRequested(host, port)],
        State.AWAITING_REPLY,
        early,
    )
