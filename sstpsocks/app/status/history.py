"""The last minutes of one tunnel: how much passed in each second, and how far away the server was."""

from __future__ import annotations

from collections import deque
from typing import Final

from .snapshot import HistoryView

INTERVAL: Final = 1.0
"""Seconds between two samples."""
LENGTH: Final = 300
"""Samples that are kept: five minutes."""


class History:
    """Takes a sample each INTERVAL."""

    def __init__(self) -> None:
        self._received: deque[float | None] = deque(maxlen=LENGTH)
        self._sent: deque[float | None] = deque(maxlen=LENGTH)
        self._round_trips: deque[float | None] = deque(maxlen=LENGTH)

    def __repr__(self) -> str:
        return f"<History {len(self._received)} samples>"

    def add(self, receive_rate: float | None, send_rate: float | None, round_trip: float | None) -> None:
        """Take one sample: octets a second and seconds, None where nothing is known."""
        self._received.append(receive_rate)
        self._sent.append(send_rate)
        self._round_trips.append(round_trip)

    def view(self) -> HistoryView:
        """Return all of it."""
        return HistoryView(
            interval=INTERVAL,
            receive_rate=tuple(self._received),
            send_rate=tuple(self._sent),
            round_trip=tuple(self._round_trips),
        )
