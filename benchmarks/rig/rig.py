"""The rig: the place that a case wants, and the peers in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conditions import Conditions, Place
    from .gateway import Gateway
    from .peers import Peer, RunningPeer


class Rig:
    """Everything that a case can use. ``folder`` is for its files; ``quick`` wants fewer and shorter runs."""

    def __init__(self, gateway: Gateway, folder: Path, *, quick: bool) -> None:
        self.gateway = gateway
        self.folder = folder
        self.quick = quick

    @contextmanager
    def place(self, conditions: Conditions) -> Iterator[Place]:
        """Make the conditions; the place lasts as long as the block."""
        raise NotImplementedError

    @contextmanager
    def running(self, peer: Peer, place: Place, conditions: Conditions) -> Iterator[RunningPeer]:
        """Start a peer; it is stopped at the end of the block."""
        running = peer.start(self, place, conditions)
        try:
            yield running
        finally:
            running.stop()
