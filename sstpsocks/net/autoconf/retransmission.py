"""When a DHCPv6 client sends a message again: RFC 8415 section 15."""

from __future__ import annotations

from dataclasses import dataclass

from ...base.entropy import Entropy, random_below


@dataclass(frozen=True, slots=True)
class Retransmission:
    """The parameters of one kind of message (section 7.6)."""

    initial: float
    """IRT: seconds to the first repetition."""
    maximum: float
    """MRT: the longest pause in seconds."""
    count: int = 0
    """MRC: how often it is sent at most; 0: without end."""
    delay: float = 0.0
    """Up to how many seconds the first one waits, at random."""


class Transmissions:
    """One message on its way: sent, sent again ever more slowly, and given up when it has a MRC."""

    __slots__ = ("_began", "_entropy", "_parameters", "_pause", "count", "maximum", "next_at")

    def __init__(self, parameters: Retransmission, entropy: Entropy, now: float) -> None:
        self._parameters = parameters
        self._entropy = entropy
        self._pause = 0.0
        self._began = now
        self.maximum = parameters.maximum
        """The longest pause in seconds; servers may change it meanwhile."""
        self.count = 0
        """How often it was sent."""
        self.next_at = now + parameters.delay * random_below(entropy, 1000) / 1000
        """When it is to be sent next, or given up."""

    def __repr__(self) -> str:
        return f"<Transmissions {self.count} sent, next at {self.next_at:.3f}>"

    @property
    def exhausted(self) -> bool:
        """Whether next_at is the end."""
        return 0 < self._parameters.count <= self.count

    def elapsed(self, now: float) -> int:
        """Return the Elapsed Time option: hundredths of a second since the first was sent (section 21.9)."""
        return min(0xFFFF, int((now - self._began) * 100)) if self.count else 0

    def sent(self, now: float) -> None:
        """Note that it was sent, and set next_at.

        "RT for the first message transmission is based on IRT: RT = IRT + RAND*IRT"; for each later one "RT = 2*RTprev
        + RAND*RTprev", and beyond MRT "RT = MRT + RAND*MRT". RAND lies between -0.1 and +0.1; for the first Solicit it
        must be positive (section 18.2.1), which hurts nobody else.
        """
        random = random_below(self._entropy, 1000) / 10000
        if self.count == 0:
            self._began = now
            self._pause = self._parameters.initial * (1.0 + random)
        else:
            random = 2 * random - 0.1
            self._pause *= 2.0 + random
            if self._pause > self.maximum:
                self._pause = self.maximum * (1.0 + random)
        self.count += 1
        self.next_at = now + self._pause
