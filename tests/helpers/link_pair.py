"""A client's and a server's link joined back to back in virtual time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import IPv4Address

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.link import Link, LinkEvent, LinkUp
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.peer import PppConfig, PppPeer, Role
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.machine import SstpTimers
from sstpsocks.sstp.packet import HashProtocol
from sstpsocks.sstp.server import SstpServer
from tests.helpers.fake_tls import FakeTlsParameters

CERTIFICATE = hashlib.sha512(b"certificate").digest()
SERVER_ADDRESS = IPv4Address("10.0.0.1")
CLIENT_ADDRESS = IPv4Address("10.0.0.2")
USERS = {"alice": "secret"}


def make_client(
    password: str = "secret",
    *,
    certificate: bytes = CERTIFICATE,
    methods: tuple[AuthMethod, ...] = (AuthMethod.MSCHAPV2,),
    ipv6: bool = False,
) -> Link:
    credentials = Credentials("alice", password)
    tls = FakeTlsParameters()
    config = PppConfig(role=Role.CLIENT, methods=methods, credentials=credentials, ipv6=ipv6, eap_tls=tls)
    return Link(SstpClient(certificate, timers=SstpTimers()), PppPeer(config, SeededEntropy("client")))


def make_server(
    *,
    methods: tuple[AuthMethod, ...] = (AuthMethod.MSCHAPV2,),
    hashes: HashProtocol = HashProtocol.SHA256 | HashProtocol.SHA1,
    ipv6: bool = False,
) -> Link:
    config = PppConfig(
        role=Role.SERVER,
        methods=methods,
        lookup=USERS.get,
        local_address=SERVER_ADDRESS,
        peer_address=CLIENT_ADDRESS,
        dns=(SERVER_ADDRESS,),
        ipv6=ipv6,
        eap_tls_server=FakeTlsParameters(),
    )
    entropy = SeededEntropy("server")
    return Link(SstpServer(CERTIFICATE, entropy, offered_hashes=hashes), PppPeer(config, entropy))


class LinkPair:
    """Moves bytes between two links; a filter may change or drop each write."""

    def __init__(self, client: Link, server: Link) -> None:
        self.client = client
        self.server = server
        self.now = 0.0
        self.events: dict[Link, list[LinkEvent]] = {client: [], server: []}
        self.packets: dict[Link, list[bytes]] = {client: [], server: []}
        self.change: Callable[[Link, bytes], bytes] = lambda _sender, data: data
        client.start(self.now)
        server.start(self.now)

    def exchange(self) -> None:
        """Move everything that both have to say until they are silent."""
        busy = True
        while busy:
            busy = False
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                for packet in sender.data_to_send(self.now):
                    busy = True
                    self.deliver(receiver, self.change(sender, packet))
                while (event := sender.next_event()) is not None:
                    self.events[sender].append(event)

    def deliver(self, receiver: Link, data: bytes) -> None:
        buffer, spans = receiver.receive_data(data, self.now)
        self.packets[receiver] += [buffer[start:end] for start, end in spans]

    def run(self, seconds: float) -> None:
        """Let virtual time pass, timer by timer."""
        end = self.now + seconds
        self.exchange()
        while True:
            times = [time for time in (self.client.poll_at(), self.server.poll_at()) if time is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            self.client.handle_timer(self.now)
            self.server.handle_timer(self.now)
            self.exchange()
        self.now = end

    def up(self, link: Link) -> LinkUp:
        """The LinkUp event of a link; there must be just one."""
        (event,) = [event for event in self.events[link] if isinstance(event, LinkUp)]
        return event
