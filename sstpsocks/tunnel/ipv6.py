"""IPv6 of one connection: carries between the configuration machine, the stack and the clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Protocol

import trio

from ..base.entropy import Entropy
from ..errors import LocalProtocolError, RemoteProtocolError
from ..net.autoconf.advertisement import ROUTER_SOLICITATION
from ..net.autoconf.configuration import Ipv6Configuration, Ipv6Configured
from ..net.autoconf.dhcpv6 import ALL_DHCP_SERVERS, CLIENT_PORT, SERVER_PORT, stable_duid
from ..net.autoconf.router import ALL_ROUTERS, HOP_LIMIT
from ..net.stack import Stack
from .streams import Pump

MIN_MTU = 1280
"""RFC 8200 section 5: a link that carries less carries no IPv6."""
_PREFIX_LENGTH = 64


class Turns(Pump, Protocol):
    """What is needed of the driver."""

    def act(self, action: Callable[[], None]) -> None:
        """Run what uses the stack, and send what comes of it."""
        ...


class Ipv6Host:
    """Gives the stack IPv6 addresses from the moment it is made; run() must run for it to have timers."""

    def __init__(
        self,
        stack: Stack,
        driver: Turns,
        entropy: Entropy,
        *,
        identifier: bytes,
        secret: bytes,
        network: bytes,
        on_change: Callable[[], None],
    ) -> None:
        """``secret`` and ``network``: see slaac.stable_identifier(). ``on_change``: ``configured`` is something new."""
        self.identifier = identifier
        """Our interface identifier by IPV6CP."""
        self.configured: Ipv6Configured | None = None
        """What holds now, None before anything was heard."""
        self._stack = stack
        self._driver = driver
        self._on_change = on_change
        self._changed = trio.Event()
        self._configuration = Ipv6Configuration(
            identifier, duid=stable_duid(secret, network), entropy=entropy, link_mtu=stack.mtu
        )
        self._link_local = self._configuration.link_local
        self._held: tuple[IPv6Address, ...] = ()
        self.link_local = self._link_local
        """Our address on the link."""
        stack.add_address(self._link_local, _PREFIX_LENGTH)
        stack.on_router_advertisement = self._receive_advertisement
        self._endpoint = stack.open_udp(local_port=CLIENT_PORT, local_address=self._link_local, allow_multicast=True)
        self._endpoint.notify = self._receive_datagrams
        self._configuration.start(driver.now())

    @property
    def addresses(self) -> tuple[IPv6Address, ...]:
        """Our addresses beyond the link."""
        return self._held

    async def run(self) -> None:
        """Do what is due until close(), or until the stack has ended."""
        while not self._endpoint.closed:
            due = self._configuration.poll_at()
            self._changed = trio.Event()
            with trio.move_on_at(math.inf if due is None else due):
                await self._changed.wait()
            self._driver.act(self._handle_timer)

    def close(self) -> None:
        """Give the addresses up: there is no IPv6 any more."""
        self._endpoint.notify = None
        self._endpoint.close()
        self._stack.on_router_advertisement = None
        now = self._driver.now()
        for address in (*self._held, self._link_local):
            self._stack.remove_address(address, now)
        self._held = ()
        self.configured = None
        self._changed.set()

    # In the driver's turn

    def _receive_advertisement(self, message: bytes, source: IPv6Address, hop_limit: int, now: float) -> None:
        self._configuration.receive_advertisement(source, hop_limit, message, now)
        self._proceed(now)

    def _receive_datagrams(self) -> None:
        now = self._driver.now()
        while (payload := self._endpoint.receive()) is not None:
            try:
                self._configuration.receive_datagram(payload, now)
            except RemoteProtocolError:
                continue  # discarded, as RFC 8415 section 16 has it
        self._proceed(now)

    def _handle_timer(self) -> None:
        now = self._driver.now()
        if not self._endpoint.closed:
            self._configuration.handle_timer(now)
            self._proceed(now)

    def _proceed(self, now: float) -> None:
        """Take what the machine has to say into the stack, and have run() look at its timers anew."""
        self._changed.set()
        if self._endpoint.closed:
            return
        for message in self._configuration.packets_to_send(now):
            self._stack.send_icmp6(self._link_local, ALL_ROUTERS, ROUTER_SOLICITATION, 0, message[4:], HOP_LIMIT)
        for payload in self._configuration.datagrams_to_send(now):
            self._endpoint.send_to(payload, (ALL_DHCP_SERVERS, SERVER_PORT))
        while (configured := self._configuration.next_event()) is not None:
            self._apply(configured, now)

    def _apply(self, configured: Ipv6Configured, now: float) -> None:
        before, self._held = self._held, ()
        for offered in configured.addresses:
            try:
                self._stack.add_address(offered.address, _PREFIX_LENGTH, deprecated=not offered.preferred)
            except LocalProtocolError:
                continue  # an address that no host can have, from a server that should know
            self._held += (offered.address,)
        for address in before:
            if address not in self._held:
                self._stack.remove_address(address, now)
        self._stack.ipv6_mtu = configured.mtu
        self.configured = configured
        self._on_change()
