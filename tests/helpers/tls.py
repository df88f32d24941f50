"""TLS engines that talk to each other in memory."""

from __future__ import annotations

from sstpsocks.errors import TlsFailed
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.tls_settings import TlsSettings
from sstpsocks.tunnel.trust import client_context, server_context, sni_name
from tests.helpers.certificates import Issued

SERVER = "server vpn.example.com:443"


def server_engine(issued: Issued) -> TlsEngine:
    return TlsEngine(server_context(issued.chain, issued.key), server_side=True, peer="client")


def client_engine(trust: TrustSettings, tls: TlsSettings | None = None) -> TlsEngine:
    return TlsEngine(
        client_context(trust, tls=tls),
        server_hostname=sni_name(trust.server_name),
        ask_for_status=not trust.pins,
        peer=SERVER,
    )


def shake_hands(client: TlsEngine, server: TlsEngine) -> None:
    """Carry the handshake's bytes to and fro until both ends are done; what the client raises comes out."""
    for _ in range(10):
        done = client.handshake()
        server.feed(client.ciphertext_to_send())
        try:
            done = server.handshake() and done
        except TlsFailed:
            return  # the client refused and said so
        client.feed(server.ciphertext_to_send())
        if done:
            return
    raise AssertionError("the handshake does not end")


def carry(source: TlsEngine, destination: TlsEngine) -> bytes:
    """Carry all waiting ciphertext and return what it decrypts to."""
    destination.feed(source.ciphertext_to_send())
    return destination.read_available()
