"""The deadline queue: order, moving, removal, and that it does not grow with moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.timers import TimerQueue


def test_empty_queue_has_no_deadline() -> None:
    queue: TimerQueue[str] = TimerQueue()
    assert queue.next_deadline() is None
    assert queue.pop_due(1e9) == []


def test_due_keys_come_earliest_first_and_only_once() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.set("b", 2.0)
    queue.set("a", 1.0)
    queue.set("c", 3.0)
    assert queue.next_deadline() == 1.0
    assert queue.pop_due(2.0) == ["a", "b"]
    assert queue.pop_due(2.0) == []
    assert queue.next_deadline() == 3.0


def test_a_deadline_moved_later_does_not_fire_at_the_old_time() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.set("a", 1.0)
    queue.set("a", 5.0)
    assert queue.next_deadline() == 5.0
    assert queue.pop_due(4.9) == []
    assert queue.pop_due(5.0) == ["a"]


def test_a_deadline_moved_earlier_fires_then_and_not_again() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.set("a", 5.0)
    queue.set("a", 1.0)
    assert queue.pop_due(1.0) == ["a"]
    assert queue.pop_due(10.0) == []


def test_a_removed_deadline_never_fires_and_can_be_set_again() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.set("a", 1.0)
    queue.set("a", None)
    assert queue.next_deadline() is None
    queue.set("a", 1.0)
    assert queue.pop_due(1.0) == ["a"]
    assert len(queue) == 0


def test_moves_and_removals_do_not_grow_the_heap() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for step in range(20_000):
        queue.set(step % 7, 20_000.0 - step)
        queue.set(100 + step, 50_000.0)
        queue.set(100 + step, None)
    assert len(queue._heap) < 200


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 50))),
            st.tuples(st.just(-1), st.integers(0, 50)),
        ),
        max_size=60,
    )
)
def test_it_behaves_like_a_plain_dictionary_of_deadlines(steps: list[tuple[int, int | None]]) -> None:
    queue: TimerQueue[int] = TimerQueue()
    model: dict[int, float] = {}
    for key, value in steps:
        if key == -1:
            assert value is not None
            due = queue.pop_due(value)
            assert sorted(due) == sorted(k for k, deadline in model.items() if deadline <= value)
            assert [model[k] for k in due] == sorted(model[k] for k in due)
            for k in due:
                del model[k]
        else:
            queue.set(key, value)
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert queue.next_deadline() == min(model.values(), default=None)
