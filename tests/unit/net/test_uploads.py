from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from sstpsocks.net.uploads import FIRST_PAUSE, LONGEST_PAUSE, NEAR, ROUND, SHORT_QUEUE, Uploads

PATH = 0.001
FULL = 1_000_000.0
"""Octets a second that arrive before anything is tried."""


class Clock:
    """Lets rounds of an upload pass."""

    def __init__(self) -> None:
        self.uploads = Uploads()
        self.now = 10.0

    def upload(
        self, seconds: float, queue: float, rate: Callable[[], float] = lambda: FULL, path: float = PATH
    ) -> None:
        """Every 10 ms comes an acknowledgement of what arrived in the meantime."""
        for _ in range(round(seconds / 0.01)):
            self.now += 0.01
            self.uploads.acknowledged(round(rate() * 0.01), path + queue, path, self.now)


def test_a_short_queue_is_left_alone() -> None:
    clock = Clock()
    clock.upload(5.0, SHORT_QUEUE * 0.9)
    assert clock.uploads.reduction == 0


def test_a_long_queue_is_reduced_step_by_step_while_that_does_no_harm() -> None:
    clock = Clock()
    clock.upload(3.0, 0.1)
    assert clock.uploads.reduction >= 3
    assert clock.uploads.taken_back == 0


def test_each_reduction_has_time_to_show_before_the_next() -> None:
    clock = Clock()
    times: list[float] = []
    while len(times) < 5:
        before = clock.uploads.reduction
        clock.upload(0.01, 0.004)
        if clock.uploads.reduction > before:
            times.append(clock.now)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1.99 * ROUND


def test_a_reduction_that_does_harm_is_taken_back() -> None:
    clock = Clock()
    # No queue of ours: what arrives is a window each round trip.
    clock.upload(1.0, 0.1, lambda: FULL * 0.7**clock.uploads.reduction)
    assert clock.uploads.taken_back == clock.uploads.reduction == 1


def test_after_each_that_did_harm_in_a_row_the_pause_is_longer() -> None:
    clock = Clock()
    times: list[float] = []
    while clock.now < 400.0:
        uploads = clock.uploads
        before = uploads.reduction
        on_trial = uploads.reduction > uploads.taken_back
        clock.upload(0.01, 0.1, lambda: FULL * 0.7 if on_trial else FULL)  # noqa: B023
        if uploads.reduction > before:
            times.append(clock.now)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] == pytest.approx(FIRST_PAUSE, abs=7 * ROUND)
    assert pauses[1] == pytest.approx(2 * FIRST_PAUSE, abs=7 * ROUND)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=7 * ROUND)


def test_half_a_round_trip_of_queue_keeps_a_path_full() -> None:
    clock = Clock()
    clock.upload(5.0, 0.4 * NEAR, path=NEAR)
    assert clock.uploads.reduction == 0
    clock.upload(5.0, 0.6 * NEAR, path=NEAR)
    assert clock.uploads.reduction > 0


def test_uploads_over_a_long_path_are_left_alone() -> None:
    clock = Clock()
    clock.upload(5.0, 0.1, path=1.1 * NEAR)
    assert clock.uploads.reduction == 0


def test_while_more_and_more_arrives_nothing_is_reduced() -> None:
    clock = Clock()
    clock.upload(1.0, 0.1, lambda: FULL * 16 ** (clock.now - 10.0))
    assert clock.uploads.reduction == 0
    clock.upload(2.0, 0.1, lambda: FULL * 16)
    assert clock.uploads.reduction > 0


def test_an_upload_after_a_rest_is_not_measured_against_the_one_before() -> None:
    clock = Clock()
    clock.upload(2.0, 0.0)
    clock.now += 60.0
    clock.upload(2.0, 0.1, lambda: FULL / 10)
    assert clock.uploads.reduction > 0
    assert clock.uploads.taken_back == 0
