from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio
from trio.testing import MockClock

from sstpsocks.dns.policy import TunnelAnswers
from sstpsocks.dns.resolver import Resolver
from sstpsocks.dns.table import NameTable
from sstpsocks.dns.upstream import Upstreams
from sstpsocks.errors import DeniedByRule, NameNotFound
from sstpsocks.tunnel.name_settings import NameSettings, Servers, Way
from tests.helpers.fake_network import FakeDns, FakeNetwork

OTHER = IPv4Address("10.9.0.99")


def answers_of(network: FakeNetwork, settings: NameSettings | None = None) -> TunnelAnswers:
    table = NameTable(settings, domains=lambda: network.search_domains)
    return TunnelAnswers(network, table, Upstreams(network, table, find_system_servers=tuple))


def ask(name: str, kind: str = "A", *, edns: bool = True) -> dns.message.Message:
    return dns.message.make_query(name, kind, use_edns=edns)


def texts(message: dns.message.Message) -> list[str]:
    return [rrset.to_text() for rrset in message.answer]


async def test_a_server_of_the_tunnel_answers(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    query = ask("web.test.")
    reply = await answers_of(network).answer(query)
    assert reply.id == query.id
    assert reply.question == query.question
    assert reply.flags & dns.flags.RA
    assert not reply.flags & dns.flags.AA
    assert texts(reply) == ["web.test. 300 IN A 10.0.0.1"]
    assert network.dns.queries == [("web.test", "A", "udp")]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("MX", "10 mail.web.test."),
        ("SRV", "0 5 5060 sip.web.test."),
        ("TXT", '"v=spf1 -all"'),
        ("HTTPS", '1 . alpn="h2"'),
        ("TYPE65333", "\\# 2 abcd"),
    ],
)
async def test_any_type_of_record_passes(network: FakeNetwork, autojump_clock: MockClock, kind: str, text: str) -> None:
    network.dns.records["web.test", kind] = [text]
    assert texts(await answers_of(network).answer(ask("web.test", kind))) == [f"web.test. 300 IN {kind} {text}"]


async def test_what_is_truncated_by_udp_is_fetched_by_tcp(network: FakeNetwork, autojump_clock: MockClock) -> None:
    records = [f"10.0.0.{number}" for number in range(60)]
    network.dns.records["web.test", "A"] = records

    def answer(query: dns.message.Message, transport: str) -> list[bytes]:
        reply = network.dns.respond(query)
        if transport == "udp":
            reply.answer = []
            reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    network.dns.responder = answer
    reply = await answers_of(network).answer(ask("web.test."))
    assert sorted(record.to_text() for record in reply.answer[0]) == sorted(records)
    assert not reply.flags & dns.flags.TC
    assert [transport for _, _, transport in network.dns.queries] == ["udp", "tcp"]


async def test_a_failure_is_not_kept(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    answers = answers_of(network)

    def fail(query: dns.message.Message, _transport: str) -> list[bytes]:
        reply = network.dns.respond(query)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return [reply.to_wire()]

    network.dns.responder = fail
    assert (await answers.answer(ask("web.test."))).rcode() == dns.rcode.SERVFAIL
    network.dns.responder = None
    assert (await answers.answer(ask("web.test."))).rcode() == dns.rcode.NOERROR


async def test_a_reverse_name_is_asked_of_the_tunnel(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.records["1.0.0.10.in-addr.arpa", "PTR"] = ["web.test."]
    reply = await answers_of(network).answer(ask("1.0.0.10.in-addr.arpa.", "PTR"))
    assert texts(reply) == ["1.0.0.10.in-addr.arpa. 300 IN PTR web.test."]


async def test_answers_are_kept_and_grow_older(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    answers = answers_of(network)
    await answers.answer(ask("web.test"))
    await trio.sleep(100)
    assert (await answers.answer(ask("WEB.test"))).answer[0].ttl == 200
    assert len(network.dns.queries) == 1
    await trio.sleep(201)
    await answers.answer(ask("web.test"))
    assert len(network.dns.queries) == 2


async def test_no_is_kept_as_long_as_the_soa_says(network: FakeNetwork, autojump_clock: MockClock) -> None:
    answers = answers_of(network)
    assert (await answers.answer(ask("none.test"))).rcode() == dns.rcode.NXDOMAIN
    await trio.sleep(59)
    await answers.answer(ask("none.test"))
    assert len(network.dns.queries) == 1
    await trio.sleep(2)
    await answers.answer(ask("none.test"))
    assert len(network.dns.queries) == 2


async def test_no_without_a_soa_is_not_kept(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.soa = None
    answers = answers_of(network)
    for _ in range(2):
        await answers.answer(ask("none.test"))
    assert len(network.dns.queries) == 2


async def test_without_a_tunnel_the_failure_is_told_at_once(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.up = False
    before = trio.current_time()
    reply = await answers_of(network).answer(ask("web.test"))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert trio.current_time() == before
    assert "the tunnel is down" in reply.options[0].to_text()


async def test_silent_servers_end_in_a_failure(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.silent = True
    reply = await answers_of(network).answer(ask("web.test"))
    assert reply.rcode() == dns.rcode.SERVFAIL


async def test_servers_that_know_no_edns_are_asked_without(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]

    def old(query: dns.message.Message, transport: str) -> dns.message.Message:
        if query.edns >= 0:
            refusal = dns.message.make_response(query)
            refusal.use_edns(False)
            refusal.set_rcode(dns.rcode.FORMERR)
            return refusal
        return network.dns.respond(query)

    network.dns.responder = old
    assert texts(await answers_of(network).answer(ask("web.test"))) == ["web.test. 300 IN A 10.0.0.1"]


async def test_single_labels_are_found_in_the_search_domains(network: FakeNetwork, autojump_clock: MockClock) -> None:
    network.search_domains = ("one.test", "two.test")
    network.dns.records["wiki.two.test", "A"] = ["10.0.0.7"]
    reply = await answers_of(network).answer(ask("wiki."))
    assert texts(reply) == ["wiki. 300 IN CNAME wiki.two.test.", "wiki.two.test. 300 IN A 10.0.0.7"]
    assert [name for name, *_ in network.dns.queries] == ["wiki.one.test", "wiki.two.test"]


async def test_this_machines_names_and_impossible_ones_are_never_asked(
    network: FakeNetwork, autojump_clock: MockClock
) -> None:
    answers = answers_of(network)
    assert texts(await answers.answer(ask("localhost"))) == ["localhost. 60 IN A 127.0.0.1"]
    assert texts(await answers.answer(ask("x.localhost", "AAAA"))) == ["x.localhost. 60 IN AAAA ::1"]
    pointer = await answers.answer(ask("1.0.0.127.in-addr.arpa", "PTR"))
    assert texts(pointer) == ["1.0.0.127.in-addr.arpa. 60 IN PTR localhost."]
    assert (await answers.answer(ask("a.invalid"))).rcode() == dns.rcode.NXDOMAIN
    assert network.dns.queries == []


async def test_the_users_hosts_are_answered_for_both_sides(network: FakeNetwork, autojump_clock: MockClock) -> None:
    settings = NameSettings(hosts=(("nas.test", (IPv4Address("10.0.0.9"), IPv6Address("fd00::9"))),))
    answers = answers_of(network, settings)
    assert texts(await answers.answer(ask("NAS.test"))) == ["NAS.test. 60 IN A 10.0.0.9"]
    assert texts(await answers.answer(ask("nas.test", "AAAA"))) == ["nas.test. 60 IN AAAA fd00::9"]
    assert (await answers.answer(ask("nas.test", "MX"))).rcode() == dns.rcode.NOERROR
    pointer = await answers.answer(ask("9.0.0.10.in-addr.arpa", "PTR"))
    assert texts(pointer) == ["9.0.0.10.in-addr.arpa. 60 IN PTR nas.test."]
    resolver = Resolver(network, table=NameTable(settings))
    assert await resolver.resolve("nas.test") == resolver.known("nas.test") == [IPv4Address("10.0.0.9")]
    assert network.dns.queries == []


async def test_refused_names_are_refused_on_both_sides(network: FakeNetwork, autojump_clock: MockClock) -> None:
    settings = NameSettings(suffixes=(("corp.test", Way.TUNNEL),), rest=Way.REFUSE)
    network.dns.records["web.corp.test", "A"] = ["10.0.0.1"]
    answers = answers_of(network, settings)
    resolver = Resolver(network, table=NameTable(settings))
    assert (await answers.answer(ask("example.com"))).rcode() == dns.rcode.REFUSED
    with pytest.raises(DeniedByRule):
        await resolver.resolve("example.com")
    with pytest.raises(NameNotFound):
        await resolver.resolve("a.invalid")
    assert network.dns.queries == []
    assert (await answers.answer(ask("web.corp.test"))).answer
    assert await resolver.resolve("web.corp.test") == [IPv4Address("10.0.0.1")]


async def test_other_servers_are_asked_about_their_suffix_on_both_sides(
    network: FakeNetwork, autojump_clock: MockClock
) -> None:
    other = network.dns_hosts[OTHER] = FakeDns(records={("web.hq.test", "A"): ["10.5.0.1"]})
    settings = NameSettings(suffixes=(("hq.test", Servers((OTHER,))),))
    assert texts(await answers_of(network, settings).answer(ask("web.hq.test")))
    assert await Resolver(network, table=NameTable(settings)).resolve("web.hq.test") == [IPv4Address("10.5.0.1")]
    assert len(other.queries) == 2
    assert network.dns.queries == []


async def test_the_systems_servers_are_asked_only_where_the_user_said_so(
    network: FakeNetwork, autojump_clock: MockClock
) -> None:
    asked: list[str] = []

    def none() -> tuple[IPv4Address, ...]:
        asked.append("resolv.conf")
        return ()

    table = NameTable(NameSettings(suffixes=(("public.test", Way.SYSTEM),)))
    answers = TunnelAnswers(network, table, Upstreams(network, table, find_system_servers=none))
    await answers.answer(ask("web.test"))
    assert asked == []
    reply = await answers.answer(ask("www.public.test"))
    assert asked == ["resolv.conf"]
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [name for name, *_ in network.dns.queries] == ["web.test"]


async def test_validation_is_told_to_those_who_ask(network: FakeNetwork, autojump_clock: MockClock) -> None:
    def validating(query: dns.message.Message, transport: str) -> dns.message.Message:
        response = network.dns.respond(query)
        response.flags |= dns.flags.AD
        return response

    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    network.dns.responder = validating
    answers = answers_of(network)
    assert not (await answers.answer(ask("web.test"))).flags & dns.flags.AD
    wanting = dns.message.make_query("web.test", "A", want_dnssec=True)
    reply = await answers.answer(wanting)
    assert reply.flags & dns.flags.AD
    assert reply.ednsflags & dns.flags.DO


async def test_an_answer_of_the_old_tunnel_is_not_kept_for_the_new(
    network: FakeNetwork, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network.dns.records["web.test", "A"] = ["10.0.0.1"]
    network.dns.lose = 1
    answers = answers_of(network)
    nursery.start_soon(answers.answer, ask("web.test"))
    await trio.sleep(0.5)
    answers.clear()
    await trio.sleep(2)
    await answers.answer(ask("web.test"))
    assert len(network.dns.queries) == 3
