"""The option negotiation automaton of RFC 1661 section 4, shared by LCP and every NCP.

The table is the one of section 4.1, cell by cell and in its notation. This file knows neither packets nor options: it
says what to do (Action) and keeps the Restart counter and the Restart timer; control.py does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from ..errors import LocalProtocolError


class State(IntEnum):
    """The states of section 4.2, with the numbers of the table."""

    INITIAL = 0
    STARTING = 1
    CLOSED = 2
    STOPPED = 3
    CLOSING = 4
    STOPPING = 5
    REQ_SENT = 6
    ACK_RCVD = 7
    ACK_SENT = 8
    OPENED = 9


class Event(Enum):
    """The events of section 4.3."""

    UP = "Up"
    DOWN = "Down"
    OPEN = "Open"
    CLOSE = "Close"
    TO_PLUS = "TO+"
    TO_MINUS = "TO-"
    RCR_PLUS = "RCR+"
    RCR_MINUS = "RCR-"
    RCA = "RCA"
    RCN = "RCN"
    RTR = "RTR"
    RTA = "RTA"
    RUC = "RUC"
    RXJ_PLUS = "RXJ+"
    RXJ_MINUS = "RXJ-"
    RXR = "RXR"


class Action(Enum):
    """The actions of section 4.4."""

    TLU = "tlu"
    """This-Layer-Up."""
    TLD = "tld"
    """This-Layer-Down."""
    TLS = "tls"
    """This-Layer-Started."""
    TLF = "tlf"
    """This-Layer-Finished."""
    IRC = "irc"
    """Initialize-Restart-Count; done here."""
    ZRC = "zrc"
    """Zero-Restart-Count; done here."""
    SCR = "scr"
    """Send-Configure-Request."""
    SCA = "sca"
    """Send-Configure-Ack."""
    SCN = "scn"
    """Send-Configure-Nak or Reject."""
    STR = "str"
    """Send-Terminate-Request."""
    STA = "sta"
    """Send-Terminate-Ack."""
    SCJ = "scj"
    """Send-Code-Reject."""
    SER = "ser"
    """Send-Echo-Reply."""


# RFC 1661 section 4.1, in its two halves. "-" cannot occur. Footnotes: r, the Restart option, and p, the Passive
# option, are not implemented, as the section allows; x, a Crossed connection, needs nothing more than the cell says.
# fmt: off
_LEFT_HALF: dict[Event, tuple[str, ...]] = {
    #                  0        1            2            3                4        5
    #                  Initial  Starting     Closed       Stopped          Closing  Stopping
    Event.UP:        ("2",     "irc,scr/6", "-",         "-",             "-",     "-"),
    Event.DOWN:      ("-",     "-",         "0",         "tls/1",         "0",     "1"),
    Event.OPEN:      ("tls/1", "1",         "irc,scr/6", "3r",            "5r",    "5r"),
    Event.CLOSE:     ("0",     "tlf/0",     "2",         "2",             "4",     "4"),
    Event.TO_PLUS:   ("-",     "-",         "-",         "-",             "str/4", "str/5"),
    Event.TO_MINUS:  ("-",     "-",         "-",         "-",             "tlf/2", "tlf/3"),
    Event.RCR_PLUS:  ("-",     "-",         "sta/2",     "irc,scr,sca/8", "4",     "5"),
    Event.RCR_MINUS: ("-",     "-",         "sta/2",     "irc,scr,scn/6", "4",     "5"),
    Event.RCA:       ("-",     "-",         "sta/2",     "sta/3",         "4",     "5"),
    Event.RCN:       ("-",     "-",         "sta/2",     "sta/3",         "4",     "5"),
    Event.RTR:       ("-",     "-",         "sta/2",     "sta/3",         "sta/4", "sta/5"),
    Event.RTA:       ("-",     "-",         "2",         "3",             "tlf/2", "tlf/3"),
    Event.RUC:       ("-",     "-",         "scj/2",     "scj/3",         "scj/4", "scj/5"),
    Event.RXJ_PLUS:  ("-",     "-",         "2",         "3",             "4",     "5"),
    Event.RXJ_MINUS: ("-",     "-",         "tlf/2",     "tlf/3",         "tlf/2", "tlf/3"),
    Event.RXR:       ("-",     "-",         "2",         "3",             "4",     "5"),
}
_RIGHT_HALF: dict[Event, tuple[str, ...]] = {
    #                  6            7            8            9
    #                  Req-Sent     Ack-Rcvd     Ack-Sent     Opened
    Event.UP:        ("-",         "-",         "-",         "-"),
    Event.DOWN:      ("1",         "1",         "1",         "tld/1"),
    Event.OPEN:      ("6",         "7",         "8",         "9r"),
    Event.CLOSE:     ("irc,str/4", "irc,str/4", "irc,str/4", "tld,irc,str/4"),
    Event.TO_PLUS:   ("scr/6",     "scr/6",     "scr/8",     "-"),
    Event.TO_MINUS:  ("tlf/3p",    "tlf/3p",    "tlf/3p",    "-"),
    Event.RCR_PLUS:  ("sca/8",     "sca,tlu/9", "sca/8",     "tld,scr,sca/8"),
    Event.RCR_MINUS: ("scn/6",     "scn/7",     "scn/6",     "tld,scr,scn/6"),
    Event.RCA:       ("irc/7",     "scr/6x",    "irc,tlu/9", "tld,scr/6x"),
    Event.RCN:       ("irc,scr/6", "scr/6x",    "irc,scr/8", "tld,scr/6x"),
    Event.RTR:       ("sta/6",     "sta/6",     "sta/6",     "tld,zrc,sta/5"),
    Event.RTA:       ("6",         "6",         "8",         "tld,scr/6"),
    Event.RUC:       ("scj/6",     "scj/7",     "scj/8",     "scj/9"),
    Event.RXJ_PLUS:  ("6",         "6",         "8",         "9"),
    Event.RXJ_MINUS: ("tlf/3",     "tlf/3",     "tlf/3",     "tld,irc,str/5"),
    Event.RXR:       ("6",         "7",         "8",         "ser/9"),
}
# fmt: on

# RFC 1661 section 4.1: the states in which the Restart timer is running.
TIMED_STATES = frozenset({State.CLOSING, State.STOPPING, State.REQ_SENT, State.ACK_RCVD, State.ACK_SENT})

LOCAL_EVENTS = frozenset({Event.UP, Event.DOWN, Event.OPEN, Event.CLOSE, Event.TO_PLUS, Event.TO_MINUS})

# RFC 1661 section 4.6: the defaults.
RESTART_TIMER = 3.0
MAX_TERMINATE = 2
MAX_CONFIGURE = 10
MAX_FAILURE = 5

# After a Terminate-Request of the peer the RFC wants a pause "for at least one Restart time [...] to allow the peer to
# receive" our Terminate-Ack. The carrier is TCP, so that a second is plenty; SoftEther's farewell comes after 0.7 s.
TERMINATE_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Transition:
    """One cell of the table."""

    actions: tuple[Action, ...]
    next_state: State


def _parse_cell(cell: str) -> Transition | None:
    if cell == "-":
        return None
    actions, _, state = cell.rpartition("/")
    names = actions.split(",") if actions else []
    return Transition(tuple(Action(name) for name in names), State(int(state.rstrip("rpx"))))


TRANSITIONS: dict[tuple[State, Event], Transition | None] = {
    (State(number), event): _parse_cell(cell)
    for event in Event
    for number, cell in enumerate(_LEFT_HALF[event] + _RIGHT_HALF[event])
}


class Automaton:
    """The state, the Restart counter and the Restart timer of one control protocol."""

    __slots__ = ("_max_configure", "_max_terminate", "_restart_timer", "expires_at", "restart_counter", "state")

    def __init__(
        self,
        *,
        restart_timer: float = RESTART_TIMER,
        max_configure: int = MAX_CONFIGURE,
        max_terminate: int = MAX_TERMINATE,
    ) -> None:
        self._restart_timer = restart_timer
        self._max_configure = max_configure
        self._max_terminate = max_terminate
        self.state = State.INITIAL
        """Where the negotiation stands."""
        self.restart_counter = 0
        """How many more requests may be sent before the next time-out is TO-."""
        self.expires_at: float | None = None
        """When the Restart timer expires; None when it is not running."""

    def __repr__(self) -> str:
        """Show the state."""
        return f"<Automaton {self.state.name} restart_counter={self.restart_counter} expires_at={self.expires_at}>"

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        """Move to the next state and return the actions to do, in order.

        A packet of the peer where the table says "-" is ignored; our own events there raise LocalProtocolError.
        """
        transition = TRANSITIONS[self.state, event]
        if transition is None:
            if event in LOCAL_EVENTS:
                raise LocalProtocolError(f"{event.value} cannot occur in state {self.state.name}", layer="ppp")
            return ()
        for action in transition.actions:
            if action is Action.IRC:
                # "sets the Restart counter to the appropriate value (Max-Terminate or Max-Configure)".
                terminating = Action.STR in transition.actions
                self.restart_counter = self._max_terminate if terminating else self._max_configure
            elif action is Action.ZRC:
                self.restart_counter = 0
                self.expires_at = now + min(TERMINATE_PAUSE, self._restart_timer)
            elif action in {Action.SCR, Action.STR}:
                # "The counter is decremented for each transmission, including the first."
                self.restart_counter -= 1
                self.expires_at = now + self._restart_timer
        self.state = transition.next_state
        if self.state not in TIMED_STATES:
            self.expires_at = None
        return transition.actions

    def expired(self, now: float) -> Event | None:
        """Return TO+ or TO- when the Restart timer has expired, otherwise None."""
        if self.expires_at is None or now < self.expires_at:
            return None
        return Event.TO_PLUS if self.restart_counter > 0 else Event.TO_MINUS
