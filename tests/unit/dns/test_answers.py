"""What the DNS port's cache keeps, for how long, and what it never grows beyond."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.rrset
import pytest

from sstpsocks.dns.answers import (
    MAX_ANSWERS,
    MAX_NEGATIVE_TTL,
    MAX_RDATA,
    MAX_RECORDS,
    MAX_TTL,
    Answer,
    AnswerCache,
    key_of,
)

SOA = "ns.web.test. admin.web.test. 1 7200 3600 86400 "


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> AnswerCache:
    return AnswerCache(clock)


KEY = key_of(dns.message.make_query("web.test", "A"))


def addresses(count: int = 1, ttl: int = 300) -> Answer:
    texts = [f"10.0.{number >> 8}.{number & 255}" for number in range(count)]
    return Answer(dns.rcode.NOERROR, (dns.rrset.from_text_list("web.test.", ttl, "IN", "A", texts),))


def denial(soa_ttl: int, minimum: int) -> Answer:
    authority = dns.rrset.from_text("test.", soa_ttl, "IN", "SOA", f"{SOA}{minimum}")
    return Answer(dns.rcode.NXDOMAIN, authority=(authority,))


def test_an_answer_is_kept_for_its_time_to_live_which_goes_down(cache: AnswerCache, clock: Clock) -> None:
    cache.put(KEY, addresses(ttl=300), 100)
    clock.time += 299
    found = cache.get(KEY)
    assert found is not None
    assert found.answer[0].ttl == 1
    clock.time += 1
    assert cache.get(KEY) is None


def test_nothing_is_kept_for_more_than_a_day(cache: AnswerCache, clock: Clock) -> None:
    cache.put(KEY, addresses(ttl=10 * MAX_TTL), 100)
    clock.time += MAX_TTL - 1
    assert cache.get(KEY) is not None
    clock.time += 1
    assert cache.get(KEY) is None


@pytest.mark.parametrize(
    ("soa_ttl", "minimum", "seconds"),
    [(600, 60, 60), (60, 600, 60), (10 * MAX_NEGATIVE_TTL, 10 * MAX_NEGATIVE_TTL, MAX_NEGATIVE_TTL)],
)
def test_a_denial_is_kept_for_the_least_of_what_its_soa_says_and_an_hour(
    cache: AnswerCache, clock: Clock, soa_ttl: int, minimum: int, seconds: int
) -> None:
    cache.put(KEY, denial(soa_ttl, minimum), 100)
    clock.time += seconds - 1
    assert cache.get(KEY) is not None
    clock.time += 1
    assert cache.get(KEY) is None


def test_the_number_of_answers_is_bounded_and_the_least_recently_used_goes(cache: AnswerCache) -> None:
    keys = [key_of(dns.message.make_query(f"n{number}.test", "A")) for number in range(MAX_ANSWERS + 1)]
    for key in keys[:-1]:
        cache.put(key, addresses(), 100)
    assert cache.get(keys[0]) is not None
    cache.put(keys[-1], addresses(), 100)
    assert len(cache) == MAX_ANSWERS
    assert cache.get(keys[0]) is not None
    assert cache.get(keys[1]) is None


def test_an_answer_of_many_records_is_not_kept(cache: AnswerCache) -> None:
    cache.put(KEY, addresses(MAX_RECORDS + 1), 100)
    assert cache.get(KEY) is None
    cache.put(KEY, addresses(MAX_RECORDS), 100)
    assert cache.get(KEY) is not None


def test_a_long_answer_is_not_kept(cache: AnswerCache) -> None:
    cache.put(KEY, addresses(), MAX_RDATA + 1)
    assert cache.get(KEY) is None
    cache.put(KEY, addresses(), MAX_RDATA)
    assert cache.get(KEY) is not None


def test_the_case_of_a_name_makes_no_other_entry() -> None:
    assert key_of(dns.message.make_query("WeB.tEsT", "A")) == KEY


def test_who_wants_signatures_gets_no_answer_without_them() -> None:
    assert key_of(dns.message.make_query("web.test", "A", want_dnssec=True)) != KEY
