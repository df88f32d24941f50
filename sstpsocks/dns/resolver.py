"""Names are looked up inside the tunnel, by the servers that the tunnel gave. Never by this machine's resolver.

One question goes to one server at a time. It is sent again after a second and after three (UDP loses datagrams),
and when the server says nothing for ``timeout`` seconds, or says that it failed, the next one is asked.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

import dns.asyncquery
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
    SstpsocksError,
    TunnelDown,
)
from ..tunnel.network import IPAddress, Network, is_global_ipv6
from .backend import TunnelBackend
from .cache import ExpiringCache
from .names import MAX_NAME, is_localhost, normalise_name

CACHE_SIZE = 1024  # names and kinds; about half a megabyte at most
MAX_TTL = 86400  # seconds; a day is longer than most tunnels live
MAX_NEGATIVE_TTL = 3600  # seconds; RFC 2308 section 5 calls one to three hours sensible
MAX_ALIASES = 8  # servers follow CNAMEs themselves; this bounds what we follow for those that do not
RESEND_AFTER = (1.0, 2.0)  # seconds between sending the same question to the same server
SILENT_SERVER_LAST = 60.0  # seconds that a server which said nothing is asked only after the others
RESOLUTION_DELAY = 0.05  # seconds; RFC 8305 section 3: with IPv4 addresses in hand IPv6 ones get no more than this
FALLBACK_GRACE = 1.0  # seconds; with IPv6 addresses in hand those to fall back on get no more than this
DNS_PORT = 53

A = dns.rdatatype.A
AAAA = dns.rdatatype.AAAA

_logger = logging.getLogger("sstpsocks.dns")


@dataclass(frozen=True, slots=True)
class _Records:
    """What the DNS says about one name and one type of address."""

    addresses: tuple[IPAddress, ...] = ()
    exists: bool = True
    """False: NXDOMAIN."""
    alias: str | None = None
    """The name is an alias of this one, and the answer does not say what that has."""


_Key = tuple[str, dns.rdatatype.RdataType]
_Outcomes = dict[dns.rdatatype.RdataType, "_Records | DialError"]


@dataclass(slots=True)
class _Pending:
    """A question on its way, for which others wait too."""

    done: trio.Event = field(default_factory=trio.Event)
    records: _Records | None = None
    failure: DialError | None = None
    """Neither is set when the task that asked was cancelled: then one of the others asks."""


class _Unusable(Exception):
    """One server did not give a usable answer; the text says why."""


class Resolver:
    """Looks up names through a tunnel.

    A name of a single label is looked for in each of :attr:`Network.search_domains` and then as it is, in that order;
    longer ones, and ``name.`` with a final dot, only as they are (RFC 1535).

    ``servers`` replaces the tunnel's own; None reads :attr:`Network.dns_servers` at each question. ``timeout`` is how
    many seconds a server has before the next is asked, ``lifetime`` how many a whole look-up may take.
    """

    def __init__(
        self,
        network: Network,
        *,
        servers: tuple[IPAddress, ...] | None = None,
        timeout: float = 5.0,
        lifetime: float = 10.0,
    ) -> None:
        self._network = network
        self._servers = servers
        self._timeout = timeout
        self._lifetime = lifetime
        self._backend = TunnelBackend(network)
        self._cache: ExpiringCache[_Key, _Records] = ExpiringCache(CACHE_SIZE)
        self._pending: dict[_Key, _Pending] = {}
        self._silent_until: dict[IPAddress, float] = {}

    def __repr__(self) -> str:
        return f"<Resolver {len(self._cache)} cached, {len(self._pending)} under way>"

    def clear(self) -> None:
        """Forget everything that was learned: call it when the tunnel comes up anew."""
        self._cache.clear()
        # Look-ups of the old tunnel end by themselves; nobody new joins them and they store nothing.
        self._pending = {}
        self._silent_until.clear()

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a host name, IPv4 first; IPv6 only when the tunnel has it. Never empty.

        Raises NameNotFound (no such name, or no address), NetworkUnreachable (only IPv6 addresses in a tunnel without
        IPv6), NameLookupFailed (time-out, SERVFAIL, REFUSED, no server to ask), TunnelDown, or DeniedByRule for
        localhost.
        """
        await trio.lowlevel.checkpoint()
        absolute = name.endswith(".")
        name = normalise_name(name)
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
        addresses: list[IPAddress] = []
        for kind in (A, AAAA) if any(map(is_global_ipv6, self._network.local_addresses)) else (A,):
            records = self._cache.get((name, kind), trio.current_time())
            if records is None or records.alias is not None:
                return []
            addresses += records.addresses
        return addresses

    def _candidates(self, name: str) -> tuple[str, ...]:
        """Return what to look for when ``name`` was asked for."""
        # RFC 6761 6.3: localhost is special, whatever is searched.
        if "." in name or is_localhost(name):
            return (name,)
        searched = (f"{name}.{domain}" for domain in self._network.search_domains)
        return (*(candidate for candidate in searched if len(candidate) <= MAX_NAME), name)

    async def _resolve_exactly(self, name: str, deadline: float) -> list[IPAddress]:
        """Return the addresses of just this name."""
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
        try:
            records, ttl = await self._ask_servers(*key)
            pending.records = records
            if ttl > 0 and self._pending.get(key) is pending:
                self._cache.put(key, records, trio.current_time() + ttl)
            return records
        except DialError as error:
            pending.failure = error
            raise
        finally:
            if self._pending.get(key) is pending:
                del self._pending[key]
            pending.done.set()

    async def _ask_servers(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[_Records, float]:
        """Ask one server after the other and return what the first usable answer says, and for how many seconds."""
        servers = self._network.dns_servers if self._servers is None else self._servers
        if not self._network.up:
            raise TunnelDown(f"cannot look up {name}: the tunnel is down")
        if not servers:
            raise NameLookupFailed(
                f"cannot look up {name}: the VPN server gave no DNS server",
                hint="use an address instead of a name, or have a DNS server set on the VPN server",
            )
        now = trio.current_time()
        # sorted() is stable: the tunnel's order, but servers that lately said nothing come last.
        ordered = sorted(servers, key=lambda server: self._silent_until.get(server, -math.inf) > now)
        problems: list[str] = []
        for number, server in enumerate(ordered):
            try:
                with trio.fail_after(self._share(len(ordered) - number)):
                    message = await self._ask(server, name, kind)
                result = _read_answer(message, kind)
            except trio.TooSlowError:
                self._silent_until[server] = trio.current_time() + SILENT_SERVER_LAST
                problems.append(f"{server} did not answer")
            except _Unusable as error:
                problems.append(f"{server} {error}")
            else:
                self._silent_until.pop(server, None)
                return result
            _logger.debug("question %s %s: %s", name, kind.name, problems[-1])
        raise NameLookupFailed(f"the tunnel's DNS could not look up {name}: {'; '.join(problems)}")

    def _share(self, servers_left: int) -> float:
        """Return how many seconds the next server has: a fair share of what the look-up has left.

        The last one has all of it, but never so much that the look-up ends before its silence was noted.
        """
        left = trio.current_effective_deadline() - trio.current_time()
        if math.isinf(left):
            return self._timeout
        if servers_left == 1:
            return max(0.0, left - 0.01)
        return max(0.0, min(self._timeout, left / servers_left))

    async def _ask(self, server: IPAddress, name: str, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        """Ask one server, by UDP and where the answer does not fit by TCP; returns a response to just this question."""
        query = dns.message.make_query(dns.name.from_text(name), kind, use_edns=False)
        try:
            try:
                return await self._ask_by_udp(server, query)
            except dns.message.Truncated:
                return await dns.asyncquery.tcp(query, str(server), port=DNS_PORT, backend=self._backend)
        except TunnelDown:
            raise
        except EOFError:
            raise _Unusable("ended the connection without an answer") from None
        except (SstpsocksError, trio.BrokenResourceError) as error:
            raise _Unusable(f"could not be asked ({str(error) or 'the connection broke'})") from None
        except (dns.exception.DNSException, ValueError) as error:
            raise _Unusable(f"sent a malformed answer ({type(error).__name__})") from None

    async def _ask_by_udp(self, server: IPAddress, query: dns.message.Message) -> dns.message.Message:
        """Send the question until an answer to it comes; what is no answer to it is ignored (RFC 5452 section 9.1)."""
        datagrams = self._backend.open_datagrams(server, DNS_PORT)
        async with datagrams:
            for interval in (*RESEND_AFTER, math.inf):
                with trio.move_on_after(interval):
                    return await dns.asyncquery.udp(
                        query,
                        str(server),
                        port=DNS_PORT,
                        sock=datagrams,
                        raise_on_truncation=True,
                        ignore_errors=True,
                    )
        raise _Unusable("did not answer")


def _read_answer(message: dns.message.Message, kind: dns.rdatatype.RdataType) -> tuple[_Records, float]:
    """Return what a response says and for how many seconds that may be kept (0: not at all)."""
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _Unusable(f"answered {dns.rcode.to_text(code)}")
    if not isinstance(message, dns.message.QueryMessage):
        raise _Unusable("sent a malformed answer")
    try:
        chain = message.resolve_chaining()
    except dns.exception.DNSException as error:
        raise _Unusable(f"sent a malformed answer ({type(error).__name__})") from None
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
