"""One connection to the server: from the TCP handshake to the last farewell."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import trio

from ..base.entropy import Entropy
from ..errors import (
    AuthenticationFailed,
    ConnectionLost,
    TunnelClosed,
    TunnelError,
)
from ..link import (
    CredentialsWanted,
    Ipv6Down,
    Ipv6Up,
    Link,
    LinkDown,
    LinkEvent,
    LinkFailing,
    LinkPhase,
    LinkResumed,
    LinkUp,
    PasswordChanged,
    PhaseEntered,
)
from ..net.autoconf.configuration import Ipv6Configured
from ..net.autoconf.slaac import stable_identifier
from ..net.config import StackConfig
from ..net.dhcp import HOST_NAME, DhcpInformation
from ..net.route import RouteTable
from ..net.stack import Stack
from ..ppp.auth import AuthMethod, Credentials
from ..ppp.ipcp import IpcpOption
from ..ppp.peer import PppConfig, PppPeer, Role
from ..sstp.client import SstpClient
from ..sstp.machine import SstpTimers
from .credentials import CredentialKeeper
from .driver import Driver
from .eap_login import EapLogin
from .flow_keeper import FlowKeeper, ipv6_addresses
from .inform import ask_dhcp, strict_table
from .ipv6 import MIN_MTU as MIN_IPV6_MTU
from .ipv6 import Ipv6Host
from .network import IPAddress
from .reach import Dial, connect_transport
from .settings import MAX_MTU, CredentialReason, TunnelSettings
from .steps import LATER_STEPS, Step, StepObserver, StepReport
from .tls_transport import take_over
from .upstream import open_sstp, start_tls

if TYPE_CHECKING:
    from .tap import Tap

# MS-SSTP 3.2.2: the negotiation timer is 60 s; it must not cut short an authentication that the user allows more time.
NEGOTIATION_TIMER = 60.0

# How long the farewells of a failed or ended connection may take.
GRACE_PERIOD = 3.0

# SoftEther takes four seconds for IPV6CP; a server that has not done by then no longer carries IPv6.
IPV6_PATIENCE = 10.0

# Nothing here uses NetBIOS name servers (RFC 1877), and each option that a server rejects takes a round trip.
UNASKED = frozenset({IpcpOption.PRIMARY_NBNS, IpcpOption.SECONDARY_NBNS})

_CLOSED = "the tunnel was closed"

_FIRST_STEP_OF = {
    LinkPhase.SSTP: Step.SSTP,
    LinkPhase.LCP: Step.LCP,
    LinkPhase.AUTHENTICATION: Step.AUTHENTICATION,
    LinkPhase.ADDRESSES: Step.ADDRESSES,
}


class ServerConnection:
    """A connection that is being made, is up, or has ended. Made by connect()."""

    def __init__(
        self,
        settings: TunnelSettings,
        *,
        entropy: Entropy,
        observe: StepObserver,
        nursery: trio.Nursery,
        refused: set[Credentials],
        secret: bytes,
        unasked: frozenset[int] = frozenset(),
        eap: EapLogin | None = None,
        dial: Dial = connect_transport,
        tap: Tap | None = None,
        keeper: FlowKeeper | None = None,
        on_suspicion: Callable[[bool], None] | None = None,
    ) -> None:
        """``refused``: credentials that the server refused before; they are never sent, and new ones are added.

        ``secret``: what our identifiers in IPv6 are made from. ``unasked``: options of IPCP that the server rejected
        before, which spares another rejection. ``eap``: what is kept for log-ins by EAP. ``dial``: connects to the
        server. ``keeper``: keeps the programs' connections while it is dialled again; None: they end with this one.

        ``on_suspicion``: told that the server may be dead, and that it is not.
        """
        self._settings = settings
        self._entropy = entropy
        self._observer = observe
        self._nursery = nursery
        self._tap = tap
        self._driver_scope = trio.CancelScope(shield=True)
        self._credentials = CredentialKeeper(settings, refused)
        self._secret = secret
        self._unasked = UNASKED | unasked
        self._eap = eap if eap is not None else EapLogin(settings)
        self._dial = dial
        self._keeper = keeper
        self._on_suspicion = on_suspicion
        self._identifier: bytes | None = None
        self._ipv6: Ipv6Host | None = None
        self.step = Step.RESOLVE
        """What it was doing last on its way up."""
        self.driver: Driver | None = None
        self.link_up: LinkUp | None = None
        """The addresses, once the link is up."""
        self.dhcp = DhcpInformation()
        """What the network told about itself, if it did and as soon as it does."""
        self.strict_table: RouteTable | None = None
        """What may be reached with strict routes; None: everything."""
        self.error: TunnelError | None = None
        """Why it ended or is ending; None after close()."""
        self.settled = trio.Event()
        """Set when the link is up or has begun to fail."""
        self.ending = trio.Event()
        """Set when the link has begun to end: no traffic passes any more."""
        self.down = trio.Event()
        """Set when the transport is closed."""
        self.tls_version = ""
        self.correlation_id = ""

    @property
    def stack(self) -> Stack | None:
        """The TCP/IP stack while the link is up, None before and after."""
        return self.driver.stack if self.driver is not None and not self.ending.is_set() else None

    @property
    def unasked(self) -> frozenset[int]:
        """The options of IPCP that are of no use with this server."""
        rejected = self.driver.link.ppp.network.rejected if self.driver is not None else frozenset[int]()
        return self._unasked | rejected

    @property
    def method(self) -> AuthMethod | None:
        """How we have logged in; None: not yet, or without having to."""
        return self.driver.link.method if self.driver is not None else None

    @property
    def mtu(self) -> int:
        """The largest IP packet we send, in octets."""
        peer_mru = self.link_up.peer_mru if self.link_up is not None else MAX_MTU
        return min(self._settings.mtu, peer_mru, MAX_MTU)

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """Our addresses in the tunnel: IPv4, and IPv6 addresses that reach beyond the link."""
        ipv4 = (self.link_up.local,) if self.link_up is not None else ()
        return (*ipv4, *(self._ipv6.addresses if self._ipv6 is not None else ()))

    @property
    def dns(self) -> tuple[IPAddress, ...]:
        """The name servers: those of IPCP, or without any those of DHCP; and those that IPv6 told."""
        ipv4 = (self.link_up.dns if self.link_up is not None else ()) or self.dhcp.name_servers
        return (*ipv4, *self._ipv6_configured.dns_servers) if self._ipv6_configured is not None else ipv4

    @property
    def search_domains(self) -> tuple[str, ...]:
        """The domains that the network told."""
        ipv6 = self._ipv6_configured.search_domains if self._ipv6_configured is not None else ()
        return tuple(dict.fromkeys((*self.dhcp.search, *ipv6)))

    @property
    def _ipv6_configured(self) -> Ipv6Configured | None:
        return self._ipv6.configured if self._ipv6 is not None else None

    async def connect(self) -> None:
        """Set the tunnel up, step by step. Raises the TunnelError (or ConfigError) of the step that failed."""
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End in order, within the grace period, and then anyhow; not even cancellation keeps it from that."""
        driver = self.driver
        if driver is None:
            return
        if not self.ending.is_set():
            driver.act(self._reset_flows)
            self._finish(None)
        driver.close()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(GRACE_PERIOD):
                await self.down.wait()
            self._driver_scope.cancel()
            await self.down.wait()

    async def _connect(self) -> None:
        settings = self._settings
        credentials = await self._credentials.ask(CredentialReason.LOGIN)
        # MS-SSTP 3.2.4.1: a new identifier for each attempt; the server's administrator finds the attempt by it.
        self.correlation_id = f"{{{str(uuid.UUID(bytes=self._entropy.random_bytes(16), version=4)).upper()}}}"
        transport = await self._dial(settings, self._observe)
        try:
            stream = await start_tls(transport, settings, self._observe)
            first_data = await open_sstp(stream, settings, self._observe, self.correlation_id)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        engine = stream.engine
        self.tls_version = engine.version
        link = self._make_link(engine.peer_certificate_der(), credentials)
        driver = Driver(
            take_over(transport),
            engine,
            link,
            on_event=self._on_event,
            tap=self._tap,
            dead_after=settings.dead_after,
            on_suspicion=self._on_suspicion,
        )
        self.driver = driver
        self._begin(Step.SSTP, "SSTP call")
        self._nursery.start_soon(self._run_driver, driver, first_data)
        await self.settled.wait()
        if self.error is not None:
            raise self.error

    def _make_link(self, certificate: bytes, credentials: Credentials) -> Link:
        settings, limits = self._settings, self._settings.timeouts
        timers = SstpTimers(
            negotiation=max(NEGOTIATION_TIMER, limits.lcp + limits.authentication), hello=settings.hello_interval
        )
        config = PppConfig(
            role=Role.CLIENT,
            # What we send is what we want to receive. Larger packets are taken all the same, but asking for more than
            # a server can do takes a round trip, and 1400 is what they all can.
            mru=settings.mtu,
            # TLS has shown that the peer is not ourselves.
            magic_number=False,
            unasked=self._unasked,
            local_address=settings.address,
            methods=settings.methods,
            credentials=replace(credentials, outer_identity=settings.eap.outer_identity),
            eap_tls=self._eap.tls,
            eap_zero_hlak=self._eap.zero_hlak,
            lcp_timeout=limits.lcp,
            authentication_timeout=limits.authentication,
            address_timeout=limits.addresses,
            ipv6=settings.ipv6 != "never" and settings.mtu >= MIN_IPV6_MTU,
            ipv6_whatever_it_costs=settings.ipv6 == "always",
            interface_identifier=stable_identifier(self._secret, self._network),
        )
        return Link(SstpClient(certificate, timers=timers), PppPeer(config, self._entropy))

    @property
    def _network(self) -> bytes:
        """What tells this network from others for RFC 7217."""
        return self._settings.server.encode()

    async def _run_driver(self, driver: Driver, first_data: bytes) -> None:
        try:
            with self._driver_scope:
                await driver.run(first_data)
        finally:
            self._finish(None)
            self.down.set()

    # What the link says

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case PhaseEntered(phase, text):
                self._done(text)
                self._begin(_FIRST_STEP_OF[phase], "")
            case CredentialsWanted() if self.driver is not None:
                self._credentials.note_refusal()
                self._nursery.start_soon(self._credentials.answer, self.driver, event)
            case PasswordChanged():
                self._credentials.note_change(self._nursery)
            case LinkUp() if self.driver is not None:
                self._up(self.driver, event)
            case LinkResumed(up) if self.driver is not None:
                self._resumed(self.driver, up)
            case Ipv6Up(identifier):
                self._identifier = identifier
                # Negotiated anew with the same result, the addresses stay, and with them the connections.
                if self._ipv6 is None or self._ipv6.identifier != identifier:
                    self._start_ipv6()
            case Ipv6Down(reason) if self.driver is not None:
                self._identifier = None
                if self.driver.link.carries_ip:  # otherwise all flows end, and are told the real reason
                    self._stop_ipv6()
                    self._observe(StepReport(Step.IPV6, True, f"none any more: {reason}"))
            case LinkFailing(error):
                if isinstance(error, AuthenticationFailed):
                    self._credentials.note_refusal()
                self._finish(error)
            case LinkDown(error):
                self._finish(error)

    def _up(self, driver: Driver, event: LinkUp) -> None:
        self.link_up = event
        kept = self._keeper.attach(event.local, self.mtu, driver) if self._keeper is not None else None
        driver.stack = stack = kept if kept is not None else self._new_stack(event)
        stack.outer = driver.outer
        dns = ", ".join(map(str, event.dns)) or "none"
        self._done(f"{event.local}, DNS {dns}, MTU {self.mtu}")
        if self._tap is not None:
            server = self._settings.server
            self._tap.note(f"tunnel to {server} is up as {event.local}, correlation id {self.correlation_id}")
        self.settled.set()
        if (inherited := ipv6_addresses(stack)) and self._keeper is not None:
            self._nursery.start_soon(self._forget_ipv6, driver, stack, inherited)
        self._start_ipv6()
        if self._settings.dhcp != "never":
            self._nursery.start_soon(self._ask_network, driver, driver.stack, event)

    def _new_stack(self, event: LinkUp) -> Stack:
        limits = self._settings.limits
        config = StackConfig(
            ecn=self._settings.ecn,
            max_connections=limits.flows,
            max_half_open=limits.half_open,
            memory_maximum=limits.memory,
        )
        return Stack(event.local, mtu=self.mtu, entropy=self._entropy, config=config)

    async def _forget_ipv6(self, driver: Driver, stack: Stack, inherited: list[IPv6Address]) -> None:
        """Give up the IPv6 addresses of the connection before, unless this one brings them back."""
        with trio.move_on_after(IPV6_PATIENCE):
            await self.ending.wait()
        if not self.ending.is_set():
            ours = (*self.addresses, *((self._ipv6.link_local,) if self._ipv6 is not None else ()))
            for address in inherited:
                if address not in ours:
                    driver.act(partial(stack.remove_address, address, driver.now()))

    def _resumed(self, driver: Driver, event: LinkUp) -> None:
        """PPP was negotiated anew: the flows go on, if what they send is still taken."""
        self.link_up = event
        if driver.stack is not None and self.mtu < driver.stack.mtu:
            text = f"server renegotiated, and takes packets of only {self.mtu} octets, not {driver.stack.mtu}"
            driver.link.fail(TunnelClosed(text), driver.now())
        elif self._ipv6 is not None and self._identifier is None:
            self._nursery.start_soon(self._await_ipv6, driver, self._ipv6)

    async def _await_ipv6(self, driver: Driver, host: Ipv6Host) -> None:
        """Give IPv6 up when IPV6CP does not come back behind IPCP, as no one says so: it was down already."""
        with trio.move_on_after(IPV6_PATIENCE):
            await self.ending.wait()
        if self._ipv6 is host and self._identifier is None and driver.link.carries_ip:
            driver.act(self._stop_ipv6)
            self._observe(
                StepReport(Step.IPV6, True, "none any more: server renegotiated, and IPV6CP did not open again")
            )

    def _start_ipv6(self) -> None:
        """Configure IPv6 once both are there, the stack and an identifier, if what the server takes is large enough."""
        driver, stack = self.driver, self.stack
        if driver is None or stack is None or self._identifier is None or self.mtu < MIN_IPV6_MTU:
            return
        self._stop_ipv6()
        self._ipv6 = Ipv6Host(
            stack,
            driver,
            self._entropy,
            identifier=self._identifier,
            secret=self._secret,
            network=self._network,
            on_change=self._ipv6_changed,
        )
        self._nursery.start_soon(self._ipv6.run)

    def _stop_ipv6(self) -> None:
        if self._ipv6 is not None:
            self._ipv6.close()
            self._ipv6 = None

    def _ipv6_changed(self) -> None:
        configured = self._ipv6_configured
        if configured is not None and not self.ending.is_set():
            addresses = ", ".join(map(str, self._ipv6.addresses if self._ipv6 is not None else ())) or "no address"
            dns = ", ".join(map(str, configured.dns_servers)) or "none"
            self._observe(StepReport(Step.IPV6, True, f"{addresses}, DNS {dns}"))

    async def _ask_network(self, driver: Driver, stack: Stack, up: LinkUp) -> None:
        """Learn by DHCP what IPCP cannot say. Nothing waits for it: there may be nobody to answer."""
        host_name = HOST_NAME if self._settings.dhcp == "auto" else None
        information = await ask_dhcp(stack, driver, up.local, self._entropy, host_name=host_name)
        strict = self._settings.strict_routes
        if information is not None:
            self.dhcp = information
            if strict:
                named = (*((up.peer,) if up.peer is not None else ()), *(up.dns or information.name_servers))
                self.strict_table = strict_table(information, named)
        if self.ending.is_set():
            return
        text = str(self.dhcp) if information is not None else "no answer"
        if strict and self.strict_table is None:
            text += "; no routes were pushed, so every destination is let through"
        elif information is None:
            return  # the usual case, and nothing is missing
        self._observe(StepReport(Step.DHCP, True, text))

    def _reset_flows(self) -> None:
        """Tell the peers of connections that are in use that we leave; those closed in order already are left alone."""
        if self.driver is None or self.driver.stack is None:
            return
        for connection in list(self.driver.stack.connections.values()):
            if not connection.detached:
                connection.abort(self.driver.now(), ConnectionLost(_CLOSED))

    def _finish(self, error: TunnelError | None) -> None:
        if self.ending.is_set():
            return
        self._credentials.stop_asking()
        if error is None and not self.settled.is_set():
            error = TunnelClosed(_CLOSED)
        self.error = error
        self.ending.set()
        self.settled.set()
        if self.driver is not None and self.driver.stack is not None:
            reason = ConnectionLost(f"the tunnel ended: {error}" if error is not None else _CLOSED)
            if self._keeper is not None and error is not None and error.may_retry:
                self._keeper.suspend(self.driver.stack, reason, self.driver.now())
            else:
                self.driver.stack.abort_all(reason, self.driver.now())

    def _observe(self, report: StepReport) -> None:
        if report.step not in LATER_STEPS:
            self.step = report.step
        self._observer(report)

    def _begin(self, step: Step, text: str) -> None:
        self._observe(StepReport(step, False, text))

    def _done(self, text: str) -> None:
        self._observe(StepReport(self.step, True, text))
