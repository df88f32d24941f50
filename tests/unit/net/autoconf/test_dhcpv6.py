"""DHCPv6 transcripts: what the client says, when it says it again, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.autoconf.dhcpv6 import IAID, MAX_ADDRESSES, Dhcpv6Client, Dhcpv6State, stable_duid
from sstpsocks.net.autoconf.dhcpv6_message import Dhcpv6Message, IaAddress, IaNa, MessageType, OptionCode, StatusCode

SECRET = bytes(range(16))
DUID = stable_duid(SECRET, b"vpn.example.com")
SERVER = b"\x00\x03\x00\x01server"
ADDRESS = IPv6Address("2001:db8::100")
DNS = IPv6Address("2001:db8::53")
LEASE = IaNa(IAID, 1000, 1600, (IaAddress(ADDRESS, 2000, 3000),))


class Talk:
    """A client whose server is the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.client = Dhcpv6Client(DUID, SeededEntropy("client"))
        self.last = Dhcpv6Message(type=0, transaction_id=0)

    def said(self) -> list[Dhcpv6Message]:
        messages = [Dhcpv6Message.parse(data) for data in self.client.datagrams_to_send(self.now)]
        self.last = messages[-1] if messages else self.last
        return messages

    def next_said(self) -> Dhcpv6Message:
        """Let time pass until the client says something, and return it."""
        for _ in range(100):
            messages = self.said()
            if messages:
                assert len(messages) == 1
                return messages[0]
            due = self.client.poll_at()
            assert due is not None, "the client has fallen silent"
            self.now = max(self.now, due)
            self.client.handle_timer(self.now)
            assert self.client.poll_at() != due, "a timer that does not move"
        raise AssertionError("time passes and nothing is said")

    def answer(self, kind: MessageType = MessageType.REPLY, **fields: object) -> None:
        message = Dhcpv6Message(type=kind, transaction_id=self.last.transaction_id, client_id=DUID, server_id=SERVER)
        self.client.receive_datagram(replace(message, **fields).to_bytes(), self.now)  # type: ignore[arg-type]  # the test's own

    def bind(self, association: IaNa = LEASE) -> None:
        self.client.start(self.now, stateful=True)
        assert self.next_said().type == MessageType.SOLICIT
        self.answer(MessageType.ADVERTISE, associations=(association,), preference=255)
        assert self.next_said().type == MessageType.REQUEST
        self.answer(associations=(association,), dns_servers=(DNS,), domains=("corp.example",))
        assert self.client.state is Dhcpv6State.BOUND


def test_stateless_name_servers_and_domains() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    asked = talk.next_said()
    assert talk.now <= 1.0
    assert asked.type == MessageType.INFORMATION_REQUEST
    assert asked.client_id == DUID
    assert asked.associations == ()
    assert asked.elapsed == 0
    assert {OptionCode.DNS_SERVERS, OptionCode.DOMAIN_LIST, OptionCode.INFORMATION_REFRESH_TIME} <= set(asked.requested)
    talk.answer(dns_servers=(DNS,), domains=("corp.example",), refresh_time=3600)
    assert (talk.client.dns_servers, talk.client.domains) == ((DNS,), ("corp.example",))
    assert talk.client.poll_at() == pytest.approx(talk.now + 3600)
    assert talk.next_said().type == MessageType.INFORMATION_REQUEST, "refreshed"


@pytest.mark.parametrize(("given", "used"), [(None, 86400), (1, 600), (7200, 7200)])
def test_the_refresh_time_has_a_default_and_a_minimum(given: int | None, used: int) -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    talk.next_said()
    talk.answer(refresh_time=given)
    assert talk.client.poll_at() == pytest.approx(talk.now + used)


def test_an_infinite_refresh_time_ends_the_asking() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    talk.next_said()
    talk.answer(refresh_time=0xFFFFFFFF)
    assert talk.client.poll_at() is None


def test_unanswered_it_asks_ever_more_slowly() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    times, identifiers = [], set()
    for _ in range(20):
        identifiers.add(talk.next_said().transaction_id)
        times.append(talk.now)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert 0.9 <= pauses[0] <= 1.1
    for previous, pause in pairwise(pauses[:10]):
        assert 1.9 <= pause / previous <= 2.1
    assert all(3600 * 0.9 <= pause <= 3600 * 1.1 for pause in pauses[13:])
    assert len(identifiers) == 1, "a repetition keeps the transaction"


def test_a_server_may_change_the_longest_pause() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    talk.answer(MessageType.ADVERTISE, status=StatusCode.NO_ADDRS_AVAIL, sol_max_rt=86400)
    for _ in range(30):
        talk.next_said()
    before = talk.now
    talk.next_said()
    assert talk.now - before > 2 * 3600


def test_an_address_with_the_four_messages() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    solicit = talk.next_said()
    assert solicit.type == MessageType.SOLICIT
    assert solicit.rapid_commit
    assert [ia.iaid for ia in solicit.associations] == [IAID]
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=255)
    request = talk.next_said()
    assert (request.type, request.server_id) == (MessageType.REQUEST, SERVER)
    assert request.transaction_id != solicit.transaction_id
    talk.answer(associations=(LEASE,), dns_servers=(DNS,))
    assert talk.client.addresses == ((ADDRESS, True),)
    assert talk.client.dns_servers == (DNS,)


def test_two_messages_are_enough_for_a_server_that_commits_rapidly() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    with pytest.raises(RemoteProtocolError):
        talk.answer(associations=(LEASE,))  # a Reply without the option answers no Solicit
    talk.answer(associations=(LEASE,), rapid_commit=True)
    assert talk.client.state is Dhcpv6State.BOUND


def test_advertisements_are_collected_for_the_first_pause_and_the_best_is_taken() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    asked_at = talk.now
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=1, server_id=b"\x00\x03poor")
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=7, server_id=b"\x00\x03good")
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=7, server_id=b"\x00\x03late")
    assert talk.said() == []
    request = talk.next_said()
    assert request.server_id == b"\x00\x03good"
    assert 1.0 <= talk.now - asked_at <= 1.1


def test_after_the_first_pause_any_advertisement_is_taken_at_once() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    talk.next_said()
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,))
    assert [message.type for message in talk.said()] == [MessageType.REQUEST]


def test_an_advertisement_without_an_address_is_ignored() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    talk.answer(MessageType.ADVERTISE, associations=(IaNa(IAID, status=StatusCode.NO_ADDRS_AVAIL),), preference=255)
    talk.answer(MessageType.ADVERTISE, preference=255)
    assert talk.said() == []
    assert talk.client.state is Dhcpv6State.SOLICIT


def test_the_lease_is_renewed_with_its_server_and_then_with_any() -> None:
    talk = Talk()
    talk.bind()
    bound_at = talk.now
    renew = talk.next_said()
    assert talk.now == pytest.approx(bound_at + 1000)
    assert (renew.type, renew.server_id) == (MessageType.RENEW, SERVER)
    assert renew.associations[0].addresses[0].address == ADDRESS
    while (message := talk.next_said()).type == MessageType.RENEW:
        pass
    assert (message.type, message.server_id) == (MessageType.REBIND, None)
    assert talk.now == pytest.approx(bound_at + 1600)
    talk.answer(associations=(LEASE,))
    assert talk.client.state is Dhcpv6State.BOUND
    assert talk.client.addresses == ((ADDRESS, True),)


def test_a_lease_that_nobody_prolongs_runs_out_and_the_search_begins_anew() -> None:
    talk = Talk()
    talk.bind()
    bound_at = talk.now
    while talk.client.addresses:
        talk.next_said()
    assert talk.now >= bound_at + 3000
    assert talk.client.state is Dhcpv6State.SOLICIT


def test_the_address_is_deprecated_before_it_is_lost() -> None:
    talk = Talk()
    talk.bind()
    talk.client.handle_timer(talk.now + 2000)
    assert talk.client.addresses == ((ADDRESS, False),)


def test_a_server_that_has_forgotten_the_lease_is_asked_anew() -> None:
    talk = Talk()
    talk.bind()
    assert talk.next_said().type == MessageType.RENEW
    talk.answer(associations=(IaNa(IAID, status=StatusCode.NO_BINDING),))
    assert talk.next_said().type == MessageType.REQUEST


def test_a_request_in_vain_leads_back_to_the_search_with_growing_pauses() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    rounds = 0
    while talk.now < 3600.0:
        message = talk.next_said()
        if message.type == MessageType.SOLICIT:
            talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=255)
        else:
            rounds += 1
            talk.answer(associations=(IaNa(IAID, status=StatusCode.NO_ADDRS_AVAIL),))
    assert 3 < rounds < 40


def test_an_unanswered_request_is_given_up_after_ten() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    talk.answer(MessageType.ADVERTISE, associations=(LEASE,), preference=255)
    for _ in range(10):
        assert talk.next_said().type == MessageType.REQUEST
    assert talk.next_said().type == MessageType.SOLICIT


def test_a_renewal_that_takes_the_address_away() -> None:
    talk = Talk()
    talk.bind()
    talk.next_said()
    talk.answer(associations=(IaNa(IAID, addresses=(IaAddress(ADDRESS, 0, 0),)),))
    assert talk.client.addresses == ()
    assert talk.client.state is Dhcpv6State.SOLICIT


@pytest.mark.parametrize(
    ("association", "taken"),
    [
        (IaNa(IAID, addresses=(IaAddress(ADDRESS, 200, 100),)), False),
        (IaNa(IAID, addresses=(IaAddress(IPv6Address("fe80::9"), 100, 100),)), False),
        (IaNa(IAID, addresses=(IaAddress(IPv6Address("ff02::9"), 100, 100),)), False),
        (IaNa(IAID, addresses=(IaAddress(ADDRESS, 100, 100, StatusCode.UNSPEC_FAIL),)), False),
        (IaNa(IAID, 200, 100, (IaAddress(ADDRESS, 300, 300),)), False),
        (IaNa(IAID, 0, 0, (IaAddress(ADDRESS, 300, 300),)), True),
        (IaNa(IAID, 1, 1, (IaAddress(ADDRESS, 0xFFFFFFFF, 0xFFFFFFFF),)), True),
    ],
)
def test_which_addresses_are_taken(association: IaNa, taken: bool) -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=True)
    talk.next_said()
    talk.answer(associations=(association,), rapid_commit=True)
    assert bool(talk.client.addresses) is taken


def test_times_left_to_us_are_half_and_four_fifths_of_the_preferred_lifetime() -> None:
    talk = Talk()
    talk.bind(IaNa(IAID, 0, 0, (IaAddress(ADDRESS, 1000, 2000),)))
    bound_at = talk.now
    assert talk.next_said().type == MessageType.RENEW
    assert talk.now == pytest.approx(bound_at + 500)
    while talk.next_said().type == MessageType.RENEW:
        pass
    assert talk.now == pytest.approx(bound_at + 800)


def test_an_infinite_lease_needs_no_renewal() -> None:
    talk = Talk()
    talk.bind(IaNa(IAID, 0, 0, (IaAddress(ADDRESS, 0xFFFFFFFF, 0xFFFFFFFF),)))
    assert talk.client.poll_at() is None


def test_no_more_addresses_than_the_bound() -> None:
    many = tuple(IaAddress(IPv6Address(f"2001:db8::{number:x}"), 100, 100) for number in range(1, 50))
    talk = Talk()
    talk.bind(IaNa(IAID, addresses=many))
    assert len(talk.client.addresses) == MAX_ADDRESSES


@pytest.mark.parametrize(
    "fields",
    [
        {"transaction_id": 0xABCDEF},
        {"client_id": stable_duid(SECRET, b"vpn.example.org")},
        {"client_id": None},
        {"server_id": None},
        {"type": MessageType.ADVERTISE},
    ],
)
def test_what_answers_nothing_of_ours_is_discarded(fields: dict[str, object]) -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    talk.next_said()
    with pytest.raises(RemoteProtocolError):
        talk.answer(**{"kind": MessageType.REPLY, "dns_servers": (DNS,), **fields})  # type: ignore[arg-type]  # the test's own
    assert talk.client.dns_servers == ()


def test_nothing_is_taken_before_anything_was_asked() -> None:
    with pytest.raises(RemoteProtocolError):
        Talk().answer(dns_servers=(DNS,))


def test_a_failure_of_the_server_is_waited_out() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    talk.next_said()
    talk.answer(status=StatusCode.UNSPEC_FAIL)
    assert talk.next_said().type == MessageType.INFORMATION_REQUEST


def test_asking_for_an_address_supersedes_asking_for_names_and_not_the_other_way() -> None:
    talk = Talk()
    talk.client.start(0.0, stateful=False)
    talk.next_said()
    talk.client.start(talk.now, stateful=True)
    assert talk.next_said().type == MessageType.SOLICIT
    talk.client.start(talk.now, stateful=False)
    assert talk.client.state is Dhcpv6State.SOLICIT


def test_an_identifier_of_the_client_is_a_uuid_of_the_network() -> None:
    assert stable_duid(SECRET, b"vpn.example.com") == DUID
    assert len({DUID, stable_duid(SECRET, b"vpn.example.org"), stable_duid(bytes(16), b"vpn.example.com")}) == 3
    uuid = UUID(bytes=DUID[2:])
    assert (DUID[:2], uuid.version, uuid.variant) == (b"\x00\x04", 8, RFC_4122)
