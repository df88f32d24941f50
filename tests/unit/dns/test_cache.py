from __future__ import annotations

from sstpsocks.dns.cache import ExpiringCache


def test_a_value_lives_until_its_time() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(4)
    cache.put("a", 1, 10.0)
    assert cache.get("a", 9.999) == 1
    assert cache.get("a", 10.0) is None
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(2)
    cache.put("a", 1, 10.0)
    cache.put("b", 2, 10.0)
    assert cache.get("a", 0.0) == 1
    cache.put("c", 3, 10.0)
    assert cache.get("b", 0.0) is None
    assert cache.get("a", 0.0) == 1
    assert cache.get("c", 0.0) == 3
    assert repr(cache) == "<ExpiringCache 2 of 2>"
    assert cache.crowded_out == 1


def test_clear_forgets_everything() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(2)
    cache.put("a", 1, 10.0)
    cache.clear()
    assert cache.get("a", 0.0) is None
