from __future__ import annotations

import pytest

from sstpsocks.net.downloads import CROWD_LIFETIME, QUEUE_LIFETIME, QUEUE_RENEWAL, Downloads
from sstpsocks.net.tcp.rtt import LARGEST_QUEUE, RttEstimator


def test_the_shared_queue_is_the_least_that_any_download_waited_lately() -> None:
    downloads = Downloads()
    downloads.waited(0.030, 10.0)
    downloads.waited(0.020, 10.001)
    downloads.waited(0.200, 10.002)  # this one has a queue of its own beyond the server
    assert downloads.queue(10.002) == 0.020


def test_the_shared_queue_follows_one_that_grows() -> None:
    downloads = Downloads()
    downloads.waited(0.001, 10.0)
    downloads.waited(0.020, 10.0 + QUEUE_RENEWAL * 1.1)
    assert downloads.queue(10.01) == 0.020


def test_the_shared_queue_is_forgotten_when_nobody_is_busy() -> None:
    downloads = Downloads()
    downloads.waited(0.020, 10.0)
    assert downloads.queue(10.0 + QUEUE_LIFETIME * 1.1) == 0.0


def test_one_download_is_no_crowd() -> None:
    downloads = Downloads()
    for round_number in range(10):
        downloads.busy(50_000, 1e6, 10.0 + round_number * 0.1)
    assert not downloads.crowded(11.0)


def test_two_downloads_are_a_crowd_until_one_of_them_rests() -> None:
    downloads = Downloads()
    downloads.busy(50_000, 1e6, 10.0)
    downloads.busy(50_001, 3e6, 10.1)
    assert downloads.crowded(10.2)
    for round_number in range(1, 12):
        downloads.busy(50_001, 3e6, 10.1 + round_number * 0.1)
    assert not downloads.crowded(10.1 + CROWD_LIFETIME + 0.1)


def test_a_download_after_a_rest_is_no_crowd() -> None:
    downloads = Downloads()
    downloads.busy(50_000, 1e6, 10.0)
    downloads.busy(50_001, 9e6, 10.0 + CROWD_LIFETIME * 2)
    assert not downloads.crowded(10.0 + CROWD_LIFETIME * 2)
    assert downloads.ahead(9e6) == pytest.approx(1.0)


def test_the_mean_is_of_the_downloads_not_of_their_octets() -> None:
    downloads = Downloads()
    for round_number in range(200):
        downloads.busy(50_000, 1e6, 10.0 + round_number * 0.02)
        downloads.busy(50_001, 3e6, 10.01 + round_number * 0.02)
    assert downloads.ahead(3e6) == pytest.approx(1.5, rel=0.1)
    assert downloads.ahead(1e6) == pytest.approx(0.5, rel=0.1)


def test_a_queue_in_front_of_the_handshake_is_no_part_of_the_path() -> None:
    rtt = RttEstimator(1.0, 0.2, 60.0)
    rtt.measured(0.030)
    rtt.waited(0.022)
    assert rtt.smallest == pytest.approx(0.008)
    assert rtt.srtt == 0.030  # the timers go by what really passed


def test_a_path_is_not_taken_for_nothing_but_queue() -> None:
    rtt = RttEstimator(1.0, 0.2, 60.0)
    rtt.measured(0.030)
    rtt.waited(5.0)
    assert rtt.smallest == pytest.approx(0.030 / LARGEST_QUEUE)
