"""Responses that are made here: from nothing, from another message, and short enough for the way back."""

from __future__ import annotations

from collections.abc import Iterable

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HEADER_SIZE = 12  # RFC 1035 section 4.1.1
PAYLOAD = 1232  # the UDP size that we announce: fits the smallest IPv6 path (DNS flag day 2020)

_NETWORK_ERROR = 23  # RFC 8914 section 4.24
_PROHIBITED = 18  # RFC 8914 section 4.19

RRsets = Iterable[dns.rrset.RRset]


def make_reply(
    query: dns.message.Message,
    rcode: dns.rcode.Rcode,
    *,
    answer: RRsets = (),
    authority: RRsets = (),
    additional: RRsets = (),
    authentic: bool = False,
    reason: str = "",
) -> dns.message.Message:
    """Return the response to ``query``, with its id, question and EDNS.

    ``authentic``: the server that was asked has validated it (RFC 6840 section 5.8: told to those who ask).
    ``reason``: words for RFC 8914's extended error, which EDNS clients show.
    """
    reply = dns.message.QueryMessage(id=query.id)
    reply.flags = dns.flags.QR | dns.flags.RA | (query.flags & (dns.flags.RD | dns.flags.CD))
    if authentic and (query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO):
        reply.flags |= dns.flags.AD
    reply.question = list(query.question)
    reply.answer, reply.authority, reply.additional = list(answer), list(authority), list(additional)
    if query.edns >= 0:
        options: list[dns.edns.Option] = []
        if reason:
            code = _PROHIBITED if rcode == dns.rcode.REFUSED else _NETWORK_ERROR
            options.append(dns.edns.EDEOption(dns.edns.EDECode(code), reason))
        # RFC 3225 section 3: "The DO bit of the query MUST be copied in the response."
        reply.use_edns(0, query.ednsflags & dns.flags.DO, PAYLOAD, options=options)
    reply.set_rcode(rcode)
    return reply


def header_only(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """Return a response without sections to a message that could not be read; ``wire`` has a whole header."""
    opcode_and_rd = wire[2] & 0x79
    return wire[:2] + bytes((0x80 | opcode_and_rd, int(rcode) & 0x0F)) + bytes(8)


def fit(reply: dns.message.Message, limit: int) -> bytes:
    """Return the response in at most ``limit`` octets: whole, or empty with TC, so that it is asked for by TCP.

    RFC 2181 section 9: "the TC header bit should be set only when an RRSet is required ... could not be included".
    Nothing is sent in part, so that nobody takes a part for the whole.
    """
    try:
        wire = reply.to_wire(max_size=limit)
        if len(wire) <= limit:
            return wire
    except dns.exception.TooBig:
        pass
    reply.answer, reply.authority, reply.additional = [], [], []
    reply.flags |= dns.flags.TC
    return reply.to_wire()
