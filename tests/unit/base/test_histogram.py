"""Histograms count what is not above a bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.histogram import Histogram

BOUNDS = (0.1, 1.0, 10.0)


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram(BOUNDS)
    for value in (0.1, 0.1000001, 1.0, 11.0):
        histogram.observe(value)
    assert histogram.cumulative() == (1, 3, 3, 4)
    assert (histogram.count, histogram.total) == (4, 12.2000001)


def test_two_are_added_bucket_by_bucket() -> None:
    one, other = Histogram(BOUNDS), Histogram(BOUNDS)
    one.observe(0.5)
    other.observe(0.5)
    other.observe(50.0)
    one.add(other)
    assert one.cumulative() == (0, 2, 2, 3)
    assert (one.count, one.total) == (3, 51.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 100)))
def test_each_bucket_counts_all_below_its_bound(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    assert histogram.cumulative() == (*(sum(value <= bound for value in values) for bound in BOUNDS), len(values))


def test_two_are_equal_that_counted_the_same() -> None:
    one, other = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    one.observe(1.5)
    assert one != other
    other.observe(1.5)
    assert one == other
    assert one != Histogram((1.0, 3.0))
