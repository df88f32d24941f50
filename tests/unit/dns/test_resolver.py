from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from sstpsocks.dns.resolver import CACHE_SIZE, Resolver
from sstpsocks.errors import (
    ConnectionRefused,
    DeniedByRule,
    DialError,
    HostUnreachable,
    NameLookupFailed,
    NameNotFound,
    NetworkUnreachable,
    TunnelDown,
)
from sstpsocks.tunnel.network import IPAddress
from tests.helpers.fake_network import DNS_SERVER, FakeDns, FakeNetwork

WEB = IPv4Address("10.0.0.1")
WEB6 = IPv6Address("fd00::1")
SECOND = IPv4Address("10.9.0.54")
THIRD = IPv4Address("10.9.0.55")


@pytest.fixture
async def resolver(network: FakeNetwork) -> Resolver:
    network.dns.records["web.test", "A"] = [str(WEB)]
    network.dns.records["web.test", "AAAA"] = [str(WEB6)]
    return Resolver(network)


def second_server(network: FakeNetwork) -> FakeDns:
    """A second server with the same records."""
    server = network.dns_hosts[SECOND] = FakeDns(records=network.dns.records)
    network.dns_servers = (DNS_SERVER, SECOND)
    return server


def ipv6_too(network: FakeNetwork) -> None:
    network.local_addresses = (*network.local_addresses, IPv6Address("fd00::2"))


# Answers


async def test_a_name_is_asked_of_the_tunnels_server(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    assert await resolver.resolve("Web.Test.") == [WEB]
    assert network.dns.queries == [("web.test", "A", "udp")]
    assert network.dns.sockets[0].closed


async def test_single_labels_are_asked_as_they_are(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.records["intranet", "A"] = ["10.0.0.7"]
    assert await resolver.resolve("intranet") == [IPv4Address("10.0.0.7")]


async def test_international_names_are_asked_in_ascii(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.records["xn--bcher-kva.test", "A"] = ["10.0.0.8"]
    assert await resolver.resolve("Bücher.test") == [IPv4Address("10.0.0.8")]


async def test_both_families_are_asked_where_the_tunnel_has_both(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    ipv6_too(network)
    assert await resolver.resolve("web.test") == [WEB, WEB6]
    assert sorted(network.dns.queries) == [("web.test", "A", "udp"), ("web.test", "AAAA", "udp")]


async def test_a_link_local_address_is_not_ipv6(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.local_addresses = (*network.local_addresses, IPv6Address("fe80::1"))
    assert await resolver.resolve("web.test") == [WEB]


@pytest.mark.parametrize(
    ("silent", "found", "waited"),
    [
        (dns.rdatatype.AAAA, WEB, 0.05),  # RFC 8305 section 3: the Resolution Delay
        (dns.rdatatype.A, WEB6, 1.0),  # the addresses to fall back on are worth more patience
    ],
)
async def test_one_family_does_not_wait_long_for_the_other(
    network: FakeNetwork,
    resolver: Resolver,
    autojump_clock: MockClock,
    silent: dns.rdatatype.RdataType,
    found: IPv4Address | IPv6Address,
    waited: float,
) -> None:
    ipv6_too(network)
    network.dns.responder = lambda query, _: None if query.question[0].rdtype == silent else network.dns.respond(query)
    assert await resolver.resolve("web.test") == [found]
    assert trio.current_time() == pytest.approx(waited)


async def test_a_name_with_only_ipv6_needs_ipv6(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.records["six.test", "AAAA"] = [str(WEB6)]
    with pytest.raises(NetworkUnreachable, match=r"six\.test has only IPv6"):
        await resolver.resolve("six.test")
    ipv6_too(network)
    assert await resolver.resolve("six.test") == [WEB6]


async def test_a_name_without_any_address(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    network.dns.records["mail.test", "MX"] = ["10 web.test."]
    with pytest.raises(NameNotFound, match=r"no address for mail\.test"):
        await resolver.resolve("mail.test")


async def test_a_name_that_does_not_exist(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    with pytest.raises(NameNotFound, match=r"nothing\.test does not exist"):
        await resolver.resolve("nothing.test")
    assert network.dns.queries == [("nothing.test", "A", "udp")]
    ipv6_too(network)
    with pytest.raises(NameNotFound, match=r"nothing\.test does not exist"):
        await resolver.resolve("nothing.test")


# Aliases


async def test_aliases_in_one_answer_are_followed(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.records["www.test", "CNAME"] = ["alias.test."]
    network.dns.records["alias.test", "CNAME"] = ["web.test."]
    assert await resolver.resolve("www.test") == [WEB]
    assert len(network.dns.queries) == 1


def only_aliases(query: dns.message.Message, chain: dict[str, str]) -> dns.message.Message | None:
    """Answer with one CNAME and nothing else, like a server that does not follow them."""
    name = query.question[0].name.to_text(omit_final_dot=True)
    if name not in chain:
        return None
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(name + ".", 300, "IN", "CNAME", chain[name]))
    return response


async def test_aliases_that_the_server_leaves_to_us_are_followed(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    chain = {"www.test": "alias.test.", "alias.test": "web.test."}
    network.dns.responder = lambda query, _: only_aliases(query, chain) or network.dns.respond(query)
    assert await resolver.resolve("www.test") == [WEB]
    assert [name for name, _, _ in network.dns.queries] == ["www.test", "alias.test", "web.test"]


async def test_a_circle_of_aliases_ends(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    chain = {"one.test": "two.test.", "two.test": "one.test."}
    network.dns.responder = lambda query, _: only_aliases(query, chain)
    with pytest.raises(NameLookupFailed, match="chain"):
        await resolver.resolve("one.test")
    assert len(network.dns.queries) == 2


async def test_an_alias_of_localhost_is_not_followed(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.responder = lambda query, _: only_aliases(query, {"evil.test": "localhost."})
    with pytest.raises(DeniedByRule):
        await resolver.resolve("evil.test")
    assert len(network.dns.queries) == 1


async def test_an_alias_of_something_that_is_no_host_name(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.responder = lambda query, _: only_aliases(query, {"evil.test": r"a\000b."})
    with pytest.raises(NameNotFound):
        await resolver.resolve("evil.test")


async def test_localhost_is_never_asked(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    for name in ("localhost", "LOCALHOST.", "a.localhost"):
        with pytest.raises(DeniedByRule):
            await resolver.resolve(name)
    assert network.dns.queries == []


# Servers that fail


async def test_silence_fails_the_look_up_in_time(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.silent = True
    with pytest.raises(NameLookupFailed, match=r"10\.9\.0\.53 did not answer"):
        await resolver.resolve("web.test")
    assert trio.current_time() == pytest.approx(10.0, abs=0.1)
    assert len(network.dns.queries) == 3
    assert len(set(network.dns.ids)) == 1
    assert all(datagrams.closed for datagrams in network.dns.sockets)


async def test_a_lost_datagram_is_sent_again(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.lose = 1
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == pytest.approx(1.0)
    assert len(network.dns.sockets) == 1


async def test_ids_are_not_repeated(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    for number in range(20):
        with pytest.raises(NameNotFound):
            await resolver.resolve(f"n{number}.test")
    # 20 of 65536: two alike now and then, but never this few.
    assert len(set(network.dns.ids)) > 15


async def test_the_next_server_is_asked_after_silence(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    second = second_server(network)
    network.dns.silent = True
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == pytest.approx(5.0)
    # A server that said nothing is not waited for again soon.
    with pytest.raises(NameNotFound):
        await resolver.resolve("other.test")
    assert trio.current_time() == pytest.approx(5.0)
    assert len(second.queries) == 2
    await trio.sleep(61)
    network.dns.silent = False
    asked = len(network.dns.queries)
    with pytest.raises(NameNotFound):
        await resolver.resolve("another.test")
    assert len(network.dns.queries) == asked + 1


async def test_each_of_many_servers_gets_its_share(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    second = second_server(network)
    third = network.dns_hosts[THIRD] = FakeDns(records=network.dns.records)
    network.dns_servers = (DNS_SERVER, SECOND, THIRD)
    network.dns.silent = second.silent = True
    assert await resolver.resolve("web.test") == [WEB]
    assert len(third.queries) == 1
    assert trio.current_time() < 10


@pytest.mark.parametrize(
    "rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.YXDOMAIN]
)
async def test_the_next_server_is_asked_at_once_after_a_failure(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock, rcode: dns.rcode.Rcode
) -> None:
    second = second_server(network)
    network.dns.rcode = rcode
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == 0
    second.rcode = rcode
    with pytest.raises(NameLookupFailed, match=rf"10\.9\.0\.53 answered {rcode.name}; 10\.9\.0\.54 answered"):
        await resolver.resolve("other.test")


async def test_failures_are_not_kept(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    network.dns.rcode = dns.rcode.SERVFAIL
    with pytest.raises(NameLookupFailed):
        await resolver.resolve("web.test")
    network.dns.rcode = None
    assert await resolver.resolve("web.test") == [WEB]


async def test_a_servers_no_is_final(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    second = second_server(network)
    with pytest.raises(NameNotFound):
        await resolver.resolve("nothing.test")
    assert second.queries == []


@pytest.mark.parametrize("error", [HostUnreachable("no route"), ConnectionRefused("port unreachable")])
async def test_icmp_errors_lead_to_the_next_server(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock, error: DialError
) -> None:
    def fail(query: dns.message.Message, transport: str) -> None:
        raise error

    second_server(network)
    network.dns.responder = fail
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == 0


async def test_a_tunnel_without_servers_says_so(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns_servers = ()
    with pytest.raises(NameLookupFailed, match="gave no DNS server") as caught:
        await resolver.resolve("web.test")
    assert "address" in caught.value.hint


async def test_a_tunnel_that_is_down_says_so(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.up = False
    with pytest.raises(TunnelDown):
        await resolver.resolve("web.test")


async def test_a_tunnel_that_goes_down_under_way_says_so(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    def fail(query: dns.message.Message, transport: str) -> None:
        raise TunnelDown("the tunnel is down")

    second = second_server(network)
    network.dns.responder = fail
    with pytest.raises(TunnelDown):
        await resolver.resolve("web.test")
    assert second.queries == []


async def test_given_servers_replace_the_tunnels(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    second_server(network)
    assert await Resolver(network, servers=(SECOND,)).resolve("web.test") == [WEB]
    assert network.dns.queries == []


# TCP


async def test_a_truncated_answer_is_fetched_by_tcp(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    addresses: list[IPAddress] = [IPv4Address(f"10.1.0.{number}") for number in range(1, 200)]
    network.dns.records["big.test", "A"] = [str(address) for address in addresses]
    network.dns.truncate = True
    assert sorted(await resolver.resolve("big.test"), key=int) == addresses
    assert [transport for _, _, transport in network.dns.queries] == ["udp", "tcp"]
    assert network.streams[0].closed


async def test_a_silent_tcp_server_is_given_up(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    second_server(network)

    def answer(query: dns.message.Message, transport: str) -> dns.message.Message | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response if transport == "udp" else None

    network.dns.responder = answer
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == pytest.approx(5.0)


@pytest.mark.parametrize("messages", [[b""], [b"\0" * 11], [b"\xff" * 200]])
async def test_garbage_by_tcp_leads_to_the_next_server(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock, messages: list[bytes]
) -> None:
    second_server(network)

    def answer(query: dns.message.Message, transport: str) -> dns.message.Message | list[bytes]:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response if transport == "udp" else messages

    network.dns.responder = answer
    assert await resolver.resolve("web.test") == [WEB]
    assert trio.current_time() == 0


# What is not the answer to our question


async def test_forged_and_broken_datagrams_are_ignored(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    def answer(query: dns.message.Message, transport: str) -> list[bytes]:
        wrong_id = network.dns.respond(query)
        wrong_id.id ^= 1
        other = dns.message.make_query("other.test", "A", id=query.id)
        wrong_question = network.dns.respond(other)
        right = network.dns.respond(query)
        return [b"", b"\xff" * 40, query.to_wire(), wrong_id.to_wire(), wrong_question.to_wire(), right.to_wire()]

    network.dns.responder = answer
    assert await resolver.resolve("web.test") == [WEB]


async def test_a_contradictory_answer_is_no_answer(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    def answer(query: dns.message.Message, transport: str) -> dns.message.Message:
        response = network.dns.respond(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    network.dns.responder = answer
    with pytest.raises(NameLookupFailed, match="malformed"):
        await resolver.resolve("web.test")


# The cache


async def test_an_answer_is_kept_for_its_time(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.ttl = 30
    await resolver.resolve("web.test")
    await trio.sleep(29)
    assert await resolver.resolve("web.test") == [WEB]
    assert len(network.dns.queries) == 1
    await trio.sleep(1)
    assert await resolver.resolve("web.test") == [WEB]
    assert len(network.dns.queries) == 2


async def test_an_answer_with_time_zero_is_not_kept(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.ttl = 0
    await resolver.resolve("web.test")
    await resolver.resolve("web.test")
    assert len(network.dns.queries) == 2


async def test_an_answer_is_kept_no_longer_than_its_alias(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    def answer(query: dns.message.Message, transport: str) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text("www.test.", 10, "IN", "CNAME", "web.test."))
        response.answer.append(dns.rrset.from_text("web.test.", 300, "IN", "A", str(WEB)))
        return response

    network.dns.responder = answer
    await resolver.resolve("www.test")
    await trio.sleep(11)
    await resolver.resolve("www.test")
    assert len(network.dns.queries) == 2


@pytest.mark.parametrize(("soa", "seconds"), [((300, 60), 60), ((20, 60), 20), ((99999, 99999), 3600)])
async def test_a_no_is_kept_as_long_as_the_soa_says(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock, soa: tuple[int, int], seconds: int
) -> None:
    network.dns.soa = soa
    for wait, asked in ((0, 1), (seconds - 1, 1), (1, 2)):
        await trio.sleep(wait)
        with pytest.raises(NameNotFound):
            await resolver.resolve("nothing.test")
        assert len(network.dns.queries) == asked


async def test_a_no_without_soa_is_not_kept(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.soa = None
    for asked in (1, 2):
        with pytest.raises(NameNotFound):
            await resolver.resolve("nothing.test")
        assert len(network.dns.queries) == asked


async def test_clear_forgets_the_old_tunnels_answers(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    await resolver.resolve("web.test")
    resolver.clear()
    network.dns.records["web.test", "A"] = ["10.0.0.99"]
    assert await resolver.resolve("web.test") == [IPv4Address("10.0.0.99")]


async def test_an_answer_of_the_old_tunnel_that_comes_late_is_not_kept(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.lose = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.resolve, "web.test")
        await trio.sleep(0.5)
        resolver.clear()
    await resolver.resolve("web.test")
    assert len(network.dns.queries) == 3


async def test_the_cache_is_bounded(network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock) -> None:
    for number in range(CACHE_SIZE + 10):
        network.dns.records[f"n{number}.test", "A"] = [str(WEB)]
        await resolver.resolve(f"n{number}.test")
    assert repr(resolver) == f"<Resolver {CACHE_SIZE} cached, 0 under way>"


# Several who ask at once


async def test_equal_questions_share_one_query(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.ttl = 0
    answers: list[list[IPAddress]] = []

    async def ask(name: str) -> None:
        answers.append(await resolver.resolve(name))

    async with trio.open_nursery() as nursery:
        for name in ("web.test", "WEB.test", "web.test."):
            nursery.start_soon(ask, name)
    assert answers == [[WEB]] * 3
    assert len(network.dns.queries) == 1


async def test_a_shared_failure_is_everybodys(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.rcode = dns.rcode.SERVFAIL
    failures: list[NameLookupFailed] = []

    async def ask() -> None:
        with pytest.raises(NameLookupFailed) as caught:
            await resolver.resolve("web.test")
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert len(network.dns.queries) == 1
    assert len({id(failure) for failure in failures}) == 3


async def test_when_the_asking_task_is_cancelled_another_asks(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.silent = True
    scope = trio.CancelScope()
    answers: list[list[IPAddress]] = []

    async def give_up() -> None:
        with scope:
            await resolver.resolve("web.test")

    async def ask() -> None:
        answers.append(await resolver.resolve("web.test"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        network.dns.silent = False
        scope.cancel()
    assert answers == [[WEB], [WEB]]
    assert len(network.dns.queries) == 2


# Search domains


def searching(network: FakeNetwork) -> None:
    network.search_domains = ("a.test", "b.test")


async def test_a_single_label_is_looked_for_in_each_domain_and_then_as_it_is(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["intranet", "A"] = [str(WEB)]
    assert await resolver.resolve("Intranet") == [WEB]
    assert [name for name, kind, _ in network.dns.queries if kind == "A"] == [
        "intranet.a.test",
        "intranet.b.test",
        "intranet",
    ]


async def test_the_first_domain_that_has_the_name_counts(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["www.a.test", "A"] = ["10.0.0.11"]
    network.dns.records["www.b.test", "A"] = ["10.0.0.12"]
    network.dns.records["www", "A"] = ["10.0.0.13"]
    assert await resolver.resolve("www") == [IPv4Address("10.0.0.11")]
    assert [name for name, _, _ in network.dns.queries] == ["www.a.test"]


@pytest.mark.parametrize("name", ["web.test", "web.test.", "nothing.web.test"])
async def test_a_name_of_several_labels_is_never_completed(
    name: str, network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    """RFC 1535: web.test.a.test may be anybody's."""
    searching(network)
    network.dns.records["web.test.a.test", "A"] = ["10.0.0.66"]
    network.dns.records["nothing.web.test.a.test", "A"] = ["10.0.0.66"]
    try:
        assert await resolver.resolve(name) == [WEB]
    except NameNotFound:
        assert name.startswith("nothing")
    assert {asked for asked, _, _ in network.dns.queries} == {name.rstrip(".")}


async def test_a_final_dot_says_that_the_name_is_complete(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["www.a.test", "A"] = ["10.0.0.11"]
    network.dns.records["www", "A"] = ["10.0.0.13"]
    assert await resolver.resolve("www.") == [IPv4Address("10.0.0.13")]


async def test_localhost_is_not_looked_for_anywhere(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["localhost.a.test", "A"] = ["10.0.0.11"]
    with pytest.raises(DeniedByRule):
        await resolver.resolve("localhost")
    assert network.dns.queries == []


async def test_a_name_that_no_domain_has_is_told_with_all_that_was_tried(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    with pytest.raises(NameNotFound, match=r"nowhere\.a\.test, nowhere\.b\.test, nowhere$"):
        await resolver.resolve("nowhere")


async def test_a_domain_whose_server_fails_does_not_end_the_search(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["www.b.test", "A"] = ["10.0.0.12"]

    def refuse_a(query: dns.message.Message, transport: str) -> dns.message.Message:
        if "a.test" in query.question[0].name.to_text():
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.REFUSED)
            return response
        return network.dns.respond(query)

    network.dns.responder = refuse_a
    assert await resolver.resolve("www") == [IPv4Address("10.0.0.12")]
    with pytest.raises(NameLookupFailed, match=r"nowhere\.a\.test.*REFUSED"):
        await resolver.resolve("nowhere")


async def test_the_whole_search_has_the_time_of_one_look_up(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.search_domains = tuple(f"d{number}.test" for number in range(16))
    network.dns.silent = True
    begin = trio.current_time()
    with pytest.raises(NameLookupFailed):
        await resolver.resolve("www")
    assert trio.current_time() - begin <= 10.1


async def test_a_name_that_would_be_too_long_in_a_domain_is_not_looked_for_there(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    long = ".".join(["x" * 60] * 4)
    network.search_domains = (long, "b.test")
    network.dns.records["y" * 60 + ".b.test", "A"] = [str(WEB)]
    assert await resolver.resolve("y" * 60) == [WEB]
    assert [name for name, _, _ in network.dns.queries] == ["y" * 60 + ".b.test"]


async def test_a_domain_with_only_ipv6_ends_the_search_truthfully(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    searching(network)
    network.dns.records["www.a.test", "AAAA"] = [str(WEB6)]
    network.dns.records["www.b.test", "A"] = [str(WEB)]
    with pytest.raises(NetworkUnreachable, match=r"www\.a\.test has only IPv6"):
        await resolver.resolve("www")


async def test_what_is_known_needs_no_waiting(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    assert resolver.known("web.test") == []
    await resolver.resolve("web.test")
    assert resolver.known("Web.Test.") == [WEB]
    ipv6_too(network)
    assert resolver.known("web.test") == [], "one of the two questions is open"
    await resolver.resolve("web.test")
    assert resolver.known("web.test") == [WEB, WEB6]
    asked = len(network.dns.queries)
    await trio.sleep(network.dns.ttl + 1)
    assert resolver.known("web.test") == []
    assert len(network.dns.queries) == asked
    network.up = False
    assert resolver.known("web.test") == []


async def test_a_name_that_is_searched_for_is_not_known(network: FakeNetwork, resolver: Resolver) -> None:
    network.dns.records["web", "A"] = [str(SECOND)]
    await resolver.resolve("web")
    assert resolver.known("web") == [SECOND]
    network.search_domains = ("test",)
    assert resolver.known("web") == []
    assert resolver.known("web.") == [SECOND]


# What is told about it


async def test_what_the_cache_answers_and_what_servers_are_asked_is_counted(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    await resolver.resolve("web.test")
    assert (resolver.asked, resolver.hits, resolver.failures) == (1, 0, 0)
    await resolver.resolve("web.test")
    assert resolver.known("web.test") == [WEB]
    assert (resolver.asked, resolver.hits, resolver.failures) == (1, 2, 0)
    network.dns_servers = ()
    with pytest.raises(NameLookupFailed):
        await resolver.resolve("other.test")
    assert (resolver.asked, resolver.hits, resolver.failures) == (2, 2, 1)
    assert resolver.under_way == 0


async def test_it_shows_what_it_keeps_the_latest_first(
    network: FakeNetwork, resolver: Resolver, autojump_clock: MockClock
) -> None:
    network.dns.records["mail.test", "A"] = ["10.0.0.9"]
    await resolver.resolve("web.test")
    await resolver.resolve("mail.test")
    assert resolver.cached == 2
    assert [(known.name, known.kind, known.addresses) for known in resolver.recent(5)] == [
        ("mail.test", "A", (IPv4Address("10.0.0.9"),)),
        ("web.test", "A", (WEB,)),
    ]
    assert [known.name for known in resolver.recent(1)] == ["mail.test"]
    left = resolver.recent(1)[0].left
    await trio.sleep(left / 2)
    assert resolver.recent(1)[0].left == pytest.approx(left / 2)
    await trio.sleep(left)
    assert resolver.recent(5) == []
