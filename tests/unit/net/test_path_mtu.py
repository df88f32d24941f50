"""What is remembered of "packet too big"."""

from __future__ import annotations

from sstpsocks.net.path_mtu import LIFETIME, MAX_PATHS, PathMtus

THERE = bytes(15) + b"\1"


def test_a_report_counts_for_its_destination_until_it_is_old() -> None:
    paths = PathMtus()
    assert paths.poll_at() is None
    paths.lower(THERE, 1300, 5.0)
    assert (paths.get(THERE, 1400), paths.get(bytes(16), 1400)) == (1300, 1400)
    assert paths.poll_at() == 5.0 + LIFETIME
    paths.handle_timer(4.0 + LIFETIME)
    assert paths.get(THERE, 1400) == 1300
    paths.handle_timer(5.0 + LIFETIME)
    assert paths.get(THERE, 1400) == 1400
    assert paths.poll_at() is None


def test_no_report_raises_an_estimate() -> None:
    """RFC 8201 section 4."""
    paths = PathMtus()
    paths.lower(THERE, 1300, 0.0)
    paths.lower(THERE, 1350, 1.0)
    assert paths.get(THERE, 1400) == 1300
    assert paths.get(THERE, 1280) == 1280


def test_the_number_of_paths_is_bounded() -> None:
    paths = PathMtus()
    for number in range(MAX_PATHS + 10):
        paths.lower(number.to_bytes(16, "big"), 1300, float(number))
    assert paths.get((9).to_bytes(16, "big"), 1400) == 1400
    assert paths.get((10).to_bytes(16, "big"), 1400) == 1300
    paths.clear()
    assert paths.poll_at() is None
