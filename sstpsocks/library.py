"""The library's front door: open a tunnel from a Python program.

async with sstpsocks.open_tunnel("vpn.example.com", username="alice", password=secret) as tunnel:
    stream = await tunnel.open_tcp_stream("intranet.example.com", 80)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, TypedDict, Unpack

import trio

from .dns.names import normalise_name
from .dns.policy import Answers, TunnelAnswers
from .dns.resolver import Resolver
from .dns.table import NameTable
from .errors import ConfigError, ConnectTimedOut, NameNotFound
from .proxy.datagrams import DialledDatagrams
from .proxy.dial import Dialer
from .tunnel.name_settings import NameSettings
from .tunnel.network import IPAddress, TunnelDatagrams, TunnelListener, TunnelStream
from .tunnel.pins import parse_pin
from .tunnel.reach import Dial, connect_transport
from .tunnel.session import Session
from .tunnel.settings import (
    DEFAULT_METHODS,
    DEFAULT_MTU,
    DEFAULT_PORT,
    MAX_MTU,
    MIN_MTU,
    AuthMethod,
    CredentialReason,
    CredentialRequest,
    Credentials,
    CredentialSource,
    EapSettings,
    FirstUse,
    PasswordObserver,
    ProxyKind,
    ProxyMethod,
    ProxySettings,
    Timeouts,
    TlsSettings,
    TrustSettings,
    TunnelSettings,
)
from .tunnel.states import SessionRecord, StateObserver, TunnelInfo, TunnelState, ignore_states
from .tunnel.steps import StepObserver, ignore_steps


@dataclass(frozen=True)
class Tunnel:
    """A running tunnel."""

    network: Session
    """The network behind the server by address; implements tunnel.network.Network."""
    resolver: Resolver
    """Names, resolved inside the tunnel."""
    dialer: Dialer
    """Names and addresses to streams."""
    answers: Answers | None = None
    """Whole DNS queries, by the same table of names as ``resolver``."""
    names: NameTable | None = None
    """The table of names of both."""

    @property
    def info(self) -> TunnelInfo:
        """Addresses, name servers and MTU that the server assigned."""
        return self.network.info

    @property
    def state(self) -> TunnelState:
        """What it is doing now; ``network.since`` says since when, by trio's clock."""
        return self.network.state

    @property
    def record(self) -> SessionRecord:
        """Counters of what it has been through, over all reconnects."""
        return self.network.record

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Open a TCP connection inside the tunnel and return it as a trio HalfCloseableStream.

        ``host``: a name, resolved by the tunnel's name servers only, or an address. ``port``: 1 to 65535.
        Raises a DialError: NameNotFound, NameLookupFailed, NetworkUnreachable, HostUnreachable, ConnectionRefused,
        ConnectTimedOut, DeniedByRule (loopback and the like) or TunnelDown. RFC 9293 section 3.9.1.1.
        """
        return await self.dialer.open_tcp_stream(host, port)

    def open_udp(self, address: IPAddress, port: int) -> TunnelDatagrams:
        """Open a UDP socket inside the tunnel, connected to one peer, with a random local port (RFC 6056).

        Raises TunnelDown or NetworkUnreachable.
        """
        return self.network.open_udp(address, port)

    def open_udp_socket(self, port: int = 0) -> DialledDatagrams:
        """Open a UDP socket inside the tunnel that is connected to nobody, at a random port unless one is given.

        ``await send_to(payload, host, port)`` takes names, too, and ``await receive_from()`` returns payload, address
        and port. ICMP errors are counted in ``icmp_errors`` and told to ``on_error``. It is lost with the tunnel: its
        methods raise TunnelDown then, also after a reconnect. Raises TunnelDown, TooManyConnections, or
        LocalProtocolError for a port that is in use.
        """
        return self.dialer.open_datagrams(port)

    def listen_tcp(self, port: int = 0) -> TunnelListener:
        """Take TCP connections from inside the tunnel, at a random free port unless one is given.

        ``await accept()`` returns the next as a trio HalfCloseableStream; ``local_address`` is what to tell the others.
        Anybody in the network behind the server may connect. It ends with the tunnel: accept() raises TunnelDown.
        Raises TunnelDown, or LocalProtocolError for a port that is in use.
        """
        return self.network.listen_tcp(port)

    async def ping(self, host: str | IPAddress, *, size: int = 84, limit: float = 5.0, df: bool = False) -> float:
        """Send an ICMP echo request of ``size`` octets, IP header included, and return the seconds until its reply.

        ``df``: nobody may fragment it. Raises ConnectTimedOut after ``limit`` seconds, what ICMP said, another
        DialError, or LocalProtocolError for a size that is none or larger than the MTU with ``df``.
        """
        with trio.move_on_after(limit):
            address = await self.dialer.address_of(host)
            return await self.network.ping(address, size, limit, df=df)
        raise ConnectTimedOut(f"{host} did not answer an echo request within {limit:g} s")

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of ``name`` by the tunnel's name servers. Raises NameNotFound or NameLookupFailed."""
        return await self.resolver.resolve(name)

    def replace_names(self, settings: NameSettings) -> bool:
        """Look names up by other settings from now on, and tell whether they differ from those so far."""
        if self.names is None or self.names.settings == settings:
            return False
        self.names.replace(settings)
        self.resolver.clear()
        if isinstance(self.answers, TunnelAnswers):
            self.answers.clear()
        return True

    async def wait_closed(self) -> None:
        """Wait until the tunnel has ended for good by itself, and raise the error that ended it."""
        await self.network.wait_closed()


@asynccontextmanager
async def run_tunnel(
    settings: TunnelSettings,
    *,
    observe: StepObserver = ignore_steps,
    on_state: StateObserver = ignore_states,
    dial: Dial = connect_transport,
) -> AsyncIterator[Tunnel]:
    """Set a tunnel up from complete settings, and end it in order on leaving.

    Raises TunnelError when the first connect fails. Calls ``observe`` at each step, ``on_state`` when the tunnel
    comes up, is lost or ends, and ``dial`` to connect to the server.
    """
    resolver: Resolver | None = None
    answers: TunnelAnswers | None = None

    connects = 0

    def forget_old_names(state: TunnelState) -> None:
        # Another connect may reach another network: its names are asked afresh.
        nonlocal connects
        if state.up and session.record.connects != connects:
            connects = session.record.connects
            if resolver is not None:
                resolver.clear()
            if answers is not None:
                answers.clear()
        on_state(state)

    session = Session(settings, observe=observe, on_state=forget_old_names, dial=dial)
    table = NameTable(
        settings.names, domains=lambda: session.search_domains, routes=lambda: session.info.routes
    )  # fmt: skip
    resolver = Resolver(session, table=table, cache_size=settings.limits.dns_names)
    answers = TunnelAnswers(session, table, cache_size=settings.limits.dns_names)
    async with session:
        yield Tunnel(session, resolver, Dialer(session, resolver), answers, table)


class TunnelOptions(TypedDict, total=False):
    """What open_tunnel() hands on as it is; tunnel.settings.TunnelSettings says more about each."""

    connect_to: tuple[str, int] | None
    """Another address to connect to than the name's."""
    proxy: ProxySettings | None
    """The proxy on the way; the environment's variables are not looked at."""
    source_address: str | None
    """The address of this machine to connect from."""
    tenant_id: str | None
    """Which network to ask of a gateway to many."""
    tls: TlsSettings
    """Allows old versions of TLS, and has a client certificate and a key log."""
    password_changed: PasswordObserver
    """Told when the server has taken a new password."""
    eap: EapSettings
    """What "peap" and "eap-tls" need: our certificate, and which authentication server to trust."""
    mtu: int
    """Octets of the largest IP packet sent, 576 to 4087."""
    timeouts: Timeouts
    """Seconds for each step."""
    reconnect: Literal["auto", "never"]
    """ "never" ends the tunnel when it is lost."""
    reconnect_budget: float | None
    """Seconds after a loss during which it is dialled again; None: for ever."""
    dead_after: float | None
    """Seconds after which a server is given up that does not answer what was sent; None: 40 s of silence."""
    hold: float
    """Seconds that new connections and look-ups wait for a tunnel that is down; 0: they raise TunnelDown at once."""
    on_demand: bool
    """Dial at the first connection or look-up; entering the tunnel then does not connect."""
    idle_timeout: float
    """With ``on_demand``: seconds without connections and packets after which the tunnel is ended."""
    address: IPv4Address | None
    """The IPv4 address to ask for, and to have or no tunnel."""
    ecn: Literal["off", "passive", "active"]
    """Explicit congestion notification inside the tunnel: for peers that ask, or asked for, or not at all."""
    strict_routes: bool
    """Reach only what the network pushed routes to, once it has."""
    dhcp: Literal["auto", "anonymous", "never"]
    """Whether to ask the network for routes and search domains at all; "anonymous" gives no host name."""
    ipv6: Literal["auto", "always", "never"]
    """Whether to have IPv6 too, where the server offers it; "always" asks SoftEther too, which stops everything for
    four seconds when it is asked."""


_CHOICES = {
    "reconnect": ("auto", "never"),
    "ecn": ("off", "passive", "active"),
    "dhcp": ("auto", "anonymous", "never"),
    "ipv6": ("auto", "always", "never"),
}


@asynccontextmanager
async def open_tunnel(
    host: str,
    *,
    port: int = DEFAULT_PORT,
    username: str = "",
    password: str | CredentialSource,
    methods: Sequence[str] = tuple(method.value for method in DEFAULT_METHODS),
    ca_file: str | None = None,
    pin_sha256: Sequence[str] = (),
    crl_file: str | None = None,
    first_use: FirstUse | None = None,
    server_name: str | None = None,
    sni: str | None = None,
    search_domains: Sequence[str] = (),
    observe: StepObserver = ignore_steps,
    on_state: StateObserver = ignore_states,
    **options: Unpack[TunnelOptions],
) -> AsyncIterator[Tunnel]:
    """Connect to the SSTP server ``host`` and offer the network behind it until the block is left.

    ``password`` is the password, or an async function that returns Credentials at each log-in (one-time codes).
    A server that wants another one (its request has the reason EXPIRED) is given ``new_password`` of the Credentials.
    ``methods`` names what may be used to log in, most wanted first; "pap" and "chap", which are not among the default,
    give the server more than it should have. ``ca_file`` (PEM) replaces the system's roots; ``pin_sha256`` accepts just
    the certificates (or public keys) with these SHA-256 digests, in hexadecimal or as "sha256//" and base64;
    ``crl_file`` holds lists of revoked certificates; ``first_use`` asks once about a server that nothing vouches for,
    and remembers its key. ``server_name`` is the name to verify when it differs from ``host``, ``sni`` the one that the
    handshake shows when it is yet another, "" for none. ``search_domains``: where names without a dot are looked for,
    before what the network tells by DHCP. TunnelOptions has the rest.

    Raises ConfigError for unusable arguments and TunnelError (with ``exit_code`` and ``hint``) when the first
    connect fails: TransportFailed, CertificateRejected, HttpRejected, CallRejected, AuthenticationFailed,
    NegotiationFailed.
    """
    if not host:
        raise ConfigError("no server was named")
    if not 0 < port < 65536:
        raise ConfigError(f"{port} is no TCP port")
    if not methods:
        raise ConfigError("no authentication method was named")
    if pin_sha256 and (first_use is not None or crl_file is not None):
        raise ConfigError("pin_sha256 alone decides: first_use and crl_file would not be looked at")
    _check(options)
    settings = TunnelSettings(
        host=host,
        port=port,
        trust=TrustSettings(
            server_name=server_name if server_name is not None else host,
            ca_file=ca_file,
            pins=tuple(_digest(pin) for pin in pin_sha256),
            sni=sni,
            crl_file=crl_file,
            first_use=first_use,
        ),
        username=username,
        credentials=_fixed(password) if isinstance(password, str) else password,
        methods=tuple(_method(name) for name in methods),
        search_domains=tuple(_domain(domain) for domain in search_domains),
        **options,
    )
    async with run_tunnel(settings, observe=observe, on_state=on_state) as tunnel:
        yield tunnel


def _check(options: TunnelOptions) -> None:
    mtu = options.get("mtu", DEFAULT_MTU)
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise ConfigError(f"an MTU of {mtu}: it must lie between {MIN_MTU} and {MAX_MTU}")
    for name, value in options.items():
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            *others, last = map(repr, choices)
            raise ConfigError(f"{name}={value!r}: it must be {', '.join(others)} or {last}")


def _fixed(password: str) -> CredentialSource:
    async def source(request: CredentialRequest) -> Credentials:
        return Credentials(request.username, password)

    return source


def _method(name: str) -> AuthMethod:
    try:
        return AuthMethod(name)
    except ValueError:
        known = ", ".join(method.value for method in AuthMethod)
        raise ConfigError(f"unknown authentication method {name!r}", hint=f"known are {known}") from None


def _domain(text: str) -> str:
    try:
        return normalise_name(text)
    except NameNotFound as error:
        raise ConfigError(f"search_domains: {error}") from None


def _digest(text: str) -> bytes:
    try:
        return parse_pin(text)
    except ValueError as error:
        raise ConfigError(f"pin_sha256: {error}") from None


__all__ = [
    "CredentialReason",
    "CredentialRequest",
    "Credentials",
    "FirstUse",
    "ProxyKind",
    "ProxyMethod",
    "ProxySettings",
    "Timeouts",
    "TlsSettings",
    "Tunnel",
    "TunnelOptions",
    "open_tunnel",
    "run_tunnel",
]
