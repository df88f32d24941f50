"""What is known about the MTU of paths (RFC 1191, RFC 8201): sizes that routers reported, for ten minutes each."""

from __future__ import annotations

LIFETIME = 600.0
"""RFC 8201 section 4: an attempt to find a larger MTU "must not be done less than 5 minutes after a Packet Too Big
message has been received for the given path. The recommended setting for this timer is twice its minimum value (10
minutes)."""
MAX_PATHS = 1024
"""Destinations remembered; the oldest is forgotten. It costs the next flow there one more report."""


class PathMtus:
    """The paths whose MTU is below the link's, by packed destination."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, float]] = {}
        """MTU and when it is forgotten, in the order of that."""

    def __repr__(self) -> str:
        return f"<PathMtus of {len(self._known)} paths>"

    def lower(self, destination: bytes, mtu: int, now: float) -> None:
        """Note a report. RFC 8201 section 4: "A node must not increase its estimate of the Path MTU in response to
        the contents of a Packet Too Big message."
        """
        known = self._known.pop(destination, None)
        if known is not None:
            mtu = min(mtu, known[0])
        self._known[destination] = (mtu, now + LIFETIME)
        if len(self._known) > MAX_PATHS:
            del self._known[next(iter(self._known))]

    def get(self, destination: bytes, link_mtu: int) -> int:
        """Return the largest packet that is believed to reach the destination."""
        known = self._known.get(destination)
        return link_mtu if known is None else min(known[0], link_mtu)

    def poll_at(self) -> float | None:
        """Return when handle_timer() has something to do."""
        for _, deadline in self._known.values():
            return deadline
        return None

    def handle_timer(self, now: float) -> None:
        """Forget what is too old."""
        while self._known:
            destination = next(iter(self._known))
            if self._known[destination][1] > now:
                return
            del self._known[destination]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
