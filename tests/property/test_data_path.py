"""The loops that read packets by position: right for every input, and nothing is read outside of it.

They exist in two builds (hatch_build.py), and the compiled one has a form of its own for the innermost reads. Whichever
build runs, it is held against plain definitions here.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sstpsocks.base.checksum import checksum, ones_complement_sum
from sstpsocks.net.receive_run import receive_run
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.sstp.data_run import DATA_HEADER_SIZE, data_header, find_frames

IPV4, IPV6, LCP = 0xFF030021, 0xFF030057, 0xFF03C021
CONTENTS = st.binary(max_size=200) | st.builds(lambda piece, count: piece * count, st.binary(max_size=9), st.just(400))
HOSTILE = st.integers(-(2**40), 2**40) | st.integers(-50, 250)


def sum_by_definition(data: bytes, initial: int) -> int:
    """RFC 1071, word by word."""
    total: int = initial + sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@settings(deadline=None, max_examples=300)
@given(CONTENTS, st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**36))
@example(b"\xff" * 3600, 0, 0, 2**36)
@example(b"\xff\xff", 0, 0, 0)
@example(b"", 0, 0, 0)
def test_the_checksum_is_that_of_its_definition(data: bytes, before: int, behind: int, initial: int) -> None:
    start, end = min(before, len(data)), max(len(data) - behind, min(before, len(data)))
    expected = sum_by_definition(data[start:end], initial)
    for buffer in (data, bytearray(data), memoryview(data)):
        assert ones_complement_sum(buffer, start, end, initial) == expected
        assert checksum(buffer, start, end, initial) == 0xFFFF - expected


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=100), HOSTILE, HOSTILE)
def test_the_checksum_never_looks_outside(data: bytes, start: int, end: int) -> None:
    try:
        assert 0 <= checksum(data, start, end) <= 0xFFFF
    except (IndexError, ValueError):
        assert start < 0 or end > len(data)


PACKETS = st.lists(
    st.builds(
        lambda size, kind: data_header(size, kind) + bytes(size), st.integers(1, 60), st.sampled_from((IPV4, IPV6))
    )
    | st.builds(lambda size: data_header(size, LCP) + bytes(size), st.integers(0, 20))
    | st.binary(max_size=12),
    max_size=12,
)


@settings(deadline=None, max_examples=300)
@given(PACKETS, st.integers(0, 30), st.sampled_from(((IPV4, IPV6), (IPV4, -1), (-1, IPV6), (-1, -1))))
def test_frames_are_found_until_something_else_comes(packets: list[bytes], cut: int, kinds: tuple[int, int]) -> None:
    data = b"".join(packets)
    data = data[: max(len(data) - cut, 0)]
    spans: list[tuple[int, int]] = []
    stop = find_frames(data, 0, *kinds, spans)
    # What was found lies one after the other, each behind the header that tells its size and one of the kinds.
    position = 0
    for start, end in spans:
        assert start == position + DATA_HEADER_SIZE < end <= len(data)
        assert data[position:start] in [data_header(end - start, kind) for kind in kinds if kind >= 0]
        position = end
    assert position == stop
    # And the next is none that could have been taken.
    left = data[stop:]
    for kind in kinds:
        for size in range(1, len(left) - DATA_HEADER_SIZE + 1):
            assert kind < 0 or not left.startswith(data_header(size, kind))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120), st.lists(st.tuples(st.integers(0, 130), st.integers(0, 130)), max_size=8))
def test_spans_that_lie_do_no_harm(data: bytes, spans: list[tuple[int, int]]) -> None:
    """The link makes none such; if it did, an exception would say so."""
    seen: list[tuple[int, int]] = []

    def slow(_data: bytes, start: int, end: int, _now: float) -> None:
        seen.append((start, end))

    connections: dict[bytes, TcpConnection] = {}
    if all(start <= len(data) and end <= len(data) for start, end in spans):
        assert receive_run(connections, data, spans, 0.0, slow)[0] == 0
        assert seen == spans
    else:
        try:
            receive_run(connections, data, spans, 0.0, slow)
        except (IndexError, ValueError, struct.error):
            pass


def test_a_header_that_does_not_fit_is_refused() -> None:
    with pytest.raises(struct.error):
        data_header(1 << 16, IPV4)
