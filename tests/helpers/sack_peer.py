"""A peer that permits SACK, for tests of the sender: everything counted in full segments from the start of the data."""

from __future__ import annotations

from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.scoreboard import Scoreboard
from sstpsocks.net.tcp.segment import sack_option
from tests.helpers.tcp_peer import MASK, MSS, Peer, established

RTT = 0.1
"""What the handshake of established() measured."""


class SackPeer:
    """Our end has ``segments`` full segments to send and sends them as far as the window lets it."""

    def __init__(self, segments: int, *, window: int = 60_000, timestamps: bool = False) -> None:
        # NewReno halves the window, which is easier to follow than CUBIC's. Room for the option in every segment.
        config = TcpConfig(congestion_control="newreno")
        mss = MSS + 12 if timestamps else MSS
        self.peer: Peer = established(config, mss=mss, sack=True, window=window, timestamps=timestamps)
        self.connection = self.peer.connection
        self.window = window
        self.received: set[int] = set()
        """Segments that arrives() took."""
        self.write(segments)

    @property
    def board(self) -> Scoreboard:
        board = self.connection.scoreboard
        assert board is not None
        return board

    def probing(self) -> bool:
        """Whether a tail loss probe is unanswered."""
        return self.connection.tlp_end_seq is not None

    def recovering(self) -> bool:
        """Whether fast recovery is under way."""
        return self.connection.in_recovery

    def reordering_seen(self) -> bool:
        """Whether RACK knows that the path reorders."""
        return self.connection.rack.reordering_seen

    def write(self, segments: int) -> None:
        if segments:
            self.connection.send(bytes(segments * MSS), self.peer.now)

    def sent(self) -> list[int]:
        """What is sent now."""
        return [(sent.seq - 1) // MSS for sent in self.peer.take() if sent.payload or "F" in sent.flags]

    def ack(self, segments: int, *blocks: tuple[int, int]) -> None:
        """Acknowledge ``segments``, and selectively those from the first up to the second number of each block."""
        iss = self.connection.iss
        edges = [((iss + 1 + MSS * left) & MASK, (iss + 1 + MSS * right) & MASK) for left, right in blocks]
        options = sack_option(edges) if edges else b""
        self.peer.send(".", 1, 1 + MSS * segments, window=self.window, options=options)

    def arrives(self, segment: int) -> None:
        """The peer receives a segment and acknowledges at once, as RFC 2018 says."""
        self.received.add(segment)
        una = next(number for number in range(len(self.received) + 1) if number not in self.received)
        blocks: list[tuple[int, int]] = []
        for number in sorted(number for number in self.received if number > una):
            if blocks and blocks[-1][1] == number:
                blocks[-1] = (blocks[-1][0], number + 1)
            else:
                blocks.append((number, number + 1))
        blocks.sort(key=lambda block: not block[0] <= segment < block[1])
        self.ack(una, *blocks[:4])

    def after(self, seconds: float) -> SackPeer:
        """Let time pass without timers."""
        self.peer.now += seconds
        return self

    def wait(self, seconds: float) -> list[int]:
        """Let time pass until something is sent, at most ``seconds``, and return it."""
        self.peer.wait(seconds)
        return self.sent()
