"""A query of a program is answered by one tunnel: from what the user said, from the cache, or by a server.

:class:`TunnelAnswers` is the answering side of one tunnel. Where there are several, whatever picks one of them by name
offers the same ``answer()`` (:class:`Answers`), and the port (:mod:`.desk`) cannot tell.
"""

from __future__ import annotations

from typing import Protocol

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import trio

from ..errors import DeniedByRule, DialError, NameNotFound
from ..tunnel.network import Network, wait_up
from .answers import MAX_ANSWERS, Answer, AnswerCache, answer_of, key_of
from .exchange import UnusableAnswer
from .names import normalise_name
from .replies import PAYLOAD, make_reply
from .table import NameTable, is_ours, never_exists, reverse_address
from .upstream import Upstreams

LIFETIME = 8.0  # seconds for a whole question: programs ask again after five and give up after ten or so
LOCAL_TTL = 60  # seconds; of what is answered here
A = dns.rdatatype.A
AAAA = dns.rdatatype.AAAA

_WITHOUT_EDNS = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS})


class Answers(Protocol):
    """Whatever answers queries: one tunnel, or a choice among several."""

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Return the response to a query with one question of class IN; never raises but when it is cancelled."""
        ...


class TunnelAnswers:
    """Answers by the same table and servers as the names of the tunnel's proxy clients are looked up by."""

    def __init__(
        self, network: Network, table: NameTable, upstreams: Upstreams | None = None, *, cache_size: int = MAX_ANSWERS
    ) -> None:
        self._network = network
        self._table = table
        self._cache_size = cache_size
        self._upstreams = upstreams if upstreams is not None else Upstreams(network, table)
        self._cache = AnswerCache(trio.current_time, cache_size)

    def __repr__(self) -> str:
        return f"<TunnelAnswers {len(self._cache)} cached>"

    def clear(self) -> None:
        """Forget everything that was learned: call it when the tunnel comes up anew."""
        # Another one: a question of the old tunnel that is still on its way keeps its answer in the old.
        self._cache = AnswerCache(trio.current_time, self._cache_size)
        self._upstreams.clear()

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Return the response; SERVFAIL with a reason when nobody could tell, at once while the tunnel is down."""
        try:
            found = self._from_settings(query)
            if found is None:
                with trio.move_on_after(LIFETIME):
                    found = await self._search(query)
        except DeniedByRule as error:
            return make_reply(query, dns.rcode.REFUSED, reason=str(error))
        except DialError as error:
            return make_reply(query, dns.rcode.SERVFAIL, reason=str(error))
        if found is None:
            return make_reply(query, dns.rcode.SERVFAIL, reason="the servers did not answer in time")
        return make_reply(
            query,
            found.rcode,
            answer=found.answer,
            authority=found.authority,
            additional=found.additional,
            authentic=found.authentic,
        )

    def _from_settings(self, query: dns.message.Message) -> Answer | None:
        """Answer what no server is asked: this machine's names, names that cannot exist, and the user's hosts."""
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        if is_ours(name):
            return _local(question.name, question.rdtype, ("127.0.0.1", "::1"), "localhost.")
        if never_exists(name):
            return Answer(dns.rcode.NXDOMAIN)
        addresses = self._table.addresses_of(name)
        if addresses:
            return _local(question.name, question.rdtype, tuple(map(str, addresses)), "")
        reverse = reverse_address(name)
        host = self._table.name_of(reverse[0]) if reverse is not None and reverse[1] else None
        if host is not None:
            return _local(question.name, question.rdtype, (), f"{host}.")
        return None

    async def _search(self, query: dns.message.Message) -> Answer:
        """Answer from the servers; an address of a single label is looked for in the search domains first.

        What is found there is told as an alias (CNAME) of the whole name, so that everybody sees which one it was.
        """
        await wait_up(self._network)
        question = query.question[0]
        # Two labels: the one, and the root.
        if len(question.name) == 2 and question.rdtype in (A, AAAA):
            for domain in self._table.domains:
                try:
                    whole = question.name.relativize(dns.name.root).concatenate(dns.name.from_text(domain))
                except dns.name.NameTooLong:
                    continue
                found = await self._ask(_asking(query, whole))
                if found.rcode != dns.rcode.NXDOMAIN:
                    ttl = min((rrset.ttl for rrset in found.answer), default=0)
                    alias = dns.rrset.from_text(question.name, ttl, "IN", "CNAME", whole.to_text())
                    return Answer(found.rcode, (alias, *found.answer), found.authority, found.additional)
        return await self._ask(_asking(query, question.name))

    async def _ask(self, query: dns.message.Message) -> Answer:
        key, cache = key_of(query), self._cache
        kept = cache.get(key)
        if kept is not None:
            return kept
        try:
            name = normalise_name(query.question[0].name.to_text(omit_final_dot=True))
        except NameNotFound:
            # The DNS carries any octets (RFC 2181 section 11): such names are asked as they are.
            name = query.question[0].name.to_text(omit_final_dot=True).lower()
        refused_edns = False

        def judge(response: dns.message.Message) -> dns.message.Message:
            nonlocal refused_edns
            code = response.rcode()
            if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                refused_edns = refused_edns or code in _WITHOUT_EDNS
                raise UnusableAnswer(f"answered {dns.rcode.to_text(code)}")
            return response

        try:
            response = await self._upstreams.ask(name, query, judge)
        except DialError:
            # RFC 6891 section 7: servers that do not know EDNS are asked again without.
            if not refused_edns or query.ednsflags & dns.flags.DO:
                raise
            plain = _asking(query, query.question[0].name)
            plain.use_edns(False)
            response = await self._upstreams.ask(name, plain, judge)
        found = answer_of(response)
        cache.put(key, found, len(response.to_wire()))
        return found


def _asking(query: dns.message.Message, name: dns.name.Name) -> dns.message.Message:
    """Return a query of our own, with an id of its own, for what the program wants to know."""
    question = query.question[0]
    asking = dns.message.make_query(name, question.rdtype, question.rdclass, use_edns=0, payload=PAYLOAD)
    if query.ednsflags & dns.flags.DO:
        asking.ednsflags |= dns.flags.DO
    # RFC 6840 section 5.7: AD in a query asks to be told. Who sets CD wants what did not validate, too.
    asking.flags = dns.flags.RD | (query.flags & (dns.flags.AD | dns.flags.CD))
    return asking


def _local(name: dns.name.Name, kind: dns.rdatatype.RdataType, addresses: tuple[str, ...], pointer: str) -> Answer:
    """Return the records of a name that is known here; none of other types."""
    is_reverse = name.to_text().lower().endswith(".arpa.")
    texts: list[str] = []
    if is_reverse:
        texts = [pointer] if kind == dns.rdatatype.PTR and pointer else []
    elif kind in (A, AAAA):
        texts = [text for text in addresses if (":" in text) == (kind == AAAA)]
    if not texts:
        return Answer(dns.rcode.NOERROR)
    return Answer(dns.rcode.NOERROR, (dns.rrset.from_text_list(name, LOCAL_TTL, "IN", kind, texts),))
