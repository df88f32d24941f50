"""Rules about names hold for programs that dial the addresses they were answered."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rrset
import pytest

from sstpsocks.dns.replies import make_reply
from sstpsocks.errors import DeniedByRule
from sstpsocks.proxy.routing import learned
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.learned import LIFETIME, LearnedNames, LearnedOutlet, LearningAnswers
from sstpsocks.proxy.routing.router import Router
from sstpsocks.tunnel.network import IPAddress
from tests.unit.proxy.routing.test_router import Outlet

ADDRESS = ip_address("10.0.0.7")


class Packets(Outlet):
    """A way that also knows echo requests."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(*addresses)
        self.pinged: list[tuple[IPAddress, int]] = []
        self.together_calls = 0

    def together(self, action: Callable[[], None]) -> None:
        self.together_calls += 1
        action()

    def has_ipv6(self) -> bool:
        return True

    async def ping(self, address: IPAddress, size: int) -> float:
        self.pinged.append((address, size))
        return 0.25


class World:
    def __init__(self, *rules: str) -> None:
        self.work, self.home, self.direct = Packets(), Packets(), Outlet()
        self.router = Router(map(parse_rule, rules), {"work": self.work, "home": self.home}, self.direct)
        self.time = 0.0
        self.names = LearnedNames(lambda: self.time)
        self.outlet = LearnedOutlet(self.router, self.names)

    def learn(self, *names: str) -> None:
        for name in names:
            self.names.learn(name, ADDRESS)

    def way(self, port: int = 80) -> str:
        for way in (self.work, self.home, self.direct):
            way.dialled.clear()
        self.outlet.begin(ADDRESS, port)
        ways = {"work": self.work, "home": self.home, "direct": self.direct}
        [found] = [name for name, way in ways.items() if way.dialled == [(str(ADDRESS), port)]]
        return found


def test_an_address_goes_the_way_of_the_name_that_it_was_the_answer_for() -> None:
    world = World(".home.test -> home", ".past.test -> direct")
    assert world.way() == "work"
    world.learn("nas.home.test")
    assert world.way() == "home"


def test_an_address_that_nobody_asked_for_goes_by_the_rules_about_addresses() -> None:
    world = World(".home.test -> work", "10.0.0.0/24 -> home")
    assert world.way() == "home"


def test_the_rules_are_read_from_the_top_for_name_and_address_together() -> None:
    world = World("10.0.0.0/24 -> direct", ".home.test -> home")
    world.learn("nas.home.test")
    assert world.way() == "direct"


def test_a_name_that_is_refused_at_a_port_is_refused_there() -> None:
    world = World(".home.test port 25 -> refuse", ".home.test -> home")
    world.learn("mail.home.test")
    assert world.way(80) == "home"
    with pytest.raises(DeniedByRule):
        world.outlet.begin(ADDRESS, 25)


def test_names_with_one_address_and_one_way_are_no_trouble() -> None:
    world = World(".home.test -> home")
    world.learn("nas.home.test", "www.home.test")
    assert world.way() == "home"


def test_names_with_one_address_and_two_ways_lead_nowhere_until_one_is_forgotten() -> None:
    world = World(".home.test -> home")
    world.learn("nas.home.test")
    world.time = 100.0
    world.learn("intranet.work.test")
    with pytest.raises(DeniedByRule, match="different ways"):
        world.outlet.begin(ADDRESS, 80)
    world.time = LIFETIME + 50
    assert world.way() == "work"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "MAX_ADDRESSES", 2)
    monkeypatch.setattr(learned, "MAX_NAMES", 2)
    names = LearnedNames(lambda: 0.0)
    for name in ("a.test", "b.test", "a.test", "c.test"):
        names.learn(name, ADDRESS)
    assert names.names_of(ADDRESS) == ["a.test", "c.test"]
    for host in range(3):
        names.learn("x.test", ip_address(f"10.1.1.{host}"))
    assert names.names_of(ADDRESS) == []


async def test_the_name_that_was_asked_for_is_learned_and_not_what_it_is_an_alias_of() -> None:
    class Known:
        async def answer(self, query: dns.message.Message) -> dns.message.Message:
            records = (("www.home.test.", "CNAME", "real.work.test."), ("real.work.test.", "A", str(ADDRESS)))
            answer = [dns.rrset.from_text(owner, 60, "IN", kind, data) for owner, kind, data in records]
            return make_reply(query, dns.rcode.NOERROR, answer=answer)

    world = World(".home.test -> home")
    response = await LearningAnswers(Known(), world.names).answer(dns.message.make_query("WWW.home.test.", "A"))
    assert len(response.answer) == 2
    assert world.names.names_of(ADDRESS) == ["www.home.test"]
    assert world.way() == "home"


async def test_datagrams_and_echo_requests_go_the_same_way() -> None:
    world = World(".home.test -> home", ".past.test -> direct")
    world.learn("nas.home.test")
    world.outlet.open_datagrams().send_nowait(b"x", ADDRESS, 53)
    assert (len(world.work.ports), len(world.home.ports)) == (0, 1)
    assert await world.outlet.ping(ADDRESS, 84) == 0.25
    assert (world.work.pinged, world.home.pinged) == ([], [(ADDRESS, 84)])


async def test_echo_requests_are_not_sent_past_the_tunnels() -> None:
    world = World(".past.test -> direct")
    world.learn("www.past.test")
    with pytest.raises(DeniedByRule):
        await world.outlet.ping(ADDRESS, 84)


def test_what_is_sent_together_is_so_on_every_way_and_once() -> None:
    world, done = World(), []
    world.outlet.together(lambda: done.append(1))
    assert (done, world.work.together_calls, world.home.together_calls) == ([1], 1, 1)
