"""What the DNS port does with the octets of one message: an answer or silence, never an exception.

Also the place that bounds the work: so many questions are under way in all, and so many for each client.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Hashable

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .policy import LOCAL_TTL, Answers
from .replies import HEADER_SIZE, fit, header_only, make_reply

MAX_UNDER_WAY = 512
MAX_PER_CLIENT = 64
MIN_UDP = 512  # RFC 1035 section 2.3.4
MAX_UDP = 4096  # octets; more comes by TCP, whatever a client says it takes
MAX_TCP = 65535

_QTYPES = range(128, 256)  # RFC 6895 section 3.1: questions and meta types, of which only ANY and MAILA are for all
_logger = logging.getLogger("sstpsocks.dns")


def is_question(wire: bytes) -> bool:
    """Whether a message is what programs ask: a query with one question, and no records but additional ones."""
    if len(wire) < HEADER_SIZE or wire[2] & 0x80 or (wire[2] >> 3) & 0x0F != dns.opcode.QUERY:
        return False
    return struct.unpack_from("!HHH", wire, 4) == (1, 0, 0)


class Desk:
    """Takes messages of clients and gives responses."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._under_way: Counter[Hashable] = Counter()
        self.refused_busy = 0
        """Questions that were answered SERVFAIL because too many were under way."""

    def __repr__(self) -> str:
        return f"<Desk {self._under_way.total()} under way>"

    def has_room(self, client: Hashable) -> bool:
        """Whether one more question of this client is looked into now."""
        return self._under_way.total() < MAX_UNDER_WAY and self._under_way[client] < MAX_PER_CLIENT

    async def respond(self, wire: bytes, client: Hashable, *, udp: bool, limit: int = MAX_TCP) -> bytes | None:
        """Return the response to a message, None for silence; over UDP as long as the client takes, up to ``limit``."""
        # A response is never answered, or two servers could keep each other busy for ever.
        if len(wire) < HEADER_SIZE or wire[2] & 0x80:
            return None
        if (wire[2] >> 3) & 0x0F != dns.opcode.QUERY:
            return header_only(wire, dns.rcode.NOTIMP)
        questions, answers, authorities = struct.unpack_from("!HHH", wire, 4)
        if questions != 1 or answers or authorities:
            return header_only(wire, dns.rcode.FORMERR)
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError, struct.error, IndexError):
            return header_only(wire, dns.rcode.FORMERR)
        if len(query.question) != 1:
            return header_only(wire, dns.rcode.FORMERR)
        if not self.has_room(client):
            self.refused_busy += 1
            return self._written(make_reply(query, dns.rcode.SERVFAIL, reason="too busy"), query, udp, limit)
        self._under_way[client] += 1
        try:
            reply = _at_once(query) or await self._answers.answer(query)
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
        return self._written(reply, query, udp, limit)

    def _written(self, reply: dns.message.Message, query: dns.message.Message, udp: bool, limit: int) -> bytes:
        if udp:
            # RFC 6891 section 6.2.3: "Values lower than 512 MUST be treated as equal to 512."
            size = max(MIN_UDP, min(query.payload, MAX_UDP)) if query.edns >= 0 else MIN_UDP
            limit = min(limit, size)
        try:
            return fit(reply, limit)
        except (dns.exception.DNSException, ValueError) as error:
            _logger.debug("a response could not be written: %s", type(error).__name__)
            return fit(make_reply(query, dns.rcode.SERVFAIL), limit)


def _at_once(query: dns.message.Message) -> dns.message.Message | None:
    """Return the response to what nobody is asked."""
    question = query.question[0]
    if query.edns > 0:
        return make_reply(query, dns.rcode.BADVERS)  # RFC 6891 section 6.1.3
    if question.rdclass != dns.rdataclass.IN:
        return make_reply(query, dns.rcode.REFUSED)
    if question.rdtype == dns.rdatatype.ANY:
        # RFC 8482 section 4.2: one small record instead of all.
        hinfo = dns.rrset.from_text(question.name, LOCAL_TTL, "IN", "HINFO", '"RFC8482" ""')
        return make_reply(query, dns.rcode.NOERROR, answer=[hinfo])
    if int(question.rdtype) in _QTYPES or question.rdtype in (dns.rdatatype.OPT, dns.rdatatype.NONE):
        return make_reply(query, dns.rcode.NOTIMP)  # transfers, keys of transactions: not through a forwarder
    return None
