from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import LocalProtocolError
from sstpsocks.ppp.automaton import LOCAL_EVENTS, TIMED_STATES, TRANSITIONS, Action, Automaton, Event, State


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == {(state, event) for state in State for event in Event}
    assert len(TRANSITIONS) == 10 * 16


def test_only_the_cells_that_rfc_1661_marks_cannot_occur() -> None:
    impossible = {key for key, transition in TRANSITIONS.items() if transition is None}
    below = {State.INITIAL, State.STARTING}
    remote = set(Event) - LOCAL_EVENTS
    expected = {(state, event) for state in below for event in remote}
    expected |= {(state, Event.UP) for state in set(State) - {State.INITIAL, State.STARTING}}
    expected |= {(state, Event.DOWN) for state in below}
    expected |= {(s, e) for s in set(State) - TIMED_STATES for e in (Event.TO_PLUS, Event.TO_MINUS)}
    expected -= {(State.INITIAL, Event.UP), (State.STARTING, Event.UP)}
    assert impossible == expected


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_layers_go_up_and_down_in_pairs(state: State, event: Event) -> None:
    transition = TRANSITIONS[state, event]
    if transition is None:
        return
    enters = state is not State.OPENED and transition.next_state is State.OPENED
    leaves = state is State.OPENED and transition.next_state is not State.OPENED
    assert (Action.TLU in transition.actions) == enters
    assert (Action.TLD in transition.actions) == leaves


def test_an_event_of_ours_that_cannot_occur_is_our_error_and_the_peers_is_ignored() -> None:
    automaton = Automaton()
    with pytest.raises(LocalProtocolError):
        automaton.handle(Event.DOWN, 0.0)
    assert automaton.handle(Event.RCR_PLUS, 0.0) == ()
    assert automaton.state is State.INITIAL


def test_ten_requests_then_the_layer_is_finished() -> None:
    automaton = Automaton(restart_timer=3.0, max_configure=10)
    automaton.handle(Event.OPEN, 0.0)
    requests = automaton.handle(Event.UP, 0.0).count(Action.SCR)
    now = 0.0
    while (due := automaton.expires_at) is not None:
        assert automaton.expired(due - 0.001) is None
        now = due
        event = automaton.expired(now)
        assert event is not None
        requests += automaton.handle(event, now).count(Action.SCR)
    assert requests == 10
    assert now == 30.0
    assert automaton.state is State.STOPPED


def test_two_terminate_requests_then_closed() -> None:
    automaton = Automaton(restart_timer=3.0, max_terminate=2)
    automaton.handle(Event.OPEN, 0.0)
    automaton.handle(Event.UP, 0.0)
    sent = automaton.handle(Event.CLOSE, 0.0).count(Action.STR)
    now = 0.0
    while (due := automaton.expires_at) is not None:
        now = due
        event = automaton.expired(now)
        assert event is not None
        sent += automaton.handle(event, now).count(Action.STR)
    assert (sent, now, automaton.state) == (2, 6.0, State.CLOSED)


def test_after_the_peers_terminate_request_a_pause_and_then_stopped() -> None:
    automaton = Automaton(restart_timer=3.0)
    for event in (Event.OPEN, Event.UP, Event.RCR_PLUS, Event.RCA):
        automaton.handle(event, 0.0)
    assert automaton.state is State.OPENED
    assert automaton.handle(Event.RTR, 10.0) == (Action.TLD, Action.ZRC, Action.STA)
    assert automaton.expires_at == 11.0
    assert automaton.expired(11.0) is Event.TO_MINUS


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(Event), max_size=40))
def test_the_restart_timer_runs_exactly_in_the_states_that_need_it(events: list[Event]) -> None:
    automaton = Automaton()
    for now, event in enumerate(events):
        if TRANSITIONS[automaton.state, event] is not None:
            automaton.handle(event, float(now))
        assert (automaton.expires_at is not None) == (automaton.state in TIMED_STATES)
