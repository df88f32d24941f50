"""IPV6CP: agreeing on interface identifiers, and what becomes of a link whose other end has no IPv6."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.authenticators import make_server
from sstpsocks.ppp.events import AuthenticationSucceeded, Failed, Ipv4Closed, Ipv6Closed, Ipv6Opened, PppEvent
from sstpsocks.ppp.ipv6cp import random_identifier
from sstpsocks.ppp.packet import PROTOCOL_IPV6CP, Code, build_frame, parse_frame
from sstpsocks.ppp.peer import PppConfig, PppPeer, Role

from .ppp_playbook import Playbook

OURS = bytes.fromhex("1122334455667788")
THEIRS = bytes.fromhex("aabbccddeeff0011")

LOG_IN = """
    >> lcp Configure-Request 1 mru=4087 magic=*
    << lcp Configure-Request 1 mru=1500 auth=c023 magic=01020304
    >> lcp Configure-Ack 1 mru=1500 auth=c023 magic=01020304
    << lcp Configure-Ack 1 mru=4087 magic=*
    !! LcpOpened peer_mru=1500
    >> pap 1 *
    << login
    !! AuthenticationSucceeded method=<AuthMethod.PAP
"""
FIRST_REQUEST = """
    >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0
"""
OPEN_IPV4 = """
    << ipcp Configure-Request 1 address=10.0.0.1
    >> ipcp Configure-Ack 1 address=10.0.0.1
    << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53 nbns1=10.0.0.3 dns2=10.0.0.53 nbns2=10.0.0.3
    >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53 nbns1=10.0.0.3 dns2=10.0.0.53 nbns2=10.0.0.3
    << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53 nbns1=10.0.0.3 dns2=10.0.0.53 nbns2=10.0.0.3
    !! Ipv4Opened local=IPv4Address('10.0.0.9')
"""
ASK_IPV6 = """
    >> ipv6cp Configure-Request 1 identifier=1122334455667788
"""
OPEN_IPV6 = """
    << ipv6cp Configure-Request 1 identifier=aabbccddeeff0011
    >> ipv6cp Configure-Ack 1 identifier=aabbccddeeff0011
    << ipv6cp Configure-Ack 1 identifier=1122334455667788
    !! Ipv6Opened
"""


def logged_in() -> Playbook:
    """Return a playbook of a client that is logged in and has sent its first request."""
    config = PppConfig(
        methods=(AuthMethod.PAP,),
        credentials=Credentials("alice", "wonderland"),
        ipv6=True,
        interface_identifier=OURS,
    )
    login = make_server(AuthMethod.PAP, {"alice": "wonderland"}.get, SeededEntropy("server"), "SERVER")
    login.start(0.0)
    book = Playbook(PppPeer(config, SeededEntropy("client")), login)
    book.play(LOG_IN)
    book.peer.start_network(book.now)
    book.play(FIRST_REQUEST)
    return book


def client() -> Playbook:
    """Return a playbook of a client that has IPv4 and has asked for IPv6."""
    book = logged_in()
    book.play(OPEN_IPV4 + ASK_IPV6)
    return book


def test_ipv6_is_asked_for_when_ipv4_is_there() -> None:
    """SoftEther does one thing after the other: a request beside IPCP's would hold up the address for four seconds."""
    book = client()
    assert book.peer.ipv4_open
    assert not book.peer.ipv6_open
    book.play(OPEN_IPV6)
    assert book.peer.ipv6_open


@pytest.mark.parametrize("whatever_it_costs", [False, True])
@pytest.mark.parametrize("we_tell_magic", [False, True])
def test_a_server_without_magic_number_is_asked_only_on_demand(whatever_it_costs: bool, we_tell_magic: bool) -> None:
    """SoftEther, to be known by that, stops everything for four seconds when it is asked."""
    config = PppConfig(
        methods=(),
        ipv6=True,
        interface_identifier=OURS,
        ipv6_whatever_it_costs=whatever_it_costs,
        magic_number=we_tell_magic,
    )
    book = Playbook(PppPeer(config, SeededEntropy("client")))
    if we_tell_magic:
        book.play("""
            >> lcp Configure-Request 1 mru=4087 magic=*
            << lcp Configure-Reject 1 magic=*
            >> lcp Configure-Request 2 mru=4087
            << lcp Configure-Ack 2 mru=4087
        """)
    else:
        book.play("""
            >> lcp Configure-Request 1 mru=4087
            << lcp Configure-Ack 1 mru=4087
        """)
    book.play("""
        << lcp Configure-Request 1
        >> lcp Configure-Ack 1
        !! LcpOpened
        !! AuthenticationSucceeded
    """)
    book.peer.start_network(book.now)
    book.play(
        """
        >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0
        << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53
        >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53
        << ipcp Configure-Request 1 address=10.0.0.1
        >> ipcp Configure-Ack 1 address=10.0.0.1
        << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53
        !! Ipv4Opened local=IPv4Address('10.0.0.9')
    """
        + (ASK_IPV6 if whatever_it_costs else "")
    )
    if not whatever_it_costs:
        book.play("""
            << ipv6cp Configure-Request 1 identifier=aabbccddeeff0011
            >> ipv6cp Configure-Request 1 identifier=1122334455667788
            >> ipv6cp Configure-Ack 1 identifier=aabbccddeeff0011
        """)


def test_ipv6_opens_first_when_the_server_begins_with_it() -> None:
    book = logged_in()
    book.play("""
        << ipv6cp Configure-Request 1 identifier=aabbccddeeff0011
        >> ipv6cp Configure-Request 1 identifier=1122334455667788
        >> ipv6cp Configure-Ack 1 identifier=aabbccddeeff0011
        << ipv6cp Configure-Ack 1 identifier=1122334455667788
        !! Ipv6Opened
    """)
    assert not book.peer.ipv4_open
    book.play(OPEN_IPV4)


def test_the_identifiers_of_both_ends_are_told() -> None:
    book = client()
    book.play(
        OPEN_IPV6.replace("!! Ipv6Opened", f"!! Ipv6Opened local_identifier={OURS!r}, peer_identifier={THEIRS!r}")
    )


def test_a_server_without_ipv6_rejects_the_protocol_and_ipv4_goes_on() -> None:
    book = client()
    book.play("<< lcp Protocol-Reject 9 8057 0101000e010a1122334455667788")
    book.play("@120")  # nothing more is ever said of IPv6
    assert book.peer.ipv4_open


def test_silence_means_no_ipv6() -> None:
    book = client()
    for repeat in range(1, 10):
        book.play(f"""
            @{3 * repeat}
            >> ipv6cp Configure-Request 1 identifier=1122334455667788
        """)
    book.play("@300")
    assert book.peer.ipv4_open
    assert not book.peer.ipv6_open


def test_a_server_that_comes_late_still_gets_ipv6() -> None:
    book = client()
    book.play("<< lcp Protocol-Reject 9 8057 0101000e010a1122334455667788")
    book.play("""
        @40
        << ipv6cp Configure-Request 7 identifier=aabbccddeeff0011
        >> ipv6cp Configure-Request 1 identifier=1122334455667788
        >> ipv6cp Configure-Ack 7 identifier=aabbccddeeff0011
        << ipv6cp Configure-Ack 1 identifier=1122334455667788
        !! Ipv6Opened
    """)


def test_the_servers_choice_of_an_identifier_is_taken() -> None:
    book = client()
    book.play("""
        << ipv6cp Configure-Nak 1 identifier=0000000000000002
        >> ipv6cp Configure-Request 2 identifier=0000000000000002
    """)


def test_a_suggested_zero_is_not_taken() -> None:
    book = client()
    book.peer.receive_frame(build_frame(PROTOCOL_IPV6CP, bytes.fromhex("0301000e010a0000000000000000")), book.now)
    (request,) = book.peer.frames_to_send(book.now)
    assert request[-8:] not in (bytes(8), OURS)


def test_a_server_that_asks_for_our_identifier_or_for_none_is_given_another() -> None:
    for asked in ("1122334455667788", "0000000000000000"):
        book = client()
        book.peer.receive_frame(
            build_frame(PROTOCOL_IPV6CP, bytes.fromhex(f"0101000e010a{asked}")),
            book.now,
        )
        (frame,) = book.peer.frames_to_send(book.now)
        assert frame[4] == Code.CONFIGURE_NAK
        suggested = frame[-8:]
        assert suggested not in (OURS, bytes(8))
        assert not suggested[0] & 0x02, "the universal/local bit"


def test_our_own_suggestion_come_back_is_not_taken() -> None:
    """RFC 5072 section 4.1: both ends picked the same identifiers; a new one must be chosen."""
    book = client()
    book.peer.receive_frame(build_frame(PROTOCOL_IPV6CP, bytes.fromhex("0101000e010a1122334455667788")), book.now)
    (nak,) = book.peer.frames_to_send(book.now)
    book.peer.receive_frame(build_frame(PROTOCOL_IPV6CP, b"\x03\x01\x00\x0e\x01\x0a" + nak[-8:]), book.now)
    (request,) = book.peer.frames_to_send(book.now)
    assert request[4] == Code.CONFIGURE_REQUEST
    assert request[-8:] not in (nak[-8:], OURS)


def test_compression_is_rejected() -> None:
    client().play("""
        << ipv6cp Configure-Request 1 identifier=aabbccddeeff0011 compression=004f
        >> ipv6cp Configure-Reject 1 compression=004f
    """)


def test_a_server_that_rejects_the_identifier_leaves_the_choice_to_us() -> None:
    client().play(f"""
        << ipv6cp Configure-Reject 1 identifier=1122334455667788
        >> ipv6cp Configure-Request 2
        << ipv6cp Configure-Ack 2
        << ipv6cp Configure-Request 1
        >> ipv6cp Configure-Ack 1
        !! Ipv6Opened local_identifier={OURS!r}, peer_identifier=None
    """)


def test_the_end_of_ipv6_leaves_ipv4_alone() -> None:
    book = client()
    book.play(OPEN_IPV6)
    book.play("""
        << ipv6cp Terminate-Request 8
        >> ipv6cp Terminate-Ack 8
        !! Ipv6Closed the server ended IPV6CP
        @200
    """)
    assert book.peer.ipv4_open


def test_no_terminate_request_is_ever_sent() -> None:
    """accel-ppp ends the whole session on one; the automaton wants it after a Code-Reject of the essentials."""
    book = client()
    book.play(OPEN_IPV6)
    book.play("""
        << ipv6cp Code-Reject 3 01010004
        !! Ipv6Closed
        @200
    """)
    assert book.peer.ipv4_open


def test_a_peer_that_never_agrees_is_given_up_without_a_word() -> None:
    book = client()
    said = 0
    for number in range(1, 60):
        book.peer.receive_frame(
            build_frame(PROTOCOL_IPV6CP, bytes((3, number, 0, 14, 1, 10)) + number.to_bytes(8, "big")), book.now
        )
        frames = book.peer.frames_to_send(book.now)
        said += len(frames)
        assert all(frame[4] == Code.CONFIGURE_REQUEST for frame in frames)
    assert 5 < said < 30
    book.play("@200")
    assert book.peer.ipv4_open


def test_ipv6_packets_count_only_while_it_is_open() -> None:
    book = client()
    book.play("<< ipv6 6000000000000000")
    assert book.peer.counters.discarded == 1
    book.play(OPEN_IPV6)
    book.play("""
        << ipv6 6000000000000000
        !! IpPacketReceived
    """)


def test_without_ipv6_in_the_settings_the_protocol_is_rejected() -> None:
    config = PppConfig(methods=(AuthMethod.PAP,), credentials=Credentials("alice", "wonderland"))
    login = make_server(AuthMethod.PAP, {"alice": "wonderland"}.get, SeededEntropy("server"), "SERVER")
    login.start(0.0)
    book = Playbook(PppPeer(config, SeededEntropy("client")), login)
    book.play(LOG_IN)
    book.play("""
        << ipv6cp Configure-Request 1 identifier=aabbccddeeff0011
        >> lcp Protocol-Reject * 80570101000e010aaabbccddeeff0011
    """)


def test_an_identifier_has_eight_octets() -> None:
    with pytest.raises(LocalProtocolError, match="eight octets"):
        PppConfig(methods=(), interface_identifier=b"short")


def test_a_random_identifier_avoids_others() -> None:
    first = random_identifier(SeededEntropy(1))
    assert random_identifier(SeededEntropy(1), first) != first


# Our client against our server.


class Ends:
    """A client and a server; the n-th IPV6CP frame, counted over both directions, may be lost or doubled."""

    def __init__(self, ours: bytes | None, theirs: bytes | None, *, lose: int = -1, duplicate: int = -1) -> None:
        self.client = PppPeer(PppConfig(methods=(), ipv6=True, interface_identifier=ours), SeededEntropy("client"))
        server = PppConfig(
            role=Role.SERVER,
            methods=(),
            local_address=IPv4Address("10.9.0.1"),
            peer_address=IPv4Address("10.9.0.2"),
            ipv6=True,
            interface_identifier=theirs,
        )
        self.server = PppPeer(server, SeededEntropy("server"))
        self.now = 0.0
        self.frames = 0
        self._faults = {lose: 0, duplicate: 2}
        self.events: dict[PppPeer, list[PppEvent]] = {self.client: [], self.server: []}
        self.client.open(0.0)
        self.server.open(0.0)
        self._settle()

    def _settle(self) -> None:
        while True:
            if self._carry():
                continue
            times = [time for time in (self.client.poll_at(), self.server.poll_at()) if time is not None]
            if not times:
                return
            self.now = max(self.now, min(times))
            assert self.now < 200.0, "never at rest"
            self.client.handle_timer(self.now)
            self.server.handle_timer(self.now)

    def _carry(self) -> bool:
        moved = False
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            self._look(sender)
            for frame in sender.frames_to_send(self.now):
                moved = True
                copies = 1
                if parse_frame(frame)[0] == PROTOCOL_IPV6CP:
                    assert frame[4] != Code.TERMINATE_REQUEST
                    copies = self._faults.get(self.frames, 1)
                    self.frames += 1
                for _ in range(copies):
                    receiver.receive_frame(frame, self.now)
            self._look(receiver)
        return moved

    def _look(self, peer: PppPeer) -> None:
        while (event := peer.next_event()) is not None:
            self.events[peer].append(event)
            if isinstance(event, AuthenticationSucceeded):
                peer.start_network(self.now)

    def identifiers(self, peer: PppPeer) -> tuple[bytes, bytes | None]:
        assert peer.ipv4_open
        assert peer.ipv6_open, self.events[peer]
        assert not any(isinstance(event, Ipv4Closed | Failed) for event in self.events[peer])
        opened = [event for event in self.events[peer] if isinstance(event, Ipv6Opened)]
        return opened[-1].local_identifier, opened[-1].peer_identifier

    def check(self) -> None:
        ours, theirs = self.identifiers(self.client)
        assert self.identifiers(self.server) == (theirs, ours)
        assert ours != theirs
        assert bytes(8) not in (ours, theirs)


IDENTIFIERS = [(None, None), (OURS, THEIRS), (OURS, OURS)]


@pytest.mark.parametrize(("ours", "theirs"), IDENTIFIERS)
def test_both_ends_agree_on_two_different_identifiers(ours: bytes | None, theirs: bytes | None) -> None:
    Ends(ours, theirs).check()


@pytest.mark.parametrize("fault", ["lose", "duplicate"])
@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize(("ours", "theirs"), IDENTIFIERS)
def test_a_fault_of_any_one_message_is_survived(
    ours: bytes | None, theirs: bytes | None, number: int, fault: str
) -> None:
    ends = Ends(ours, theirs, lose=number if fault == "lose" else -1, duplicate=number if fault == "duplicate" else -1)
    ends.check()


def test_the_loss_of_the_lower_layer_closes_both_protocols() -> None:
    ends = Ends(OURS, THEIRS)
    ends.client.lower_layer_down(ends.now)
    closed = [ends.client.next_event(), ends.client.next_event()]
    assert [type(event) for event in closed] == [Ipv6Closed, Ipv4Closed]
