"""Everything that one tunnel needs to know, checked and immutable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Literal

# The vocabulary of a log-in is part of the settings; floors above take it from here.
from ..ppp.auth import AuthMethod as AuthMethod
from ..ppp.auth import Credentials as Credentials
from .name_settings import NameSettings
from .tls_settings import FirstUse as FirstUse
from .tls_settings import TlsSettings as TlsSettings

if TYPE_CHECKING:
    from .client_certificate import ClientCertificate

DEFAULT_PORT = 443
DEFAULT_MTU = 1400  # Windows' default; larger inner packets may not survive the network behind the server
# What proves both ends to each other and binds SSTP to that. PAP and CHAP-MD5 give the password, or all that is needed
# to guess it, to whoever holds a certificate that passes, so they are used only where they are named.
DEFAULT_METHODS = (AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2)
MIN_MTU = 576  # RFC 791: every host accepts datagrams of 576 octets
MAX_MTU = 4087  # MS-SSTP 3.1.5.2: 4095 less 4 of SSTP header and 4 of PPP header


class CredentialReason(Enum):
    """Why credentials are wanted: a source that can ask (prompt, command) asks afresh each time."""

    LOGIN = "login"
    """A log-in: the first of a connect, or of a reconnect."""
    RETRY = "retry"
    """The server refused the last ones and allows another try (R=1, RFC 2759 section 6)."""
    EXPIRED = "expired"
    """The server wants another password instead of the last one (E=648): return both, with ``new_password``."""


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """What a credential source is told."""

    reason: CredentialReason
    username: str
    """The user name that was configured; may be empty."""
    server: str
    """The server as "host:port", for prompts."""
    message: str = ""
    """The server's own text about the last refusal; show it, do not trust it."""


CredentialSource = Callable[[CredentialRequest], Awaitable[Credentials]]
"""Returns credentials, or raises ConfigError or AuthenticationFailed when there are none."""


PasswordObserver = Callable[[Credentials], Awaitable[None]]
"""Told when the server has taken a new password, with the credentials that are good from now on."""


async def ignore_password(_credentials: Credentials) -> None:
    """Keep no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each step may take, in seconds."""

    connect: float = 15.0
    """Resolving the server's name and TCP; of the proxy, where there is one."""
    proxy: float = 30.0
    """Everything that a proxy takes until it leads to the server."""
    tls: float = 15.0
    http: float = 60.0
    lcp: float = 30.0
    authentication: float = 60.0
    addresses: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Which certificate is accepted."""

    server_name: str
    """The DNS name or IP address that the certificate must hold."""
    sni: str | None = None
    """The name that SNI carries; None: ``server_name`` if that is a name, as SNI knows no addresses; "": none."""
    ca_file: str | None = None
    """PEM file with the only roots to trust; None: the system's."""
    pins: tuple[bytes, ...] = ()
    """SHA-256 digests (32 bytes each) of the leaf certificate or of its public key (SPKI). When given, one must
    match, and a match replaces the checks of chain, name and revocation."""
    crl_file: str | None = None
    """File with the lists of revoked certificates to check the chain against, PEM or DER; None: none are."""
    first_use: FirstUse | None = None
    """How to trust servers that nothing vouches for once a person has confirmed them; None: not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EapSettings:
    """How to log in by EAP. The authentication server that TLS leads to there is usually another one."""

    ca_file: str | None = None
    """PEM file with the only authorities to trust; None: those of TrustSettings."""
    server_names: tuple[str, ...] = ()
    """Names, one of which its certificate must hold; empty: any, but the tunnel server's with public authorities."""
    pins: tuple[bytes, ...] = ()
    """SHA-256 digests of its certificate or public key; when given, one must match, and nothing else counts."""
    certificate: ClientCertificate | None = None
    """Ours, for EAP-TLS (client_certificate.py)."""
    outer_identity: str = ""
    """Who to be until the server has proved itself, such as "anonymous@realm"; empty: the user."""
    hlak: Literal["auto", "keys", "zero"] = "auto"
    """What binds SSTP to bare EAP-MSCHAPv2: its key, zeroes, or what the server wants (eap_login.py)."""


class ProxyKind(Enum):
    """How a proxy is spoken to; the value is the scheme of its URL."""

    HTTP = "http"
    HTTPS = "https"
    """HTTP inside TLS."""
    SOCKS5 = "socks5"
    """The server's name is resolved here."""
    SOCKS5H = "socks5h"
    """The server's name is resolved by the proxy."""


class ProxyMethod(Enum):
    """How to log in to an HTTP proxy; the value is the scheme in lower case."""

    NEGOTIATE = "negotiate"
    DIGEST = "digest"
    NTLM = "ntlm"
    BASIC = "basic"

    @property
    def spelling(self) -> str:
        """The scheme as it is usually written."""
        return "NTLM" if self is ProxyMethod.NTLM else self.value.capitalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """A proxy on the way to the server."""

    kind: ProxyKind
    host: str
    port: int
    username: str = ""
    credentials: CredentialSource | None = field(default=None, repr=False)
    """Asked when the proxy wants a log-in; None: nobody can be asked."""
    methods: tuple[ProxyMethod, ...] = tuple(ProxyMethod)
    """What may be used to log in to an HTTP proxy; the strongest that it offers is."""
    ca_file: str | None = None
    """PEM file with the only roots to trust for a proxy inside TLS; None: the system's."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"proxy {host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLimits:
    """How much one tunnel may hold for the programs that use it."""

    flows: int = 65_536
    """TCP connections at once."""
    half_open: int = 4096
    """Those of them that nobody has answered yet."""
    memory: int = 256 * 1024 * 1024
    """Octets that all connections and datagrams may hold together."""
    dns_names: int = 1024
    """Names whose addresses are remembered, and answers of the DNS port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSettings:
    """One server and how to log in to it."""

    host: str
    """Name or address of the server as the user gave it; goes into the Host header."""
    port: int = DEFAULT_PORT
    connect_to: tuple[str, int] | None = None
    """Connect to this address and port instead; names and checks stay those of ``host``."""
    proxy: ProxySettings | None = None
    """The proxy that leads to the server; without one the connection is made directly."""
    source_address: str | None = None
    """The local address to connect from; None: the system's choice."""
    tenant_id: str | None = None
    """Asked for in the SSTP request (MS-SSTP 3.2.4.1); other servers than those that want it answer 404."""
    alternatives: tuple[TunnelSettings, ...] = ()
    """Other servers, to be tried in this order when this one cannot be reached."""
    trust: TrustSettings
    tls: TlsSettings = field(default_factory=TlsSettings)
    username: str = ""
    credentials: CredentialSource
    password_changed: PasswordObserver = ignore_password
    methods: tuple[AuthMethod, ...] = DEFAULT_METHODS
    """What may be used to log in, most wanted first."""
    eap: EapSettings = field(default_factory=EapSettings)
    mtu: int = DEFAULT_MTU
    """Largest IP packet we send, 576 to 4087 octets."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    hello_interval: float = 20.0
    """Seconds of silence before an echo request; the same again without any packet means the path is dead."""
    reconnect: Literal["auto", "never"] = "auto"
    dead_after: float | None = None
    """Seconds after which a server is given up that has not answered what was sent; None: after two times
    ``hello_interval`` of silence."""
    reconnect_budget: float | None = None
    """Seconds after a loss during which it is dialled again; None: for ever."""
    on_demand: bool = False
    """Dial when somebody wants the tunnel, and end it when nobody has used it for ``idle_timeout``."""
    idle_timeout: float = 300.0
    """Seconds without connections and without anything sent."""
    hold: float = 0.0
    """Seconds that new requests wait for a tunnel that is down; 0: they fail at once."""
    address: IPv4Address | None = None
    """The IPv4 address to ask for, and to have or no tunnel; None: whichever the server gives."""
    ecn: Literal["off", "passive", "active"] = "passive"
    """Explicit congestion notification inside the tunnel (RFC 3168): ours to ask for, only for peers that ask, or
    not at all."""
    dhcp: Literal["auto", "anonymous", "never"] = "auto"
    """Whether to ask the network with DHCPINFORM for routes and search domains; anonymous: without any host name."""
    ipv6: Literal["auto", "always", "never"] = "auto"
    """Whether to have IPv6 in the tunnel if the server has it; auto does not ask servers that stall when asked."""
    identifier_secret: bytes | None = field(default=None, repr=False)
    """At least 16 octets that nobody else knows: with the same ones our IPv6 address in the same network is always the
    same (RFC 7217). None: random ones for each session."""
    strict_routes: bool = False
    """Reach only what the server pushed routes to, once it has pushed some."""
    search_domains: tuple[str, ...] = ()
    """Where single-label names are looked for first: lower case, ASCII, without the final dot."""
    names: NameSettings = field(default_factory=NameSettings)
    """Whose servers are asked about which names, and what needs no asking."""
    limits: FlowLimits = field(default_factory=FlowLimits)
    """How much the tunnel may hold."""
    label: str = ""
    """What captures, traces and logs call the tunnel; empty: by its server."""
    pcap_file: str | None = None
    """Where to write the inner IP packets as pcapng; None: nowhere."""
    pcap_size: int | None = None
    """Octets after which the next capture file is begun; None: there is one, of any size."""
    pcap_files: int = 5
    """How many capture files are kept when they are limited in size."""
    trace: bool = False
    """Whether each packet is told in a line of the logger "sstpsocks.trace"."""

    @property
    def server(self) -> str:
        """The server as "host:port" for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
