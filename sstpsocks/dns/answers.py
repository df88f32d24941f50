"""A cache of whole responses, of any type, whose times to live go down while they wait.

Positive ones are kept for the least TTL in them, negative ones as long as the SOA with them says (RFC 2308 section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from .cache import ExpiringCache

MAX_ANSWERS = 1024
MAX_RECORDS = 64  # in a response; larger ones are passed on but not kept
MAX_RDATA = 8192  # octets of a response that is kept, so that the whole cache stays below 8 MiB and overhead
MAX_TTL = 86400  # seconds
MAX_NEGATIVE_TTL = 3600  # seconds; RFC 2308 section 5 calls one to three hours sensible

Key = tuple[str, int, int, bool, bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, without the parts that belong to one query."""

    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...] = ()
    authority: tuple[dns.rrset.RRset, ...] = ()
    additional: tuple[dns.rrset.RRset, ...] = ()
    authentic: bool = False

    def aged(self, seconds: int) -> Answer:
        """Return it as it is ``seconds`` later."""
        if seconds <= 0:
            return self
        return Answer(
            self.rcode, _aged(self.answer, seconds), _aged(self.authority, seconds), _aged(self.additional, seconds),
            self.authentic,
        )  # fmt: skip

    def lifetime(self) -> int:
        """Return for how many seconds it may be kept, 0: not at all."""
        sections = (*self.answer, *self.authority, *self.additional)
        if sum(map(len, sections)) > MAX_RECORDS:
            return 0
        least = min((rrset.ttl for rrset in sections), default=0)
        if self.rcode == dns.rcode.NOERROR and any(rrset.rdtype != dns.rdatatype.CNAME for rrset in self.answer):
            return min(least, MAX_TTL)
        for rrset in self.authority:
            if rrset.rdtype == dns.rdatatype.SOA:
                minimum = cast("dns.rdtypes.ANY.SOA.SOA", rrset[0]).minimum
                return min(least, MAX_NEGATIVE_TTL, minimum)
        # RFC 2308 section 5: "Negative responses without SOA records SHOULD NOT be cached".
        return 0


def _aged(rrsets: tuple[dns.rrset.RRset, ...], seconds: int) -> tuple[dns.rrset.RRset, ...]:
    older = []
    for rrset in rrsets:
        copy = dns.rrset.from_rdata_list(rrset.name, max(rrset.ttl - seconds, 0), list(rrset))
        older.append(copy)
    return tuple(older)


def answer_of(message: dns.message.Message) -> Answer:
    """Return what a response says."""
    return Answer(
        message.rcode(),
        tuple(message.answer),
        tuple(message.authority),
        tuple(message.additional),
        bool(message.flags & dns.flags.AD),
    )


def key_of(query: dns.message.Message) -> Key:
    """Return what makes two queries equal: question, and whether signatures and unchecked data are wanted."""
    question = query.question[0]
    return (
        question.name.to_text().lower(),
        int(question.rdtype),
        int(question.rdclass),
        bool(query.ednsflags & dns.flags.DO),
        bool(query.flags & dns.flags.CD),
    )


class AnswerCache:
    """Keeps a bounded number of answers, none of them large."""

    def __init__(self, now: Callable[[], float], size: int = MAX_ANSWERS) -> None:
        self._now = now
        self._entries: ExpiringCache[Key, tuple[float, Answer]] = ExpiringCache(size)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Answer | None:
        """Return the answer with what is left of its times to live."""
        now = self._now()
        found = self._entries.get(key, now)
        if found is None:
            return None
        stored, answer = found
        return answer.aged(int(now - stored))

    def put(self, key: Key, answer: Answer, size: int) -> None:
        """Keep an answer that was ``size`` octets long for as long as it may be."""
        lifetime = answer.lifetime()
        if lifetime > 0 and size <= MAX_RDATA:
            now = self._now()
            self._entries.put(key, (now, answer), now + lifetime)
