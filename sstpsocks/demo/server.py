"""A real SSTP server on the same machines as the client: for the demo and as the fixture of the tests."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from ipaddress import IPv4Address

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..base.entropy import Entropy
from ..errors import SstpsocksError
from ..link import Ipv6Up, Link, LinkDown, LinkEvent, LinkUp
from ..net.stack import Stack
from ..ppp.auth import AuthMethod
from ..ppp.peer import PppConfig, PppPeer, Role
from ..sstp.http import ServerPrelude
from ..sstp.machine import SstpTimers
from ..sstp.packet import HashProtocol
from ..sstp.server import SstpServer
from ..tunnel.driver import Driver
from ..tunnel.entropy_source import SystemEntropy
from ..tunnel.tls import TlsEngine, TlsStream
from ..tunnel.transport import SocketTransport
from ..tunnel.trust import server_context
from .ca import ThrowAwayCertificate
from .intranet import GATEWAY, offer_ipv6, serve_intranet

_log = logging.getLogger("sstpsocks.demo")

SETUP_TIMEOUT = 15.0  # TLS and the HTTP request of a client
FIRST_CLIENT = GATEWAY + 9
POOL_SIZE = 200
DEFAULT_MTU = 1400


class DemoServer:
    """Serves SSTP clients, each with its own stack in front of the intranet."""

    def __init__(
        self,
        certificate: ThrowAwayCertificate,
        users: Mapping[str, str],
        *,
        methods: tuple[AuthMethod, ...] = (AuthMethod.MSCHAPV2,),
        offered_hashes: HashProtocol = HashProtocol.SHA256 | HashProtocol.SHA1,
        mtu: int = DEFAULT_MTU,
        ipv6: bool = False,
        timers: SstpTimers | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self.connected_users: dict[IPv4Address, str] = {}
        """Who is connected, by address in the tunnel."""
        self._context = server_context(certificate.certificate_pem, certificate.key_pem)
        # The crypto binding is over the certificate that the client saw (MS-SSTP 3.2.5.2).
        self._certificate_der = x509.load_pem_x509_certificate(certificate.certificate_pem).public_bytes(Encoding.DER)
        self._users = dict(users)
        self._methods = methods
        self._offered_hashes = offered_hashes
        self._mtu = mtu
        self._ipv6 = ipv6
        self._timers = timers if timers is not None else SstpTimers()
        self._entropy = entropy if entropy is not None else SystemEntropy()
        self._free = [FIRST_CLIENT + index for index in reversed(range(POOL_SIZE))]
        self._drivers: set[Driver] = set()

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Accept clients until cancelled."""
        await trio.serve_listeners(self._serve_client, listeners)

    def disconnect_all(self) -> None:
        """End all calls in order, as a server that is shut down does."""
        for driver in list(self._drivers):
            driver.close()

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        if not self._free:
            await stream.aclose()
            return
        address = self._free.pop()
        try:
            await self._serve_at(stream, address)
        except* (SstpsocksError, trio.BrokenResourceError, trio.TooSlowError, OSError) as errors:
            for error in errors.exceptions:
                _log.info("client ended: %s", str(error) or type(error).__name__)
        finally:
            self._free.append(address)
            self.connected_users.pop(address, None)
            await trio.aclose_forcefully(stream)

    async def _serve_at(self, stream: trio.SocketStream, address: IPv4Address) -> None:
        tls = TlsStream(stream, TlsEngine(self._context, server_side=True))
        with trio.fail_after(SETUP_TIMEOUT):
            await tls.do_handshake()
            first_data = await self._accept_http(tls)
        link = Link(
            SstpServer(self._certificate_der, self._entropy, timers=self._timers, offered_hashes=self._offered_hashes),
            PppPeer(self._ppp_config(address), self._entropy),
        )
        async with trio.open_nursery() as nursery:
            identifier: bytes | None = None

            def on_event(event: LinkEvent) -> None:
                nonlocal identifier
                if isinstance(event, Ipv6Up):
                    identifier = event.local_identifier
                elif isinstance(event, LinkUp):
                    self.connected_users[event.peer or address] = event.username
                    driver.stack = Stack(event.local, mtu=min(self._mtu, event.peer_mru), entropy=self._entropy)
                    services = serve_intranet(driver.stack, driver)
                    nursery.start_soon(lambda: services)
                elif isinstance(event, LinkDown):
                    _log.info("call ended: %s", event.error or "closed")
                if isinstance(event, Ipv6Up | LinkUp) and driver.stack is not None and identifier is not None:
                    offer_ipv6(driver.stack, identifier)

            driver = Driver(SocketTransport.take_over(stream), tls.engine, link, on_event=on_event)
            self._drivers.add(driver)
            try:
                await driver.run(first_data)
            finally:
                self._drivers.discard(driver)
                nursery.cancel_scope.cancel()

    def _ppp_config(self, address: IPv4Address) -> PppConfig:
        return PppConfig(
            role=Role.SERVER,
            methods=self._methods,
            lookup=self._users.get,
            name="sstpsocks-demo",
            local_address=GATEWAY,
            peer_address=address,
            dns=(GATEWAY,),
            ipv6=self._ipv6,
        )

    async def _accept_http(self, tls: TlsStream) -> bytes:
        prelude = ServerPrelude()
        try:
            while True:
                first_data = prelude.receive_data(await tls.receive_some())
                if first_data is not None:
                    return first_data
        finally:
            if answer := prelude.data_to_send():
                await tls.send_all(answer)
