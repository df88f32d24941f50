"""A token bucket: so many events a second on average, some more in a burst."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` events per second, and up to one second's worth at once."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._tokens = self._burst
        self._filled_at: float | None = None

    def __repr__(self) -> str:
        return f"<TokenBucket {self._tokens:.1f} of {self._burst:.1f}>"

    def allow(self, now: float) -> bool:
        """Whether an event may happen now; if so it is taken off."""
        if self._filled_at is not None and now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
