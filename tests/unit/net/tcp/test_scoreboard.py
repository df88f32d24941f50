"""The scoreboard: what was sent when, and what of it arrived (RFC 6675)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.net.tcp.scoreboard import MAXIMUM_RECORDS, Scoreboard

MSS = 10


def board_with(*sizes: int) -> Scoreboard:
    board = Scoreboard()
    for now, size in enumerate(sizes):
        board.sent(size, float(now), MSS)
    return board


def described(board: Scoreboard) -> str:
    return " ".join(map(repr, board.records))


def test_a_burst_of_full_segments_is_one_record() -> None:
    board = Scoreboard()
    for size in (10, 10, 10, 4, 3):
        board.sent(size, 1.0, MSS)
    assert described(board) == "0-34 34-37"
    board.sent(10, 2.0, MSS)
    assert described(board) == "0-34 34-37 37-47"
    assert board.pipe == 47


def test_acknowledgements_take_from_the_front() -> None:
    board = board_with(30, 30)
    delivered = board.acknowledge(40)
    assert [repr(part) for part in delivered] == ["0-30", "30-40"]
    assert described(board) == "40-60"
    assert (board.high_ack, board.pipe) == (40, 20)


def test_blocks_split_and_melt() -> None:
    board = board_with(30, 30, 30)
    assert [repr(part) for part in board.sack(10, 20, MSS)] == ["10-20"]
    assert described(board) == "0-10 10-20S 20-30 30-60 60-90"
    assert board.sack(10, 20, MSS) == []
    assert [repr(part) for part in board.sack(10, 50, MSS)] == ["20-30", "30-50"]
    assert described(board) == "0-10 10-50S 50-60 60-90"
    assert board.sacked == 40
    assert board.segs_sacked() == 4
    # Two blocks become one.
    board.sack(70, 80, MSS)
    board.sack(50, 70, MSS)
    assert described(board) == "0-10 10-80S 80-90"
    assert board.segs_sacked() == 7


def test_what_was_acknowledged_selectively_is_not_delivered_again() -> None:
    board = board_with(30)
    board.sack(10, 20, MSS)
    assert [repr(part) for part in board.acknowledge(25)] == ["0-10", "20-25"]
    assert (board.sacked, board.pipe) == (0, 5)


def test_lost_segments_are_found_in_order_and_cut_at_the_segment_size() -> None:
    board = board_with(25, 10)
    board.sack(25, 35, MSS)
    board.mark_all_lost()
    assert (board.pipe, board.lost) == (0, 25)
    for expected in ((0, 10), (10, 20), (20, 25)):
        assert board.next_lost(MSS) == expected
        board.retransmitted(*expected, 5.0)
    assert board.next_lost(MSS) is None
    assert described(board) == "0-25R 25-35S"
    assert (board.pipe, board.lost) == (25, 0)


def test_small_segments_are_sent_again_together() -> None:
    board = board_with(3, 3, 3, 10)
    board.mark_all_lost()
    assert board.next_lost(MSS) == (0, 10)
    board.retransmitted(0, 10, 5.0)
    assert described(board) == "0-10R 10-19L"


def test_a_peer_that_reneges_is_noticed_at_the_edge_of_its_block() -> None:
    """RFC 2018 section 8."""
    board = board_with(10, 10, 10)
    board.sack(10, 20, MSS)
    assert not board.reneged()
    board.acknowledge(10)
    assert board.reneged()
    board.forget_sacks()
    assert (board.sacked, board.pipe) == (0, 20)
    board.mark_all_lost()
    assert board.next_lost(MSS) == (10, 20)


def test_blocks_outside_of_what_was_sent_mean_nothing() -> None:
    board = board_with(30)
    board.acknowledge(10)
    for start, end in ((0, 10), (30, 40), (100, 200), (20, 20), (25, 15)):
        assert board.sack(start, end, MSS) == []
    assert described(board) == "10-30"


def test_a_peer_cannot_make_records_without_end() -> None:
    board = board_with(10_000)
    for position in range(1, 10_000, 2):
        board.sack(position, position + 1, MSS)
    assert len(board.records) <= MAXIMUM_RECORDS + 10_000 // MSS + 2
    board.acknowledge(10_000)
    assert board.pipe == 0


def test_many_records_of_our_own_making_are_no_reason_to_ignore_blocks() -> None:
    board = Scoreboard()
    for number in range(5000):
        board.sent(MSS, float(number), MSS)
    assert len(board.sack(100, 200, MSS)) == 10


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 40), st.integers(0, 1)),
        st.tuples(st.just("sack"), st.integers(0, 100), st.integers(1, 60)),
        st.tuples(st.just("ack"), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 10), st.just(0)),
        st.tuples(st.just("resend"), st.integers(5, 30), st.just(0)),
        st.tuples(st.just("renege"), st.just(0), st.just(0)),
        st.tuples(st.just("unlose"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(OPERATIONS)
def test_sums_and_records_agree_with_a_model_of_single_octets(operations: list[tuple[str, int, int]]) -> None:
    board = Scoreboard()
    model: dict[int, str] = {}
    now = 0.0
    for verb, first, second in operations:
        una = board.high_ack
        if verb == "send":
            now += second
            for octet in range(board.high_data, board.high_data + first):
                model[octet] = "sent"
            board.sent(first, now, MSS)
        elif verb == "sack":
            news = board.sack(una + first, una + first + second, MSS)
            expected = [n for n in range(una + first, una + first + second) if model.get(n, "sacked") != "sacked"]
            assert [n for part in news for n in range(part.start, part.end)] == expected
            model.update(dict.fromkeys(expected, "sacked"))
        elif verb == "ack":
            count = min(first, board.high_data - una)
            news = board.acknowledge(count)
            fresh = [n for n in range(una, una + count) if model[n] != "sacked"]
            assert [n for part in news for n in range(part.start, part.end)] == fresh
            for octet in range(una, una + count):
                del model[octet]
        elif verb == "lose" and first < len(board.records):
            record = board.records[first]
            if not (record.sacked or record.lost):
                board.mark_lost(record)
                model.update(dict.fromkeys(range(record.start, record.end), "lost"))
        elif verb == "resend":
            found = board.next_lost(first)
            lost = [n for n in sorted(model) if model[n] == "lost"]
            assert (found is None) is (not lost)
            if found is not None:
                assert found[0] == lost[0]
                assert all(model[n] == "lost" for n in range(*found))
                assert found[1] - found[0] == first or model.get(found[1]) != "lost"
                board.retransmitted(*found, now)
                model.update(dict.fromkeys(range(*found), "sent"))
        elif verb == "renege":
            board.forget_sacks()
            model = {n: "sent" if state == "sacked" else state for n, state in model.items()}
        elif verb == "unlose":
            board.forget_losses()
            model = {n: "sent" if state == "lost" else state for n, state in model.items()}
        edges = [board.high_ack, *(record.end for record in board.records)]
        assert edges == [*(record.start for record in board.records), board.high_data]
        states = {
            n: "sacked" if record.sacked else "lost" if record.lost else "sent"
            for record in board.records
            for n in range(record.start, record.end)
        }
        assert states == model
        assert board.sacked == sum(state == "sacked" for state in model.values())
        assert board.lost == sum(state == "lost" for state in model.values())
        assert board.pipe == sum(state == "sent" for state in model.values())
