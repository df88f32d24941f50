"""The life of a tunnel as one state machine, without IO: when to dial, when to wait, when to stop.

================  ==========================================================================================
state             what happens -> next state
================  ==========================================================================================
connecting        connected() -> up;  asking() -> waiting;
                  failed() -> stopped, as the first connect tells its caller; on demand as in reconnecting
up                suspected() -> degraded;  lost() -> reconnecting, or stopped;  unused() -> idle (on demand)
degraded          answered() -> up;  lost(), unused() as in up
reconnecting      connected() -> up;  asking() -> waiting;
                  failed() -> reconnecting, stopped, or idle (on demand, when nobody waits for it)
waiting           given() -> the state before;  failed() as in that
idle              wanted() -> connecting
stopped           nothing: for good
================  ==========================================================================================

``end()`` leads from every state to stopped. A loss or a failed try stops it when dialling again is not wanted, makes no
sense (a refused password or certificate: repeating those locks accounts), or would be beyond the budget.

The first try after a loss comes at once, the next ones after 0.5 to 1 s while people wait, and after five minutes after
15 to 30 s. The jitter keeps the many clients of one server from returning in step. A tunnel that stood for less than
ten seconds counts as another failed try: a server that ends each at once is not dialled, and logged in to, without a
pause. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base.entropy import Entropy, random_below
from ..errors import LocalProtocolError, SstpsocksError, TunnelError
from .states import TunnelStatus

EAGER_PERIOD = 300.0
EAGER_DELAY = 1.0
PATIENT_DELAY = 30.0
STABLE_PERIOD = 10.0

_DIALLING = (TunnelStatus.CONNECTING, TunnelStatus.RECONNECTING)
_STANDING = (TunnelStatus.UP, TunnelStatus.DEGRADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectPolicy:
    """What is wanted after a loss."""

    reconnect: bool = True
    budget: float | None = None
    """Seconds after a loss during which it is dialled again; None: for ever."""
    on_demand: bool = False
    """Dial when somebody wants it, and not before."""


def retry_delay(elapsed: float, attempt: int, entropy: Entropy) -> float:
    """Return how long to wait before try number ``attempt`` (from 0), ``elapsed`` seconds after the loss."""
    if attempt == 0:
        return 0.0
    longest = EAGER_DELAY if elapsed < EAGER_PERIOD else PATIENT_DELAY
    return longest * (0.5 + random_below(entropy, 1000) / 2000)


class Lifecycle:
    """The machine; its owner does what ``status`` and ``dial_at`` say, and tells it what came of it."""

    def __init__(self, policy: ReconnectPolicy, entropy: Entropy) -> None:
        self.status = TunnelStatus.IDLE if policy.on_demand else TunnelStatus.CONNECTING
        self.dial_at = 0.0
        """When to dial, while connecting or reconnecting."""
        self._policy = policy
        self._entropy = entropy
        self._before_asking = self.status
        self._up_since = 0.0
        self._lost_at: float | None = None
        """When the present trouble began."""
        self._attempt = 0

    def __repr__(self) -> str:
        return f"<Lifecycle {self.status.value}>"

    @property
    def dialling(self) -> bool:
        """Whether a connection is to be made."""
        return self.status in _DIALLING

    @property
    def standing(self) -> bool:
        """Whether there is a connection."""
        return self.status in _STANDING

    def connected(self, now: float) -> None:
        """The tunnel is up."""
        self._require(*_DIALLING)
        self.status = TunnelStatus.UP
        self._up_since = now

    def suspected(self) -> None:
        """The server has been silent for longer than it should."""
        self._require(*_STANDING)
        self.status = TunnelStatus.DEGRADED

    def answered(self) -> None:
        """The server lives."""
        self._require(*_STANDING)
        self.status = TunnelStatus.UP

    def lost(self, error: SstpsocksError, now: float) -> None:
        """The tunnel that was up is gone."""
        self._require(*_STANDING)
        if self._lost_at is None or now - self._up_since >= STABLE_PERIOD:
            self._lost_at = now
            self._attempt = 0
        self._again(error, now, wanted=True)

    def failed(self, error: SstpsocksError, now: float, *, wanted: bool = True) -> None:
        """A try to connect has failed. ``wanted``: somebody waits for the tunnel, or connections do."""
        if self.status is TunnelStatus.WAITING:
            self.given()
        self._require(*_DIALLING)
        first = self.status is TunnelStatus.CONNECTING and not self._policy.on_demand
        if first:
            self.status = TunnelStatus.STOPPED
            return
        if self._lost_at is None:
            self._lost_at = now
            self._attempt = 1
        self._again(error, now, wanted=wanted)

    def asking(self) -> None:
        """Somebody is asked for credentials."""
        self._require(*_DIALLING)
        self._before_asking = self.status
        self.status = TunnelStatus.WAITING

    def given(self) -> None:
        """They were given, or refused."""
        self._require(TunnelStatus.WAITING)
        self.status = self._before_asking

    def unused(self) -> None:
        """On demand: nobody has used the tunnel for long, and it was ended."""
        self._require(*_STANDING)
        self.status = TunnelStatus.IDLE
        self._lost_at = None
        self._attempt = 0

    def wanted(self, now: float) -> None:
        """On demand: somebody wants to use it. After failed tries the pause between them is kept."""
        self._require(TunnelStatus.IDLE)
        self.status = TunnelStatus.CONNECTING
        self.dial_at = max(self.dial_at, now)

    def hurry(self, now: float) -> None:
        """Something has changed that may help, as this machine woke: dial at once, and eagerly for a while."""
        if self.status is TunnelStatus.RECONNECTING:
            self._lost_at = self.dial_at = now
            self._attempt = 1

    def end(self) -> None:
        """Stop, whatever it does."""
        self.status = TunnelStatus.STOPPED

    def _again(self, error: SstpsocksError, now: float, *, wanted: bool) -> None:
        policy = self._policy
        # Other errors than a TunnelError are about the settings and the password, which will not get better.
        if not policy.reconnect or not isinstance(error, TunnelError) or not error.may_retry:
            self.status = TunnelStatus.STOPPED
            return
        began = now if self._lost_at is None else self._lost_at
        delay = retry_delay(now - began, self._attempt, self._entropy)
        self._attempt += 1
        self.dial_at = now + delay
        if policy.budget is not None and self.dial_at - began > policy.budget:
            self.status = TunnelStatus.STOPPED
        elif policy.on_demand and not wanted:
            self.status = TunnelStatus.IDLE
        else:
            self.status = TunnelStatus.RECONNECTING

    def _require(self, *statuses: TunnelStatus) -> None:
        if self.status not in statuses:
            raise LocalProtocolError(f"not while the tunnel is {self.status.value}", layer="tunnel")
