"""ByteQueue against a plain bytearray, RangeSet against a plain set."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.bytequeue import ByteQueue
from sstpsocks.base.ranges import RangeSet

SIZES = st.one_of(st.integers(0, 40), st.integers(4000, 5000), st.integers(60_000, 70_000))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), SIZES, st.integers(0, 255)),
        st.tuples(st.just("discard"), SIZES, st.just(0)),
        st.tuples(st.just("peek"), SIZES, SIZES),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(STEPS)
def test_byte_queue_is_a_first_in_first_out_of_octets(steps: list[tuple[str, int, int]]) -> None:
    queue = ByteQueue()
    model = b""
    for verb, size, argument in steps:
        if verb == "append":
            data = bytes((argument + index) & 0xFF for index in range(size))
            reused = bytearray(data)
            queue.append(memoryview(reused) if argument & 1 else data)
            reused[:] = bytes(size)
            model += data
        elif verb == "discard":
            queue.discard(size)
            model = model[size:]
        else:
            assert queue.peek(size, argument) == model[size : size + argument]
        assert len(queue) == len(model)
    assert queue.peek(0, len(model)) == model


def test_byte_queue_gathers_single_octets() -> None:
    queue = ByteQueue()
    for number in range(300_000):
        queue.append(bytes((number & 0xFF,)))
    assert "5 chunks" in repr(queue)
    assert queue.peek(65_535, 3) == b"\xff\x00\x01"
    queue.clear()
    assert len(queue) == 0
    assert queue.peek(0, 10) == b""


RANGES = st.tuples(st.integers(0, 60), st.integers(0, 60))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.booleans(), RANGES), max_size=30), RANGES)
def test_range_set_is_a_set_of_integers(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    ranges = RangeSet()
    model: set[int] = set()
    for add, (start, end) in steps:
        if add:
            ranges.add(start, end)
            model |= set(range(start, end))
        else:
            ranges.subtract(start, end)
            model -= set(range(start, end))
        assert [number for begin, stop in ranges for number in range(begin, stop)] == sorted(model)
        assert all(ranges[index][1] < ranges[index + 1][0] for index in range(len(ranges) - 1))
        assert bool(ranges) == bool(model)
    assert {number for number in range(61) if number in ranges} == model
    gaps = [number for begin, stop in ranges.missing(*asked) for number in range(begin, stop)]
    assert gaps == [number for number in range(*asked) if number not in model]
    ranges.clear()
    assert not ranges
