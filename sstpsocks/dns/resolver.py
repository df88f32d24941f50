"""Names are looked up inside the tunnel, by the servers that the tunnel gave. Never by this machine's resolver.

What the user has said about names (:class:`NameTable`) comes first; it is the same that the DNS port goes by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import trio

from ..errors import (
    DeniedByRule,
    DialError,
    NameLookupFailed,
    NameNotFound,
    NetworkUnreachable,
    TunnelDown,
)
from ..tunnel.network import IPAddress, Network, is_global_ipv6, wait_up
from .cache import ExpiringCache
from .exchange import UnusableAnswer
from .names import MAX_NAME, is_localhost, normalise_name
from .table import NameTable, never_exists
from .upstream import Upstreams

CACHE_SIZE = 1024  # names and kinds; about half a megabyte at most
MAX_TTL = 86400  # seconds; a day is longer than most tunnels live
MAX_NEGATIVE_TTL = 3600  # seconds; RFC 2308 section 5 calls one to three hours sensible
MAX_ALIASES = 8  # servers follow CNAMEs themselves; this bounds what we follow for those that do not
RESOLUTION_DELAY = 0.05  # seconds; RFC 8305 section 3: with IPv4 addresses in hand IPv6 ones get no more than this
FALLBACK_GRACE = 1.0  # seconds; with IPv6 addresses in hand those to fall back on get no more than this

A = dns.rdatatype.A
AAAA = dns.rdatatype.AAAA


@dataclass(frozen=True, slots=True)
class _Records:
    """What the DNS says about one name and one type of address."""

    addresses: tuple[IPAddress, ...] = ()
    exists: bool = True
    """False: NXDOMAIN."""
    alias: str | None = None
    """The name is an alias of this one, and the answer does not say what that has."""


@dataclass(frozen=True, slots=True)
class KnownName:
    """An answer that is kept."""

    name: str
    kind: str
    """ "A" or "AAAA"."""
    addresses: tuple[IPAddress, ...]
    """None: the name does not exist, or has no such address."""
    left: float
    """Seconds until it is forgotten."""


_Key = tuple[str, dns.rdatatype.RdataType]
_Outcomes = dict[dns.rdatatype.RdataType, "_Records | DialError"]


@dataclass(slots=True)
class _Pending:
    """A question on its way, for which others wait too."""

    done: trio.Event = field(default_factory=trio.Event)
    records: _Records | None = None
    failure: DialError | None = None
    """Neither is set when the task that asked was cancelled: then one of the others asks."""


class Resolver:
    """Looks up names through a tunnel.

    A name of a single label is looked for in each of :attr:`Network.search_domains` and then as it is, in that order;
    longer ones, and ``name.`` with a final dot, only as they are (RFC 1535).

    ``servers`` replaces the tunnel's own; None reads :attr:`Network.dns_servers` at each question. ``timeout`` is how
    many seconds a server has before the next is asked, ``lifetime`` how many a whole look-up may take. ``cache_size``:
    names and kinds that are remembered.
    """

    def __init__(
        self,
        network: Network,
        *,
        servers: tuple[IPAddress, ...] | None = None,
        timeout: float = 5.0,
        lifetime: float = 10.0,
        table: NameTable | None = None,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self._network = network
        self._lifetime = lifetime
        self._table = table if table is not None else NameTable()
        self._upstreams = Upstreams(network, self._table, servers=servers, timeout=timeout)
        self._cache: ExpiringCache[_Key, _Records] = ExpiringCache(cache_size)
        self._pending: dict[_Key, _Pending] = {}
        self.capacity = cache_size
        """How many answers are kept at most."""
        self.hits = 0
        """Questions that the cache answered."""
        self.asked = 0
        """Questions that servers were asked."""
        self.failures = 0
        """Those that none of them answered."""

    def __repr__(self) -> str:
        return f"<Resolver {len(self._cache)} cached, {len(self._pending)} under way>"

    @property
    def under_way(self) -> int:
        """Questions that wait for an answer."""
        return len(self._pending)

    @property
    def cached(self) -> int:
        """Answers that are kept."""
        return len(self._cache)

    def recent(self, count: int) -> list[KnownName]:
        """Return what is kept, at most ``count`` of it, what was used last first."""
        now = trio.current_time()
        return [
            KnownName(name, dns.rdatatype.to_text(kind), records.addresses, expires - now)
            for (name, kind), records, expires in self._cache.latest(count)
            if expires > now and records.alias is None
        ]

    def clear(self) -> None:
        """Forget everything that was learned: call it when the tunnel comes up anew."""
        self._cache.clear()
        # Look-ups of the old tunnel end by themselves; nobody new joins them and they store nothing.
        self._pending = {}
        self._upstreams.clear()

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a host name, IPv4 first; IPv6 only when the tunnel has it. Never empty.

        Raises NameNotFound (no such name, or no address), NetworkUnreachable (only IPv6 addresses in a tunnel without
        IPv6), NameLookupFailed (time-out, SERVFAIL, REFUSED, no server to ask), TunnelDown, or DeniedByRule for
        localhost.
        """
        await trio.lowlevel.checkpoint()
        absolute = name.endswith(".")
        name = normalise_name(name)
        await wait_up(self._network)
        if not self._network.up:
            raise TunnelDown(f"cannot look up {name}: the tunnel is down")
        candidates = (name,) if absolute else self._candidates(name)
        deadline = trio.current_time() + self._lifetime
        failure: NameLookupFailed | None = None
        for candidate in candidates:
            try:
                return await self._resolve_exactly(candidate, deadline)
            except NameNotFound:
                if len(candidates) == 1:
                    raise
            except NameLookupFailed as error:
                # One domain's servers may be out of order, or refuse what they do not know: the next may still know.
                failure = failure or error
        if failure is not None:
            raise failure
        raise NameNotFound(f"the tunnel's DNS finds none of {', '.join(candidates)}")

    def known(self, name: str) -> list[IPAddress]:
        """Return what resolve() would, when it is known already; empty when somebody has to be asked first."""
        absolute = name.endswith(".")
        name = normalise_name(name)
        if not self._network.up or not (absolute or len(self._candidates(name)) == 1):
            return []
        addresses: list[IPAddress] = list(self._given(name))
        if addresses:
            return addresses
        for kind in (A, AAAA) if any(map(is_global_ipv6, self._network.local_addresses)) else (A,):
            records = self._cache.get((name, kind), trio.current_time())
            if records is None or records.alias is not None:
                return []
            addresses += records.addresses
        self.hits += 1
        return addresses

    def _given(self, name: str) -> list[IPAddress]:
        """Return the addresses that the user gave a name and that this tunnel can reach, IPv4 first."""
        has_ipv6 = any(map(is_global_ipv6, self._network.local_addresses))
        usable = (address for address in self._table.addresses_of(name) if address.version == 4 or has_ipv6)
        return sorted(usable, key=lambda address: address.version)

    def _candidates(self, name: str) -> tuple[str, ...]:
        """Return what to look for when ``name`` was asked for."""
        # RFC 6761 6.3: localhost is special, whatever is searched.
        if "." in name or is_localhost(name) or self._table.addresses_of(name):
            return (name,)
        searched = (f"{name}.{domain}" for domain in self._network.search_domains)
        return (*(candidate for candidate in searched if len(candidate) <= MAX_NAME), name)

    async def _resolve_exactly(self, name: str, deadline: float) -> list[IPAddress]:
        """Return the addresses of just this name."""
        if self._table.addresses_of(name):
            given = self._given(name)
            if not given:
                raise NetworkUnreachable(f"{name} has only IPv6 addresses and the tunnel has no IPv6")
            return given
        has_ipv6 = any(map(is_global_ipv6, self._network.local_addresses))
        outcomes: _Outcomes = {}
        with trio.move_on_at(deadline):
            if has_ipv6:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._collect, name, A, outcomes, nursery.cancel_scope)
                    nursery.start_soon(self._collect, name, AAAA, outcomes, nursery.cancel_scope)
            else:
                await self._collect(name, A, outcomes)
                first = outcomes[A]
                if isinstance(first, _Records) and first.exists and not first.addresses:
                    # Only to say truthfully why it cannot be reached.
                    await self._collect(name, AAAA, outcomes)
        return self._judge(name, outcomes, has_ipv6=has_ipv6)

    async def _collect(
        self,
        name: str,
        kind: dns.rdatatype.RdataType,
        outcomes: _Outcomes,
        scope: trio.CancelScope | None = None,
    ) -> None:
        """Put what became of one kind of address into ``outcomes``."""
        try:
            records = await self._find(name, kind)
        except DialError as error:
            outcomes[kind] = error
            return
        outcomes[kind] = records
        if records.addresses and scope is not None:
            grace = RESOLUTION_DELAY if kind is A else FALLBACK_GRACE
            scope.deadline = min(scope.deadline, trio.current_time() + grace)

    def _judge(self, name: str, outcomes: _Outcomes, *, has_ipv6: bool) -> list[IPAddress]:
        wanted = (A, AAAA) if has_ipv6 else (A,)
        answers = [outcomes.get(kind) for kind in wanted]
        usable = [address for answer in answers if isinstance(answer, _Records) for address in answer.addresses]
        if usable:
            return usable
        for answer in answers:
            if isinstance(answer, DialError):
                raise answer
            if answer is None:
                raise NameLookupFailed(f"the tunnel's DNS did not find {name} in {self._lifetime:g} s")
        ipv6 = outcomes.get(AAAA)
        if isinstance(ipv6, _Records) and ipv6.addresses:
            raise NetworkUnreachable(f"{name} has only IPv6 addresses and the tunnel has no IPv6")
        if all(isinstance(answer, _Records) and not answer.exists for answer in answers):
            raise NameNotFound(f"the tunnel's DNS says that {name} does not exist")
        raise NameNotFound(f"the tunnel's DNS has no address for {name}")

    async def _find(self, name: str, kind: dns.rdatatype.RdataType) -> _Records:
        """Ask for one kind of address, following aliases that the server left for us."""
        for _ in range(MAX_ALIASES):
            if is_localhost(name):
                # RFC 6761 6.3: "Name resolution APIs SHOULD NOT send queries for localhost names to their configured
                # caching DNS server(s)."
                raise DeniedByRule(f"{name} is this machine, which is never reached through the tunnel")
            if never_exists(name):
                raise NameNotFound(f"{name} exists in no DNS, whoever is asked")
            records = await self._question(name, kind)
            if records.alias is None:
                return records
            name = records.alias
        raise NameLookupFailed(f"the tunnel's DNS gives a chain of more than {MAX_ALIASES} aliases, last {name}")

    async def _question(self, name: str, kind: dns.rdatatype.RdataType) -> _Records:
        """Answer one question from the cache, from one like it that is under way, or from the servers."""
        key = (name, kind)
        while True:
            cached = self._cache.get(key, trio.current_time())
            if cached is not None:
                self.hits += 1
                return cached
            pending = self._pending.get(key)
            if pending is None:
                return await self._lead(key)
            await pending.done.wait()
            if pending.failure is not None:
                # A fresh exception for each: a shared one would gather everybody's traceback.
                raise type(pending.failure)(str(pending.failure), hint=pending.failure.hint)
            if pending.records is not None:
                return pending.records

    async def _lead(self, key: _Key) -> _Records:
        """Ask the servers, on behalf of everybody who wants to know the same."""
        pending = self._pending[key] = _Pending()
        self.asked += 1
        try:
            records, ttl = await self._ask_servers(*key)
            pending.records = records
            if ttl > 0 and self._pending.get(key) is pending:
                self._cache.put(key, records, trio.current_time() + ttl)
            return records
        except DialError as error:
            pending.failure = error
            self.failures += 1
            raise
        finally:
            if self._pending.get(key) is pending:
                del self._pending[key]
            pending.done.set()

    async def _ask_servers(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[_Records, float]:
        """Return what the first usable answer says, and for how many seconds."""
        query = dns.message.make_query(dns.name.from_text(name), kind, use_edns=False)
        return await self._upstreams.ask(name, query, lambda message: _read_answer(message, kind))


def _read_answer(message: dns.message.Message, kind: dns.rdatatype.RdataType) -> tuple[_Records, float]:
    """Return what a response says and for how many seconds that may be kept (0: not at all)."""
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise UnusableAnswer(f"answered {dns.rcode.to_text(code)}")
    if not isinstance(message, dns.message.QueryMessage):
        raise UnusableAnswer("sent a malformed answer")
    try:
        chain = message.resolve_chaining()
    except dns.exception.DNSException as error:
        raise UnusableAnswer(f"sent a malformed answer ({type(error).__name__})") from None
    aliases_ttl = min((rrset.ttl for rrset in chain.cnames), default=MAX_TTL)
    if chain.answer is not None:
        addresses = tuple(
            ip_address(cast("dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA", rdata).address) for rdata in chain.answer
        )
        return _Records(addresses=addresses), min(MAX_TTL, aliases_ttl, chain.answer.ttl)
    negative_ttl = _negative_ttl(message)
    if code == dns.rcode.NXDOMAIN:
        return _Records(exists=False), min(aliases_ttl, negative_ttl or 0)
    if chain.cnames and negative_ttl is None:
        try:
            alias = normalise_name(chain.canonical_name.to_text(omit_final_dot=True))
        except NameNotFound:
            # An alias of something that is no host name has no address.
            return _Records(), 0
        return _Records(alias=alias), aliases_ttl
    return _Records(), min(aliases_ttl, negative_ttl or 0)


def _negative_ttl(message: dns.message.Message) -> int | None:
    """Return how long "no" holds, None when the server does not say.

    RFC 2308 section 3: "the minimum of the MINIMUM field of the SOA record and the TTL of the SOA itself"; section 5:
    "Negative responses without SOA records SHOULD NOT be cached".
    """
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.rdclass == dns.rdataclass.IN:
            minimum = cast("dns.rdtypes.ANY.SOA.SOA", rrset[0]).minimum
            return min(MAX_NEGATIVE_TTL, rrset.ttl, minimum)
    return None
