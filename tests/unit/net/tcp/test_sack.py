"""Selective acknowledgements, the receiver's side: RFC 2018."""

from __future__ import annotations

import pytest

from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.segment import parse_segment, sack_option, syn_options
from tests.helpers.tcp_peer import MSS, Peer, established, syn_sent

SIZE = 500
"""RFC 2018 section 4: "the left window edge is 5000 and … the data transmitter sends a burst of 8 segments, each
containing 500 data bytes"."""


class Receiver:
    """Our end as the data receiver of RFC 2018's examples; the numbers are theirs."""

    def __init__(self) -> None:
        self.peer = established(sack=True)

    def arrives(self, seq: int, size: int = SIZE) -> None:
        self.peer.send(".", seq - 4999, 1, bytes(size))

    def acknowledges(self, ack: int, *blocks: tuple[int, int]) -> None:
        sent = self.peer.take()
        assert len(sent) == 1
        assert sent[0].ack + 4999 == ack
        assert [(start + 4999, end + 4999) for start, end in sent[0].sack] == list(blocks)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


# Negotiation: section 2


def test_our_syn_permits_sack() -> None:
    peer = Peer()
    peer.connection.open_active(peer.now)
    assert peer.take()[0].options[4] == b""


def test_a_setting_turns_it_off() -> None:
    peer = Peer(TcpConfig(selective_acknowledgments=False))
    peer.connection.open_active(peer.now)
    assert 4 not in peer.take()[0].options
    peer.send("S.", 0, 1, options=syn_options(MSS, None, sack_permitted=True))
    assert not peer.connection.sack_permitted


@pytest.mark.parametrize("permitted", [True, False])
def test_the_answer_to_a_syn_permits_what_the_syn_permitted(permitted: bool) -> None:
    peer = syn_sent()
    peer.send("S", 0, options=syn_options(MSS, None, sack_permitted=permitted))
    assert (4 in peer.take()[0].options) is permitted


def test_a_peer_that_did_not_permit_it_gets_none() -> None:
    peer = established()
    peer.send(".", 1001, 1, bytes(SIZE))
    assert peer.expect(".", 1, 1).options == {}


# The examples of section 4


def test_case_1_the_first_four_arrive_and_the_rest_is_lost(receiver: Receiver) -> None:
    """ "The data receiver will return a normal TCP ACK segment acknowledging sequence number 7000, with no SACK"."""
    for seq in (5000, 5500, 6000, 6500):
        receiver.arrives(seq)
    receiver.acknowledges(7000)


def test_case_2_the_first_is_lost_and_seven_arrive(receiver: Receiver) -> None:
    for seq in range(5500, 9000, SIZE):
        receiver.arrives(seq)
        receiver.acknowledges(5000, (5500, seq + SIZE))


def test_case_3_every_second_is_lost_and_two_come_late(receiver: Receiver) -> None:
    receiver.arrives(5000)
    receiver.peer.wait(0.1)
    receiver.acknowledges(5500)
    receiver.arrives(6000)
    receiver.acknowledges(5500, (6000, 6500))
    receiver.arrives(7000)
    receiver.acknowledges(5500, (7000, 7500), (6000, 6500))
    receiver.arrives(8000)
    receiver.acknowledges(5500, (8000, 8500), (7000, 7500), (6000, 6500))
    # "Suppose at this point, the 4th packet is received out of order."
    receiver.arrives(6500)
    receiver.acknowledges(5500, (6000, 7500), (8000, 8500))
    # "Suppose at this point, the 2nd segment is received."
    receiver.arrives(5500)
    receiver.acknowledges(7500, (8000, 8500))


# The order and number of blocks


def test_no_more_than_four_blocks_the_latest_first(receiver: Receiver) -> None:
    for seq in range(6000, 12_000, 1000):
        receiver.arrives(seq)
    receiver.acknowledges(5000, (11_000, 11_500), (10_000, 10_500), (9000, 9500), (8000, 8500))


def test_a_block_that_grows_is_reported_first(receiver: Receiver) -> None:
    for seq in (6000, 7000, 8000, 6500):
        receiver.arrives(seq)
    receiver.acknowledges(5000, (6000, 7500), (8000, 8500))
    receiver.arrives(9000)
    receiver.acknowledges(5000, (9000, 9500), (6000, 7500), (8000, 8500))


def test_older_blocks_fill_the_option_when_later_ones_are_gone(receiver: Receiver) -> None:
    for seq in range(6000, 13_000, 1000):
        receiver.arrives(seq)
    receiver.peer.take()
    # The four that were reported last become one.
    for seq in (11_500, 10_500, 9500):
        receiver.arrives(seq)
    receiver.acknowledges(5000, (9000, 12_500), (6000, 6500), (7000, 7500), (8000, 8500))


def test_the_report_goes_out_before_data_that_waits() -> None:
    peer = established(sack=True)
    peer.connection.send(b"data", peer.now)
    peer.send(".", 1001, 1, bytes(SIZE))
    report, data = peer.take()
    assert (report.payload, report.ack, report.sack) == (b"", 1, [(1001, 1501)])
    assert (data.payload, data.options) == (b"data", {})


def test_no_blocks_when_everything_is_in_order_again(receiver: Receiver) -> None:
    receiver.arrives(5500)
    receiver.acknowledges(5000, (5500, 6000))
    receiver.arrives(5000)
    receiver.acknowledges(6000)


# The option on the wire


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_option_is_read_as_it_was_written(count: int) -> None:
    peer = established()
    blocks = tuple((1000 * number, 0xFFFFFFFF - number) for number in range(count))
    option = sack_option(blocks)
    assert len(option) % 4 == 0
    packet = peer.packet(".", 1, 1, options=option)
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert segment.sack == blocks


@pytest.mark.parametrize("option", [b"\x01\x05\x02\x00", b"\x05\x07" + bytes(6), b"\x05\x22" + bytes(10)])
def test_an_option_of_impossible_length_is_ignored(option: bytes) -> None:
    peer = established()
    packet = peer.packet(".", 1, 1, options=option)
    segment = parse_segment(packet, 20, len(packet))
    assert segment is not None
    assert segment.sack == ()
