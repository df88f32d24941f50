"""The one table of options.

The flags of the command line, the environment variables and the keys of the configuration file are all made from
it, so the three cannot drift apart. An option called "ca-file" is the flag ``--ca-file``, the variable
``SSTPSOCKS_CA_FILE`` and the key ``ca_file``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ENVIRONMENT_PREFIX = "SSTPSOCKS_"

DEFAULT_LISTEN = "127.0.0.1:1080"  # 1080 is the port that IANA assigned to SOCKS
DEFAULT_MAX_CONNECTIONS = 1024  # what the proxy has, too; far above what a browser opens


class Kind(Enum):
    """What the value of an option is."""

    TEXT = "a string"
    INTEGER = "a whole number"
    SECONDS = "a number of seconds"
    SWITCH = "true or false"
    PATH = "a file name"
    LIST = "a string or a list of strings"
    COUNT = "a whole number: 0, 1 or 2"


class Place(Enum):
    """Where an option may be given."""

    FLAG = "command line"
    ENVIRONMENT = "environment"
    FILE = "configuration file"


EVERYWHERE = frozenset(Place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be configured."""

    name: str
    """With hyphens, as on the command line."""
    kind: Kind = Kind.TEXT
    group: str
    """The heading of the help under which it stands."""
    help: str
    metavar: str = ""
    default: str = ""
    """What the help shows as the default; empty: no default worth showing."""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    places: frozenset[Place] = EVERYWHERE
    short: str = ""
    """The short flag, such as "-v"."""
    positional: bool = False

    @property
    def key(self) -> str:
        """The key in the file, and the attribute of argparse's result."""
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """The flag as messages call it."""
        return self.name.upper() if self.positional else f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.key.upper()


SERVER = "server"
WAY = "way to the server"
LOGIN = "log-in"
PORT = "local port"
TUNNEL = "tunnel"
LIMITS = "time limits, in seconds"
GENERAL = "configuration and output"


def _limit(name: str, default: int, text: str) -> Option:
    return Option(
        name=name,
        kind=Kind.SECONDS,
        group=LIMITS,
        metavar="S",
        default=str(default),
        minimum=0.1,
        maximum=3600,
        help=text,
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        name="server",
        kind=Kind.LIST,
        group=SERVER,
        positional=True,
        metavar="SERVER",
        help="host[:port] or sstp://user@host:port; of several the first that can be reached",
    ),
    Option(
        name="server-name",
        group=SERVER,
        metavar="NAME",
        help="the name that the certificate must hold, if not the server's",
    ),
    Option(
        name="connect-to",
        group=SERVER,
        metavar="ADDRESS[:PORT]",
        help="connect there instead; names and checks stay those of SERVER",
    ),
    Option(
        name="ca-file",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="PEM file with the only root certificates to trust, instead of the system's",
    ),
    Option(
        name="pin-sha256",
        kind=Kind.LIST,
        group=SERVER,
        metavar="HEX",
        help="SHA-256 of the server's certificate or public key, in hexadecimal or as sha256//BASE64; a match replaces "
        "the checks of chain, name and revocation; repeatable",
    ),
    Option(
        name="trust-on-first-use",
        kind=Kind.SWITCH,
        group=SERVER,
        help="ask at the terminal about a certificate that is not trusted, remember the answer, and refuse another "
        "one from then on",
    ),
    Option(
        name="known-hosts",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="where --trust-on-first-use remembers, instead of known_hosts in the configuration folder",
    ),
    Option(
        name="crl-file",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="lists of revoked certificates (PEM or DER) to check the server's chain against",
    ),
    Option(
        name="sni",
        group=SERVER,
        metavar="NAME",
        help="the name that the TLS handshake shows to everybody on the way, if not the one to verify; none for none",
    ),
    Option(
        name="tls-min",
        group=SERVER,
        metavar="VERSION",
        choices=("1.0", "1.1", "1.2", "1.3"),
        default="1.2",
        help="the oldest version of TLS to accept; 1.0 and 1.1, for old routers, are broken",
    ),
    Option(
        name="tls-seclevel",
        kind=Kind.INTEGER,
        group=SERVER,
        metavar="N",
        minimum=0,
        maximum=5,
        help="OpenSSL's security level, 0 to 5, which bounds keys, hashes and ciphers; 0 with --tls-min 1.0 or 1.1",
    ),
    Option(
        name="certificate",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="the certificate to show when the server asks for one in the TLS handshake: PKCS#12, or PEM with the "
        "certificates above it behind it",
    ),
    Option(
        name="key",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="its private key (PEM), if that is in a file of its own",
    ),
    Option(
        name="passphrase-file",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="the pass phrase of the key or the PKCS#12 file is the first line of FILE; without it a terminal asks",
    ),
    Option(
        name="tls-keylog",
        kind=Kind.PATH,
        group=SERVER,
        metavar="FILE",
        help="append the keys of every connection to FILE, for Wireshark; they decrypt everything",
    ),
    Option(
        name="tenant-id",
        group=SERVER,
        metavar="ID",
        help="the tenant that a gateway of many networks is asked for (?tenantid=); other servers answer 404 to it",
    ),
    Option(
        name="proxy",
        group=WAY,
        metavar="URL|none",
        help="the proxy that leads to the server: http://, https://, socks5:// or socks5h://HOST:PORT; "
        "otherwise HTTPS_PROXY, ALL_PROXY and NO_PROXY say",
    ),
    Option(name="proxy-user", group=WAY, metavar="NAME", help="the user name for the proxy"),
    Option(
        name="proxy-password",
        group=WAY,
        places=frozenset({Place.ENVIRONMENT, Place.FILE}),
        help="the password for the proxy; not on the command line, where every user of the machine can read it",
    ),
    Option(
        name="proxy-password-file",
        kind=Kind.PATH,
        group=WAY,
        metavar="FILE",
        help="read the password for the proxy from the first line of FILE at each log-in",
    ),
    Option(
        name="proxy-password-command",
        group=WAY,
        metavar="CMD",
        help="take the password for the proxy from the first line that CMD prints, run afresh at each log-in",
    ),
    Option(
        name="proxy-auth",
        kind=Kind.LIST,
        group=WAY,
        metavar="LIST",
        default="negotiate,digest,ntlm,basic",
        help="what may be used to log in to an HTTP proxy; the strongest that it offers is. basic shows it, and "
        "without https:// the network, the password",
    ),
    Option(
        name="proxy-ca-file",
        kind=Kind.PATH,
        group=WAY,
        metavar="FILE",
        help="PEM file with the only root certificates to trust for an https:// proxy, instead of the system's",
    ),
    Option(
        name="source-address",
        group=WAY,
        metavar="ADDRESS",
        help="connect from this address of the machine, not from the one that the system chooses",
    ),
    Option(name="user", group=LOGIN, short="-u", metavar="NAME", help="the user name, also DOMAIN\\NAME or NAME@REALM"),
    Option(
        name="password",
        group=LOGIN,
        places=frozenset({Place.ENVIRONMENT, Place.FILE}),
        help="the password; not on the command line, where every user of the machine can read it",
    ),
    Option(
        name="password-file",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="read the password from the first line of FILE at each log-in",
    ),
    Option(
        name="password-command",
        group=LOGIN,
        metavar="CMD",
        help="take the password from the first line that CMD prints, run afresh at each log-in",
    ),
    Option(
        name="keyring",
        kind=Kind.SWITCH,
        group=LOGIN,
        help="take the password from the system's keyring at each log-in (pip install sstpsocks[keyring])",
    ),
    Option(
        name="one-time-password",
        kind=Kind.SWITCH,
        group=LOGIN,
        help="the password is a one-time code: ask for another one at each log-in, also after a loss of the tunnel",
    ),
    Option(
        name="new-password-file",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="if the server says that the password has expired, change it to the first line of FILE",
    ),
    Option(
        name="auth",
        kind=Kind.LIST,
        group=LOGIN,
        metavar="LIST",
        default="mschapv2,eap-mschapv2",
        help="what may be used to log in, most wanted first: mschapv2, eap-mschapv2, peap, eap-tls, and eap-gtc, "
        "eap-md5, chap, pap, which show the server the password or prove nothing to us; with --ca-file or an --eap-... "
        "option also peap, with --eap-cert eap-tls first of all",
    ),
    Option(
        name="eap-cert",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="log in by EAP-TLS with this certificate: PKCS#12, or PEM with the certificates above it behind it",
    ),
    Option(
        name="eap-key",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="its private key (PEM), if that is in a file of its own",
    ),
    Option(
        name="eap-passphrase-file",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="the pass phrase of the key or the PKCS#12 file is the first line of FILE; without it a terminal asks",
    ),
    Option(
        name="eap-ca-file",
        kind=Kind.PATH,
        group=LOGIN,
        metavar="FILE",
        help="PEM file with the only root certificates to trust for the authentication server of PEAP and EAP-TLS, "
        "instead of those of --ca-file or the system",
    ),
    Option(
        name="eap-server-name",
        kind=Kind.LIST,
        group=LOGIN,
        metavar="NAME",
        help="a name that the authentication server's certificate must hold one of; repeatable; without, any that "
        "the --ca-file or --eap-ca-file has signed, or the VPN server's with the system's root certificates",
    ),
    Option(
        name="eap-pin-sha256",
        kind=Kind.LIST,
        group=LOGIN,
        metavar="HEX",
        help="SHA-256 of the authentication server's certificate or public key; a match replaces the checks of chain "
        "and name; repeatable",
    ),
    Option(
        name="outer-identity",
        group=LOGIN,
        metavar="NAME",
        help="the user name to give before the authentication server has proved itself, such as anonymous@REALM",
    ),
    Option(
        name="hlak",
        group=LOGIN,
        metavar="WHAT",
        choices=("auto", "keys", "zero"),
        default="auto",
        help="what binds the tunnel to a log-in by eap-mschapv2: its keys, zeroes, or auto, which tries zeroes when "
        "the server ends the call because of the keys",
    ),
    Option(
        name="listen",
        group=PORT,
        short="-l",
        metavar="[HOST:]PORT",
        default=DEFAULT_LISTEN,
        help="where to offer SOCKS5; port 0 takes a free one",
    ),
    Option(
        name="allow-remote",
        kind=Kind.SWITCH,
        group=PORT,
        help="let --listen take an address that other machines reach without asking for credentials",
    ),
    Option(name="socks-user", group=PORT, metavar="NAME", help="the user name that local programs must give"),
    Option(
        name="socks-password-file",
        kind=Kind.PATH,
        group=PORT,
        metavar="FILE",
        help="the password that they must give is the first line of FILE",
    ),
    Option(
        name="max-connections",
        kind=Kind.INTEGER,
        group=PORT,
        metavar="N",
        default=str(DEFAULT_MAX_CONNECTIONS),
        minimum=1,
        maximum=60000,
        help="how many connections of local programs are served at once",
    ),
    Option(
        name="mtu",
        kind=Kind.INTEGER,
        group=TUNNEL,
        metavar="N",
        default="1400",
        minimum=576,
        maximum=4087,
        help="the largest IP packet in the tunnel, 576 to 4087",
    ),
    Option(
        name="address",
        group=TUNNEL,
        metavar="ADDRESS",
        help="the IPv4 address to ask the server for, and to have or no tunnel; without, whichever the server gives",
    ),
    Option(
        name="reconnect",
        group=TUNNEL,
        metavar="WHEN",
        choices=("auto", "never"),
        default="auto",
        help="what to do when an established tunnel is lost: auto dials again, never exits with 7",
    ),
    Option(
        name="search-domain",
        kind=Kind.LIST,
        group=TUNNEL,
        metavar="DOMAIN",
        help="look for names without a dot in DOMAIN first, before the domains that the network tells by DHCP; "
        "repeatable",
    ),
    Option(
        name="strict-routes",
        kind=Kind.SWITCH,
        group=TUNNEL,
        help="once the network has pushed routes, let nothing through that they do not lead to",
    ),
    Option(
        name="dhcp",
        group=TUNNEL,
        metavar="WHEN",
        choices=("auto", "anonymous", "never"),
        default="auto",
        help="ask the network for routes and search domains (DHCPINFORM); anonymous gives no host name",
    ),
    Option(
        name="ipv6",
        group=TUNNEL,
        metavar="WHEN",
        choices=("auto", "always", "never"),
        default="auto",
        help="whether to have IPv6 in the tunnel: auto takes it where the server offers it; always asks SoftEther "
        "too, which stops everything for 4 s when asked",
    ),
    Option(
        name="ecn",
        group=TUNNEL,
        metavar="WHEN",
        choices=("active", "passive", "off"),
        default="passive",
        help="explicit congestion notification inside the tunnel: ask for it, use it with those who ask, or never",
    ),
    Option(
        name="pcap",
        kind=Kind.PATH,
        group=TUNNEL,
        metavar="FILE",
        help="write the IP packets inside the tunnel to FILE as pcapng",
    ),
    _limit("connect-timeout", 15, "resolving the server's name and TCP"),
    _limit("proxy-timeout", 30, "each answer of a proxy on the way to the server"),
    _limit("tls-timeout", 15, "TLS handshake"),
    _limit("http-timeout", 60, "the server's answer to the HTTP request"),
    _limit("lcp-timeout", 30, "LCP negotiation"),
    _limit("auth-timeout", 60, "authentication"),
    _limit("address-timeout", 30, "negotiation of the addresses"),
    Option(
        name="config",
        kind=Kind.PATH,
        group=GENERAL,
        short="-c",
        metavar="FILE",
        places=frozenset({Place.FLAG, Place.ENVIRONMENT}),
        help="the configuration file (TOML), instead of config.toml in the configuration folder",
    ),
    Option(
        name="profile",
        group=GENERAL,
        metavar="NAME",
        places=frozenset({Place.FLAG, Place.ENVIRONMENT}),
        help="use [profiles.NAME] of the configuration file",
    ),
    Option(
        name="ready-file",
        kind=Kind.PATH,
        group=GENERAL,
        metavar="FILE",
        help="write a JSON object with the port and the addresses to FILE once the tunnel carries traffic",
    ),
    Option(
        name="log-format",
        group=GENERAL,
        metavar="FORMAT",
        choices=("text",),
        default="text",
        help="text; setting it gives log lines on a terminal, too",
    ),
    Option(
        name="verbose",
        kind=Kind.COUNT,
        group=GENERAL,
        short="-v",
        minimum=0,
        maximum=9,
        help="say more; -vv for all details",
    ),
    Option(name="quiet", kind=Kind.SWITCH, group=GENERAL, short="-q", help="say nothing but warnings and errors"),
)

BY_KEY: dict[str, Option] = {option.key: option for option in OPTIONS}
"""The options by the name that they have in the file."""


def option_of(key: str) -> Option:
    """Return the option of that key. Raises KeyError when there is none."""
    return BY_KEY[key]


def keys_of(place: Place) -> tuple[str, ...]:
    """Return the keys of the options that may be given there, in the order of the table."""
    return tuple(option.key for option in OPTIONS if place in option.places)
