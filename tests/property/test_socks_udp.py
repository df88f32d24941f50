"""Headers of relayed datagrams survive the way through bytes, and any bytes are understood or refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.proxy.socks.udp_header import RelayedDatagram

names = st.text(min_size=1, max_size=255).filter(
    lambda name: not any(0xD800 <= ord(letter) < 0xE000 for letter in name) and len(name.encode()) <= 255
)
datagrams = st.builds(
    RelayedDatagram,
    names | st.ip_addresses(),
    st.integers(min_value=0, max_value=65535),
    st.binary(max_size=64),
    st.integers(min_value=0, max_value=255),
)


@settings(deadline=None, max_examples=300)
@given(datagrams)
def test_parse_and_to_bytes_are_inverse(datagram: RelayedDatagram) -> None:
    assert RelayedDatagram.parse(datagram.to_bytes()) == datagram


@settings(deadline=None, max_examples=300)
@given(datagrams, st.data())
def test_a_datagram_cut_within_its_header_is_refused(datagram: RelayedDatagram, data: st.DataObject) -> None:
    whole = datagram.to_bytes()
    header = len(whole) - len(datagram.payload)
    cut = data.draw(st.integers(min_value=0, max_value=header - 1))
    try:
        RelayedDatagram.parse(whole[:cut])
    except RemoteProtocolError:
        return
    raise AssertionError("a part of a header was taken for a whole one")


anything = st.binary(max_size=300)
beginnings = st.sampled_from([b"\0\0\0\1", b"\0\0\0\3", b"\0\0\0\4"])


@settings(deadline=None, max_examples=500)
@given(anything | st.builds(bytes.__add__, beginnings, anything))
def test_any_bytes(data: bytes) -> None:
    try:
        datagram = RelayedDatagram.parse(data)
    except RemoteProtocolError:
        return
    # RSV is not kept; everything else is.
    assert datagram.to_bytes() == b"\0\0" + data[2:]
