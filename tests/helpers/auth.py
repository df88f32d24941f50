"""A client and a server of an authentication protocol, joined by a wire that loses and repeats on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.ppp.auth import Authenticator, AuthEvent, AuthMethod, Credentials
from sstpsocks.ppp.authenticators import make_client, make_server
from sstpsocks.ppp.eap.packet import EapCode
from sstpsocks.ppp.packet import PROTOCOL_EAP
from tests.helpers.fake_tls import FakeTlsParameters

PASSWORDS = {"alice": "open sesame", "LAB\\alice": "open sesame", "alice@LAB": "open sesame", "jürgen": "pässwörd €"}
ALICE = Credentials("alice", "open sesame")
WRONG = Credentials("alice", "open barley")

Fate = Callable[[int], int]
"""From the number of a packet on the wire (0, 1, ...) to how often it arrives (0 lost, 1, 2 duplicated)."""


@dataclass
class Pair:
    """Both machines and what they said."""

    client: Authenticator
    server: Authenticator
    fate: Fate = lambda number: 1
    now: float = 1000.0
    client_events: list[AuthEvent] = field(default_factory=list)
    server_events: list[AuthEvent] = field(default_factory=list)
    wire: list[tuple[str, bytes]] = field(default_factory=list)
    """All packets sent, also the lost ones, with "client" or "server" as the sender."""

    def start(self) -> None:
        self.server.start(self.now)
        self.client.start(self.now)

    def exchange(self) -> None:
        """Carry packets until nobody has one to send."""
        moved = True
        while moved:
            moved = False
            for name, sender, receiver in (
                ("server", self.server, self.client),
                ("client", self.client, self.server),
            ):
                for packet in sender.packets_to_send(self.now):
                    moved = True
                    copies = self.fate(len(self.wire))
                    if sender.protocol == PROTOCOL_EAP and packet[0] in (EapCode.SUCCESS, EapCode.FAILURE):
                        # RFC 3748 section 4.2: nothing answers them, so a loss cannot be noticed. SSTP loses nothing.
                        copies = max(copies, 1)
                    self.wire.append((name, packet))
                    for _ in range(copies):
                        receiver.receive_packet(packet, self.now)
            self._collect()

    def _collect(self) -> None:
        while event := self.client.next_event():
            self.client_events.append(event)
        while event := self.server.next_event():
            self.server_events.append(event)

    def run(self, seconds: float = 300.0) -> None:
        """Let virtual time pass: every timer fires when it is due."""
        end = self.now + seconds
        self.exchange()
        while True:
            deadlines = [at for at in (self.client.poll_at(), self.server.poll_at()) if at is not None]
            if not deadlines or min(deadlines) > end:
                break
            assert min(deadlines) >= self.now, "a deadline in the past did not move"
            self.now = min(deadlines)
            before = deadlines
            self.client.handle_timer(self.now)
            self.server.handle_timer(self.now)
            after = [at for at in (self.client.poll_at(), self.server.poll_at()) if at is not None]
            assert before != after, "a timer fired without effect"
            self.exchange()

    def sent_by(self, name: str) -> list[bytes]:
        return [packet for sender, packet in self.wire if sender == name]


def make_pair(
    method: AuthMethod, credentials: Credentials = ALICE, *, server: Authenticator | None = None, seed: int = 1
) -> Pair:
    # EAP-TLS knows no passwords: it is the certificate's name that gets in, and one that is not trusted that does not.
    tls = FakeTlsParameters(client_name=credentials.username, trusted=PASSWORDS.get(credentials.username) is not None)
    if method is AuthMethod.EAP_TLS and credentials == WRONG:
        tls = FakeTlsParameters(trusted=False)
    client = make_client(method, credentials, SeededEntropy(f"client {seed}"), tls=tls)
    entropy = SeededEntropy(f"server {seed}")
    return Pair(client, server or make_server(method, PASSWORDS.get, entropy, "lab", tls=tls))
