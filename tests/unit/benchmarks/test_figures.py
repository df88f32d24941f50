"""What is made of the figures of many runs."""

from __future__ import annotations

import pytest

from benchmarks.figures import Better, Summary, jain, percentile, ratio


def summary(*values: float, better: Better = "more") -> Summary:
    return Summary(values, "", better)


def test_a_ratio_compares_medians_and_runs_that_followed_each_other() -> None:
    found = ratio(summary(10.0, 20.0, 30.0), summary(5.0, 10.0, 5.0))
    assert found is not None
    assert found.of_medians == 4.0
    assert found.paired == (2.0, 2.0, 6.0)


def test_half_the_cost_is_twice_as_good() -> None:
    found = ratio(summary(2.0, better="less"), summary(4.0, better="less"))
    assert found is not None
    assert found.of_medians == 2.0


def test_what_only_explains_has_no_ratio() -> None:
    assert ratio(summary(2.0, better="neither"), summary(4.0, better="neither")) is None


def test_nothing_is_divided_by_zero() -> None:
    assert ratio(summary(2.0), summary(0.0)) is None
    assert ratio(summary(0.0, better="less"), summary(2.0, better="less")) is None


def test_a_peer_with_fewer_runs_is_compared_as_far_as_it_came() -> None:
    found = ratio(summary(2.0, 4.0), summary(2.0))
    assert found is not None
    assert found.paired == (1.0,)


@pytest.mark.parametrize(("shares", "index"), [([5.0, 5.0, 5.0, 5.0], 1.0), ([9.0, 0.0, 0.0], 1 / 3)])
def test_fairness_is_one_where_all_have_the_same(shares: list[float], index: float) -> None:
    assert jain(shares) == pytest.approx(index)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, percent) for percent in (0, 50, 99)] == [1.0, 3.0, 5.0]
