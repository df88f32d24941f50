"""The link: SSTP and PPP together, client against server in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import (
    AuthenticationFailed,
    CallRejected,
    NegotiationFailed,
    PeerUnresponsive,
    TunnelClosed,
    TunnelError,
)
from sstpsocks.link import (
    CredentialsWanted,
    Ipv6Down,
    Ipv6Up,
    Link,
    LinkDown,
    LinkFailing,
    LinkPhase,
    LinkUp,
    PhaseEntered,
)
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.packet import build_frame
from sstpsocks.sstp.packet import HashProtocol, encode_data
from tests.helpers.link_pair import CLIENT_ADDRESS, SERVER_ADDRESS, LinkPair, make_client, make_server

IP_PACKET = bytes.fromhex("4500001c00000000401166cd0a0000020a0000010035003500080000")

IPV6_PACKET = bytes.fromhex("6000000000003b40") + bytes(15) + b"\1" + bytes(15) + b"\2"


def open_ipv6(pair: LinkPair, *, opened: bool) -> None:
    """As IPV6CP would, in whatever state it really is."""
    pair.client.ppp.network.ipv6_open = pair.server.ppp.network.ipv6_open = opened


def connected() -> LinkPair:
    pair = LinkPair(make_client(), make_server())
    pair.run(1)
    assert pair.client.phase is LinkPhase.UP
    assert pair.server.phase is LinkPhase.UP
    return pair


@pytest.mark.parametrize("method", list(AuthMethod))
@pytest.mark.parametrize("hashes", [HashProtocol.SHA256, HashProtocol.SHA1])
def test_comes_up_with_every_method_and_hash(method: AuthMethod, hashes: HashProtocol) -> None:
    pair = LinkPair(make_client(methods=(method,)), make_server(methods=(method,), hashes=hashes))
    pair.run(1)
    up = pair.up(pair.client)
    assert (up.local, up.peer, up.dns) == (CLIENT_ADDRESS, SERVER_ADDRESS, (SERVER_ADDRESS,))
    assert pair.up(pair.server).username == "alice"
    phases = [event.phase for event in pair.events[pair.client] if isinstance(event, PhaseEntered)]
    assert phases == [LinkPhase.LCP, LinkPhase.AUTHENTICATION, LinkPhase.ADDRESSES]


def test_carries_ip_packets_both_ways() -> None:
    pair = connected()
    packets = [IP_PACKET, IP_PACKET * 40, b"E" * 1400]
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        pair.deliver(receiver, sender.frame_packets(packets))
        assert pair.packets[receiver] == packets


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_packets_survive_any_fragmentation_of_the_stream(cuts: list[int]) -> None:
    pair = connected()
    packets = [bytes([0x45, index]) + bytes(index % 50) for index in range(40)]
    stream = pair.server.frame_packets(packets)
    position = 0
    for index in range(len(stream)):
        size = cuts[index % len(cuts)]
        pair.deliver(pair.client, stream[position : position + size])
        position += size
    assert pair.packets[pair.client] == packets


def test_carries_both_ip_versions_in_order_once_ipv6cp_is_open() -> None:
    pair = connected()
    packets = [IP_PACKET, IPV6_PACKET, IPV6_PACKET + bytes(900), IP_PACKET * 2, IPV6_PACKET]
    open_ipv6(pair, opened=True)
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        stream = sender.frame_packets(packets)
        assert stream.count(b"\xff\x03\x00\x57\x60") == 3
        pair.deliver(receiver, stream)
        assert pair.packets[receiver] == packets


@pytest.mark.parametrize(("client", "server"), [(True, True), (True, False), (False, True)])
def test_ipv6_comes_up_when_both_ends_have_it(client: bool, server: bool) -> None:
    pair = LinkPair(make_client(ipv6=client), make_server(ipv6=server))
    pair.run(60.0)
    for link in (pair.client, pair.server):
        assert link.phase is LinkPhase.UP
        opened = [event for event in pair.events[link] if isinstance(event, Ipv6Up)]
        assert bool(opened) is (client and server)
    if client and server:
        pair.deliver(pair.server, pair.client.frame_packets([IPV6_PACKET]))
        assert pair.packets[pair.server] == [IPV6_PACKET]


def test_the_end_of_ipv6_is_told_and_nothing_else_ends() -> None:
    pair = LinkPair(make_client(ipv6=True), make_server(ipv6=True))
    pair.run(1.0)
    terminate_request = bytes.fromhex("ff0380570509 0004")
    pair.deliver(pair.client, encode_data(terminate_request))
    pair.exchange()
    assert isinstance(pair.events[pair.client][-1], Ipv6Down)
    assert pair.client.phase is LinkPhase.UP
    assert pair.client.frame_packets([IPV6_PACKET]) == b""


def test_ipv6_does_not_pass_before_ipv6cp_is_open() -> None:
    """RFC 5072 section 2."""
    pair = connected()
    open_ipv6(pair, opened=False)
    assert pair.client.frame_packets([IPV6_PACKET, IP_PACKET]) == pair.client.frame_packets([IP_PACKET])
    forms = [b"\xff\x03\x00\x57", b"\x00\x57", b"\x57"]
    pair.deliver(pair.client, b"".join(encode_data(form + IPV6_PACKET) for form in forms))
    assert pair.packets[pair.client] == []
    assert pair.client.phase is LinkPhase.UP


def test_accepts_compressed_ipv6_frames() -> None:
    pair = connected()
    open_ipv6(pair, opened=True)
    forms = [b"\xff\x03\x00\x57", b"\x00\x57", b"\x57", b"\xff\x03\x57"]
    pair.deliver(pair.client, b"".join(encode_data(form + IPV6_PACKET) for form in forms))
    assert pair.packets[pair.client] == [IPV6_PACKET] * 4


def test_accepts_compressed_ip_frames() -> None:
    """A peer that compresses headers although we never asked for it (field notes 2.10) is understood."""
    pair = connected()
    forms = [b"\xff\x03\x00\x21", b"\x00\x21", b"\x21", b"\xff\x03\x21"]
    pair.deliver(pair.client, b"".join(encode_data(form + IP_PACKET) for form in forms))
    assert pair.packets[pair.client] == [IP_PACKET] * 4


def test_reserved_bits_are_ignored() -> None:
    pair = connected()
    packet = bytearray(pair.server.frame_packets([IP_PACKET]))
    packet[1] |= 0xFE
    packet[2] |= 0xF0
    pair.deliver(pair.client, bytes(packet))
    assert pair.packets[pair.client] == [IP_PACKET]


def test_ip_before_the_link_is_up_is_dropped() -> None:
    pair = LinkPair(make_client(), make_server())
    pair.deliver(pair.client, encode_data(build_frame(0x21, IP_PACKET)))
    pair.run(1)
    assert pair.packets[pair.client] == []
    assert pair.client.phase is LinkPhase.UP


def test_wrong_password_is_authentication_failed() -> None:
    pair = LinkPair(make_client("wrong"), make_server())
    pair.run(10)
    error = pair.client.error
    assert isinstance(error, AuthenticationFailed)
    assert error.code == 691
    assert "secret" not in str(error)
    assert pair.events[pair.client][-1] == LinkDown(error)


def test_wrong_certificate_is_named_as_the_cause() -> None:
    """A TLS inspector in between: the binding does not match, and the server aborts."""
    pair = LinkPair(make_client(certificate=b"the inspector's"), make_server())
    pair.run(10)
    assert isinstance(pair.client.error, CallRejected)
    assert "certificate" in str(pair.client.error)
    assert not any(isinstance(event, LinkUp) for event in pair.events[pair.server])


def test_close_ends_both_sides_in_order() -> None:
    pair = connected()
    pair.client.close(pair.now)
    pair.run(5)
    assert pair.events[pair.client][-1] == LinkDown(None)
    assert pair.client.error is None
    assert isinstance(pair.server.error, TunnelClosed)


def test_server_that_closes_is_tunnel_closed() -> None:
    pair = connected()
    pair.server.close(pair.now)
    pair.run(5)
    assert isinstance(pair.client.error, TunnelClosed)
    assert any(isinstance(event, LinkFailing) for event in pair.events[pair.client])


def test_silent_server_is_unresponsive_after_two_hello_intervals() -> None:
    pair = connected()
    pair.change = lambda sender, data: data if sender is pair.client else b""
    silent_since = pair.now
    pair.run(60)
    assert isinstance(pair.client.error, PeerUnresponsive)
    assert pair.events[pair.client][-1] == LinkDown(pair.client.error)
    assert pair.now - silent_since == 60


def test_server_that_answers_only_lcp_echoes_is_alive() -> None:
    """Field notes, quirk 4: SoftEther never answers an SSTP Echo-Request."""
    pair = connected()
    echo_response = bytes.fromhex("1001000800090000")
    pair.change = lambda _sender, data: b"" if data == echo_response else data
    pair.run(300)
    assert pair.client.phase is LinkPhase.UP


def test_silent_server_during_lcp_is_negotiation_failed() -> None:
    pair = LinkPair(make_client(), make_server())
    pair.change = lambda sender, data: data if sender is pair.client or data[1] == 1 else b""
    pair.run(120)
    assert isinstance(pair.client.error, NegotiationFailed)
    assert pair.client.error.protocol == "lcp"


def test_broken_stream_ends_the_link_at_once() -> None:
    pair = connected()
    pair.client.receive_data(b"HTTP/1.1 500\r\n", pair.now)
    assert pair.client.phase is LinkPhase.CLOSED
    assert isinstance(pair.client.error, TunnelClosed)
    assert pair.client.poll_at() is None


def test_lost_transport_sends_nothing_more() -> None:
    pair = connected()
    pair.client.data_to_send(pair.now)
    pair.client.transport_lost(TunnelClosed("gone"), pair.now)
    assert pair.client.data_to_send(pair.now) == []
    assert str(pair.client.error) == "gone"


def test_retry_with_other_credentials() -> None:
    """A server that allows another try (R=1): the first Failure is rewritten, what follows it is held back."""
    pair = LinkPair(make_client("wrong"), make_server())
    rewritten = False

    def allow_retry(sender: Link, data: bytes) -> bytes:
        nonlocal rewritten
        if rewritten and sender is pair.server:
            return b""
        rewritten = rewritten or b"E=691 R=0" in data
        return data.replace(b"E=691 R=0", b"E=691 R=1")

    pair.change = allow_retry
    pair.exchange()
    (wanted,) = [event for event in pair.events[pair.client] if isinstance(event, CredentialsWanted)]
    assert wanted.code == 691
    assert pair.client.error is None
    pair.client.retry_authentication(Credentials("alice", "secret"), pair.now)
    assert pair.client.data_to_send(pair.now)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), when=st.integers(0, 8))
def test_nothing_a_server_sends_escapes_as_an_exception(data: bytes, when: int) -> None:
    pair = LinkPair(make_client(), make_server())
    for _ in range(when):
        for packet in pair.client.data_to_send(pair.now):
            pair.deliver(pair.server, packet)
        for packet in pair.server.data_to_send(pair.now):
            pair.deliver(pair.client, packet)
    pair.deliver(pair.client, data)
    pair.deliver(pair.client, encode_data(data))
    pair.run(200)
    error = pair.client.error
    assert error is None or isinstance(error, TunnelError)


@settings(max_examples=40, deadline=None)
@given(lost=st.integers(0, 40))
def test_any_single_lost_message_ends_up_connected_or_closed(lost: int) -> None:
    pair = LinkPair(make_client(), make_server())
    count = 0

    def lose(_sender: Link, data: bytes) -> bytes:
        nonlocal count
        count += 1
        return b"" if count - 1 == lost else data

    pair.change = lose
    pair.run(200)
    assert pair.client.phase in (LinkPhase.UP, LinkPhase.CLOSED)
    assert pair.server.phase in (LinkPhase.UP, LinkPhase.CLOSED, LinkPhase.SSTP)


def test_close_disconnects_sstp_even_when_ppp_gets_no_answer() -> None:
    """A server that falls silent still hears CALL_DISCONNECT, soon enough for a short farewell."""
    pair = connected()
    begin = pair.now
    disconnected_at: list[float] = []

    def change(sender: Link, data: bytes) -> bytes:
        if sender is pair.client and data == bytes.fromhex("1001001400060001") + data[8:]:
            disconnected_at.append(pair.now - begin)
        return b"" if sender is pair.server else data

    pair.change = change
    pair.client.close(pair.now)
    pair.run(20)
    assert disconnected_at
    assert disconnected_at[0] <= 2
    assert pair.events[pair.client][-1] == LinkDown(None)


def test_a_link_that_is_ending_carries_no_ip() -> None:
    pair = connected()
    assert pair.client.carries_ip
    pair.server.sstp.disconnect(pair.now)
    pair.exchange()
    assert isinstance(pair.client.error, TunnelClosed)
    assert not pair.client.carries_ip


def test_a_witness_tells_how_far_the_server_has_read() -> None:
    """The LCP Echo-Reply comes in order behind what the server relays (net/outer.py)."""
    pair = connected()
    pair.now += 5
    pair.client.send_witness(pair.now)
    sent_at = pair.now
    pair.client.send_witness(pair.now + 0.1)
    assert pair.client.answered_through < sent_at
    pair.now += 1
    pair.exchange()
    assert pair.client.answered_through == sent_at
