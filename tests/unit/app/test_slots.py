from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from sstpsocks.app.slots import RoutedAnswers, Slot
from sstpsocks.errors import TunnelDown
from sstpsocks.proxy.routing.language import DIRECT, parse_rule
from sstpsocks.proxy.routing.router import Router


class Answers:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        self.asked.append(str(query.question[0].name))
        return dns.message.make_response(query)


class World:
    def __init__(self, *rules: str) -> None:
        self.work, self.home, self.past = Answers(), Answers(), Answers()
        slots = {"work": Slot("work"), "home": Slot("home")}
        router = Router(map(parse_rule, rules), slots, Slot("past"))
        self.answers = RoutedAnswers(router, {"work": self.work, "home": self.home, DIRECT: self.past}, "work")

    async def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        return await self.answers.answer(dns.message.make_query(name, kind))


async def test_a_name_is_answered_by_the_way_its_connections_take() -> None:
    world = World(".home.example -> home", "printer.example -> direct")
    for name in ("a.HOME.example", "printer.example", "other.example"):
        await world.ask(name)
    assert world.home.asked == ["a.HOME.example."]
    assert world.past.asked == ["printer.example."]
    assert world.work.asked == ["other.example."]


async def test_a_refused_name_is_refused_without_asking() -> None:
    world = World(".ads.example -> refuse")
    assert (await world.ask("x.ads.example")).rcode() == dns.rcode.REFUSED
    assert world.work.asked == []


async def test_the_name_of_an_address_is_asked_where_the_address_is() -> None:
    world = World("10.1.0.0/16 -> home", "10.2.0.0/16 -> refuse")
    await world.ask("7.0.1.10.in-addr.arpa", "PTR")
    assert world.home.asked == ["7.0.1.10.in-addr.arpa."]
    assert (await world.ask("7.0.2.10.in-addr.arpa", "PTR")).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("name", ["localhost", r"not\032a\032host.example", "127.0.0.1"])
async def test_what_is_no_host_name_or_ours_never_goes_past_the_tunnels(name: str) -> None:
    world = World("all -> direct")
    await world.ask(name)
    assert (world.past.asked, len(world.work.asked)) == ([], 1)


async def test_a_slot_without_a_tunnel_says_that_it_is_down() -> None:
    slot = Slot("work")
    with pytest.raises(TunnelDown, match='the tunnel "work" is down'):
        slot.begin("a.example", 80)
    with pytest.raises(TunnelDown):
        await slot.resolve("a.example")
    assert (await slot.answer(dns.message.make_query("a.example", "A"))).rcode() == dns.rcode.SERVFAIL
