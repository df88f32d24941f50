"""DHCPINFORM: what is sent, when, and what is taken from an answer."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import dpkt
import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.dhcp import DhcpAnswered, DhcpInformer, DhcpUnanswered
from sstpsocks.net.dhcp_message import MAX_MESSAGE, MAX_SEARCH_DOMAINS, DhcpInform, DhcpInformation
from sstpsocks.net.route import Route
from tests.helpers.dhcp import ACK, SERVER, Option, answer, encode, routes_option

OURS = IPv4Address("10.20.0.10")
INFORM = DhcpInform(transaction=0x01020304, address=OURS, identifier=bytes(range(16)), host_name="client")
REQUEST = INFORM.to_bytes()


def informer(host_name: str | None = "client") -> DhcpInformer:
    return DhcpInformer(OURS, SeededEntropy("dhcp"), host_name=host_name)


def parsed(*options: Option, file: bytes = b"", sname: bytes = b"") -> DhcpInformation:
    return DhcpInformation.parse(answer(REQUEST, options, file=file, sname=sname), INFORM)


# What is sent


def test_the_request_is_what_windows_sends() -> None:
    assert len(REQUEST) == 300
    message = dpkt.dhcp.DHCP(REQUEST)
    assert (message.op, message.hrd, message.hln, message.hops) == (1, 8, 0, 0)
    assert (message.xid, message.secs, message.flags) == (0x01020304, 6, 0)
    assert message.ciaddr == int(OURS)
    assert (message.yiaddr, message.siaddr, message.giaddr) == (0, 0, 0)
    assert REQUEST[28:44] == bytes(16), "no hardware address"
    assert tuple(message.opts) == (
        (53, b"\x08"),
        (61, b"\0" + bytes(range(16))),
        (12, b"client"),
        (60, b"MSFT 5.0"),
        (55, bytes((6, 44, 43, 1, 249, 15, 121, 119))),
    )


def test_the_host_name_can_be_kept_back() -> None:
    nameless = DhcpInform(transaction=1, address=OURS, identifier=bytes(16)).to_bytes()
    assert 12 not in dict(dpkt.dhcp.DHCP(nameless).opts)
    assert len(nameless) == 300


def test_a_long_host_name_makes_the_message_longer() -> None:
    long = DhcpInform(transaction=1, address=OURS, identifier=bytes(16), host_name="n" * 63).to_bytes()
    assert len(long) > 300
    assert dict(dpkt.dhcp.DHCP(long).opts)[12] == b"n" * 63


def test_nothing_in_a_request_names_the_last_one() -> None:
    entropy = SeededEntropy(1)
    first, second = (DhcpInformer(OURS, entropy) for _ in range(2))
    first.start(0.0)
    second.start(0.0)
    [one], [other] = first.data_to_send(0.0), second.data_to_send(0.0)
    assert one[4:8] != other[4:8]
    assert dict(dpkt.dhcp.DHCP(one).opts)[61] != dict(dpkt.dhcp.DHCP(other).opts)[61]


# When


def test_it_asks_three_times_three_seconds_apart_and_gives_up() -> None:
    machine = informer()
    assert machine.poll_at() is None
    machine.start(100.0)
    [request] = machine.data_to_send(100.0)
    assert machine.poll_at() == 103.0
    machine.handle_timer(102.9)
    assert machine.data_to_send(102.9) == []
    machine.handle_timer(103.0)
    assert machine.data_to_send(103.0) == [request], "the same question: an answer to the first try is as good"
    machine.handle_timer(107.5)
    assert machine.data_to_send(107.5) == [request]
    assert machine.poll_at() == 110.5
    assert machine.next_event() is None
    machine.handle_timer(110.5)
    assert machine.data_to_send(110.5) == []
    assert machine.next_event() == DhcpUnanswered()
    assert machine.next_event() is None
    assert machine.poll_at() is None
    assert machine.done


def test_the_first_answer_ends_it() -> None:
    machine = informer()
    machine.start(0.0)
    [request] = machine.data_to_send(0.0)
    machine.handle_timer(3.0)
    machine.receive_data(answer(request, [(15, b"lab.test")]), 3.0)
    assert machine.data_to_send(3.0) == [], "the second try is not sent any more"
    event = machine.next_event()
    assert isinstance(event, DhcpAnswered)
    assert event.information.domain == "lab.test"
    machine.receive_data(answer(request, [(15, b"late.test")]), 4.0)
    machine.handle_timer(100.0)
    machine.start(100.0)
    assert machine.next_event() is None
    assert machine.poll_at() is None
    assert machine.data_to_send(100.0) == []


def test_what_is_no_answer_to_us_is_dropped_and_the_tries_go_on() -> None:
    machine = informer()
    machine.start(0.0)
    [request] = machine.data_to_send(0.0)
    bad = [
        b"",
        request,
        answer(request)[:-1][:200],
        answer(request, transaction=b"\xde\xad\xbe\xef"),
        answer(request, head=[(53, b"\x06")]),
        answer(request, head=[]),
        answer(request, [(121, b"\x21")]),
        bytes(MAX_MESSAGE + 1),
    ]
    for data in bad:
        machine.receive_data(data, 1.0)
    assert machine.dropped == len(bad)
    assert machine.next_event() is None
    assert machine.poll_at() == 3.0


def test_an_answer_before_the_question_is_ignored() -> None:
    machine = informer()
    machine.receive_data(answer(REQUEST), 0.0)
    assert machine.dropped == 0
    assert machine.next_event() is None


def test_its_repr_tells_how_far_it_is() -> None:
    machine = informer()
    assert repr(machine) == "<DhcpInformer for 10.20.0.10, idle>"
    machine.start(0.0)
    assert repr(machine) == "<DhcpInformer for 10.20.0.10, 2 tries left>"
    machine.receive_data(answer(machine.data_to_send(0.0)[0]), 0.0)
    assert repr(machine) == "<DhcpInformer for 10.20.0.10, done>"


# What is taken from an answer


def test_a_whole_answer() -> None:
    information = parsed(
        (1, bytes((255, 255, 255, 0))),
        (3, SERVER.packed),
        (6, SERVER.packed + bytes((10, 20, 0, 2))),
        (15, b"lab.test"),
        routes_option(("172.30.0.0/16", "10.20.0.1")),
        (28, bytes((10, 20, 0, 255))),
    )
    assert information == DhcpInformation(
        server=SERVER,
        routes=(Route(IPv4Network("172.30.0.0/16"), SERVER),),
        subnet=IPv4Network("10.20.0.0/24"),
        domain="lab.test",
        search=("lab.test",),
        name_servers=(SERVER, IPv4Address("10.20.0.2")),
    )
    assert str(information) == "routes 172.30.0.0/16; search lab.test; DNS 10.20.0.1, 10.20.0.2"


def test_an_empty_answer() -> None:
    assert parsed() == DhcpInformation(server=SERVER)
    assert str(parsed()) == "nothing of use"


def test_routes_of_every_width() -> None:
    """The examples of RFC 3442, "Classless Route Option Format"."""
    value = bytes.fromhex(
        "00 01010101  08 0a 01010101  18 0a0000 01010101  10 0a11 01010101  18 0a1b81 00000000 "
        "19 0a198180 01010101  20 0a198143 01010101"
    )
    assert [(str(route), route.gateway) for route in parsed((121, value)).routes] == [
        ("0.0.0.0/0", IPv4Address("1.1.1.1")),
        ("10.0.0.0/8", IPv4Address("1.1.1.1")),
        ("10.0.0.0/24", IPv4Address("1.1.1.1")),
        ("10.17.0.0/16", IPv4Address("1.1.1.1")),
        ("10.27.129.0/24", None),
        ("10.25.129.128/25", IPv4Address("1.1.1.1")),
        ("10.25.129.67/32", IPv4Address("1.1.1.1")),
    ]


def test_bits_outside_the_mask_are_cleared() -> None:
    """RFC 3442: 129.210.177.132 with 255.255.255.128 is 129.210.177.128."""
    [route] = parsed((121, bytes.fromhex("19 81d2b184 01010101"))).routes
    assert str(route) == "129.210.177.128/25"


def test_option_121_beats_249() -> None:
    both = parsed(
        routes_option(("10.1.0.0/16", "10.20.0.1"), code=249), routes_option(("10.2.0.0/16", "10.20.0.1"), code=121)
    )
    assert [str(route) for route in both.routes] == ["10.2.0.0/16"]
    microsoft = parsed(routes_option(("10.1.0.0/16", "10.20.0.1"), code=249))
    assert [str(route) for route in microsoft.routes] == ["10.1.0.0/16"]


def test_search_domains_with_compression() -> None:
    """The example of RFC 3397 section 2: "eng.apple.com." and "marketing.apple.com."."""
    value = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"
    assert parsed((119, value)).search == ("eng.apple.com", "marketing.apple.com")
    split = parsed((119, value[:9]), (15, b"other.test"), (119, value[9:]))
    assert split.search == ("eng.apple.com", "marketing.apple.com", "other.test"), "option 15 comes behind 119"
    assert split.domain == "other.test"


def test_a_domain_that_both_options_name_is_searched_once() -> None:
    assert parsed((119, b"\x03LAB\x04test\0"), (15, b"lab.test.")).search == ("lab.test",)


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        (b"corp.example\0", ("corp.example",)),
        (b"corp.example lab.example,other.example", ("corp.example", "lab.example", "other.example")),
        (b"\0", ()),
        (b"b\xc3\xbcro.example", ()),
        (b"with/slash.example", ()),
        (b"a..b", ()),
        (b"a" * 64, ()),
        (b".".join([b"a" * 60] * 4) + b".abcdefghij", ()),
    ],
)
def test_the_domain_name_as_servers_write_it(text: bytes, domains: tuple[str, ...]) -> None:
    assert parsed((15, text)).search == domains


def test_there_is_a_bound_on_search_domains_and_name_servers() -> None:
    names = b"".join(b"\x03" + f"d{number:02}".encode() + b"\0" for number in range(40))
    assert len(parsed((119, names)).search) == MAX_SEARCH_DOMAINS
    servers = b"".join(bytes((10, 0, 0, number)) for number in range(1, 41))
    assert len(parsed((6, servers)).name_servers) == 8
    assert parsed((6, bytes(4))).name_servers == ()


def test_options_in_the_file_and_name_fields() -> None:
    """RFC 2132 section 9.3; in the order of RFC 3396: options, file, sname."""
    route = routes_option(("172.30.0.0/16", "10.20.0.1"))[1]
    in_both = parsed(
        (52, b"\x03"),
        (121, route[:3]),
        file=encode([(121, route[3:6]), (15, b"file.test")]),
        sname=encode([(121, route[6:])], end=False),
    )
    assert [str(route) for route in in_both.routes] == ["172.30.0.0/16"]
    assert in_both.domain == "file.test"
    only_file = parsed((52, b"\x01"), file=encode([(15, b"file.test")]), sname=b"server.example")
    assert only_file.domain == "file.test"
    only_name = parsed((52, b"\x02"), file=b"boot/image", sname=encode([(15, b"sname.test")]))
    assert only_name.domain == "sname.test"
    neither = parsed(file=encode([(15, b"file.test")]))
    assert neither.domain == ""


def test_padding_and_a_missing_end_are_forgiven() -> None:
    raw = b"\0\0" + encode([ACK], end=False) + b"\0" + encode([(15, b"lab.test")], end=False)
    assert DhcpInformation.parse(answer(REQUEST, raw_options=raw), INFORM).domain == "lab.test"


def test_nothing_behind_the_end_counts() -> None:
    raw = encode([ACK]) + encode([(15, b"lab.test")])
    assert DhcpInformation.parse(answer(REQUEST, raw_options=raw), INFORM).domain == ""


@pytest.mark.parametrize(
    "option",
    [
        (121, b"\x21\x0a\x00\x00\x00\x01\x01\x01\x01\x01"),
        (121, b"\x08\x0a\x01\x01\x01"),
        (249, b"\x08"),
        (6, b"\x0a\x00\x00"),
        (54, b"\x0a"),
        (1, bytes((255, 0, 255, 0))),
        (1, b"\xff\xff"),
        (52, b"\x04"),
        (52, b"\x01\x01"),
        (119, b"\x03lab"),
        (119, b"\x03lab\xc0"),
        (119, b"\x03lab\xc0\x00"),
        (119, b"\xc0\x02\xc0\x00"),
        (119, b"\x40" + b"a" * 64 + b"\0"),
        (119, (b"\x3f" + b"a" * 63) * 4 + b"\0"),
    ],
)
def test_malformed_options_are_refused(option: Option) -> None:
    parts = [(option[0], option[1][start : start + 255]) for start in range(0, len(option[1]), 255)]
    head = [ACK] if option[0] == 54 else [ACK, (54, SERVER.packed)]
    with pytest.raises(RemoteProtocolError) as caught:
        DhcpInformation.parse(answer(REQUEST, parts, head=head), INFORM)
    assert caught.value.layer == "dhcp"


@pytest.mark.parametrize("raw", [b"\x35", b"\x35\x02\x05", b"\x35\x01\x05\x0f\x20lab"])
def test_an_option_beyond_the_message_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        DhcpInformation.parse(answer(REQUEST, raw_options=raw), INFORM)
