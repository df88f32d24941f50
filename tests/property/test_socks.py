"""Whatever a client sends, in whatever pieces, the machine copes, and the pieces make no difference."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.proxy.socks.conversation import Event, State
from sstpsocks.proxy.socks.machine import SocksMachine
from sstpsocks.proxy.users import Users

CREDENTIALS = ("alice", "secret")
fragments = st.sampled_from(
    [
        b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x01\x05alice\x06secret", b"\x01\x05alice\x05wrong",
        b"\x05\x01\x00\x01", b"\x0a\x00\x00\x01\x00\x50", b"\x05\x01\x00\x03\x08web.test\x00\x50", b"\x05\x03\x00\x04",
        b"\x05\x02\x00\x01",
        bytes(18), b"\x05", b"",
        b"GET / HTTP/1.1\r\n",
    ]
)  # fmt: skip
streams = st.lists(fragments | st.binary(max_size=40), max_size=8).map(b"".join)
Outcome = tuple[bytes, list[Event], State, bytes, str]


def run(pieces: list[bytes], credentials: tuple[str, str] | None) -> Outcome:
    machine = SocksMachine(Users([credentials]).check if credentials else None)
    sent, events, failure = b"", [], ""
    for piece in pieces:
        try:
            machine.receive_data(piece)
        except RemoteProtocolError as error:
            failure = str(error)
        sent += machine.data_to_send()
        while (event := machine.next_event()) is not None:
            events.append(event)
        assert repr(machine)
    return sent, events, machine.state, machine.take_early_data(), failure


@settings(deadline=None, max_examples=400)
@given(streams, st.sampled_from([None, CREDENTIALS]), st.lists(st.integers(min_value=1, max_value=30)))
def test_any_bytes_in_any_pieces(stream: bytes, credentials: tuple[str, str] | None, sizes: list[int]) -> None:
    if not stream:
        return
    pieces, rest = [], stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    pieces = [piece for piece in (*pieces, rest) if piece]
    whole = run([stream], credentials)
    assert run(pieces, credentials) == whole
    assert run([bytes((byte,)) for byte in stream], credentials) == whole
    assert len(whole[1]) <= 1
    assert len(whole[0]) < 300


@settings(deadline=None, max_examples=200)
@given(streams)
def test_an_end_at_any_place(stream: bytes) -> None:
    _, _, state, _, failure = run([stream, b""], None)
    # It asked for a connection, was refused, or broke a rule: nothing is left open.
    assert state in (State.AWAITING_REPLY, State.REFUSED, State.ERROR)
    assert bool(failure) == (state is State.ERROR)
