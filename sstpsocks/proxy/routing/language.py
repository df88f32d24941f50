"""The language of the rules: one line says which destinations take which way.

    rule         = destinations [ "port" ports ] "->" way
    destinations = "all" | destination *( "," destination )
    destination  = name | "." name | address [ "/" bits ]
    ports        = port [ "-" port ] *( "," port [ "-" port ] )
    way          = the name of a tunnel | "direct" | "refuse"

``host.example`` is that name alone, ``.example`` (also written ``*.example``) is the domain and all below it. Reading
is strict, since a rule that means something else than its author believes sends traffic where it must not go; every
mistake has its column and, where one can be guessed, what was probably meant. Writing gives the one form that is read
back as the same rule.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ...dns.names import normalise_name
from ...errors import NameNotFound
from ...tunnel.network import IPAddress

DIRECT = "direct"
REFUSE = "refuse"

ALL = "all"
PORT = "port"
ARROW = "->"
COMMA = ","

IPNetwork = IPv4Network | IPv6Network

# What other programs call the two ways that are no tunnel.
_WAYS_ELSEWHERE = {
    **dict.fromkeys(("reject", "deny", "block", "drop", "none", "no"), REFUSE),
    **dict.fromkeys(("bypass", "freedom", "noproxy", "local"), DIRECT),
}
_TOKEN = re.compile(r"[^\s,]+|,")
_WRONG_ARROW = re.compile(r"\s(?:=>|→|-|=|via|to)\s|→|=>")
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/\[\]]+)):([0-9]+(?:-[0-9]+)?)")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?([^/:?#]+).*", re.IGNORECASE)
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_NUMBERS = re.compile(r"[0-9.]+", re.ASCII)


class RuleSyntaxError(ValueError):
    """A rule that cannot be read."""

    def __init__(self, message: str, column: int, suggestion: str = "") -> None:
        super().__init__(f"column {column + 1}: {message}")
        self.column = column
        """Where in the text, counted from 0."""
        self.suggestion = suggestion
        """One sentence that says what was probably meant, or empty."""


@dataclass(frozen=True, slots=True)
class Everything:
    """All destinations."""

    def __str__(self) -> str:
        return ALL


@dataclass(frozen=True, slots=True)
class NameIs:
    """One name alone."""

    name: str
    """Normalised: ASCII, lower case, without the final dot."""

    def __str__(self) -> str:
        # A host may be called like a word of the language; the final dot tells them apart.
        return f"{self.name}." if self.name in (ALL, PORT) else self.name


@dataclass(frozen=True, slots=True)
class NameUnder:
    """A domain and every name below it."""

    domain: str
    """Normalised, without the leading dot."""

    def __str__(self) -> str:
        return f".{self.domain}"


@dataclass(frozen=True, slots=True)
class Within:
    """The addresses of a network."""

    network: IPNetwork

    def __str__(self) -> str:
        if self.network.prefixlen == self.network.max_prefixlen:
            return str(self.network.network_address)
        return str(self.network)


Destination = Everything | NameIs | NameUnder | Within


@dataclass(frozen=True, slots=True)
class PortRange:
    """TCP or UDP ports, both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < 65536:
            raise ValueError(f"there are no ports from {self.low} to {self.high}")

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    destinations: tuple[Destination, ...]
    ports: tuple[PortRange, ...]
    """Empty: every port."""
    way: str
    """DIRECT, REFUSE or the name of a tunnel."""

    def __str__(self) -> str:
        where = ", ".join(map(str, self.destinations))
        ports = f" port {','.join(map(str, self.ports))}" if self.ports else ""
        return f"{where}{ports} {ARROW} {self.way}"

    def covers_port(self, port: int | None) -> bool:
        """Whether the rule is about this port; about none in particular only when it is about all of them."""
        return not self.ports or (port is not None and any(port in ports for ports in self.ports))

    def covers_name(self, name: str) -> bool:
        """Whether the rule is about this normalised name, as far as the name alone tells."""
        return any(_covers_name(destination, name) for destination in self.destinations)

    def covers_address(self, address: IPAddress) -> bool:
        """Whether the rule is about this address."""
        return any(
            isinstance(destination, Everything) or (isinstance(destination, Within) and address in destination.network)
            for destination in self.destinations
        )

    @property
    def needs_addresses(self) -> bool:
        """Whether the rule may be about a name of which only the addresses tell."""
        return any(isinstance(destination, Within) for destination in self.destinations)


def _covers_name(destination: Destination, name: str) -> bool:
    match destination:
        case Everything():
            return True
        case NameIs():
            return name == destination.name
        case NameUnder():
            return name == destination.domain or name.endswith(f".{destination.domain}")
        case Within():
            return False


def parse_rule(text: str) -> Rule:
    """Read one rule. Raises RuleSyntaxError."""
    left, arrow, right = text.partition(ARROW)
    if not arrow:
        raise _without_arrow(text)
    way = right.strip()
    where_way = len(left) + len(ARROW) + len(right) - len(right.lstrip())
    if not way:
        raise RuleSyntaxError("no way is named", len(text), f"Write the name of a tunnel, {DIRECT} or {REFUSE}")
    check_way_name(way, where_way)
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(left)]
    at_port = next((index for index, (word, _) in enumerate(tokens) if word == PORT), None)
    destinations = _destinations(tokens[:at_port], at_port is not None)
    ports = () if at_port is None else _ports(tokens[at_port + 1 :], tokens[at_port][1])
    return Rule(destinations, ports, way)


def check_way_name(way: str, column: int = 0) -> None:
    """Raise RuleSyntaxError for what can be the name of no way."""
    if not way.isprintable() or way != way.strip() or ARROW in way:
        raise RuleSyntaxError(f"{way!r} cannot be the name of a tunnel", column)
    plain = way.lower()
    if plain in (DIRECT, REFUSE) and way != plain:
        raise RuleSyntaxError(f"{way!r} is neither a tunnel nor a way", column, f'Did you mean "{plain}"?')


def check_ways(rules: Iterable[Rule], tunnels: Iterable[str]) -> None:
    """Raise RuleSyntaxError when a rule names a tunnel that is not there."""
    known = [*tunnels]
    for rule in rules:
        if rule.way not in (DIRECT, REFUSE, *known):
            text = str(rule)
            close = difflib.get_close_matches(rule.way, [*known, DIRECT, REFUSE], n=1, cutoff=0.6)
            meant = _WAYS_ELSEWHERE.get(rule.way.lower(), close[0] if close else "")
            ways = ", ".join([*known, DIRECT, REFUSE])
            raise RuleSyntaxError(
                f'"{text}": there is no tunnel "{rule.way}"',
                text.index(ARROW) + len(ARROW) + 1,
                f'Did you mean "{meant}"?' if meant else f"The ways are: {ways}",
            )


def _without_arrow(text: str) -> RuleSyntaxError:
    wrong = _WRONG_ARROW.search(text)
    if wrong is not None:
        meant = f"{text[: wrong.start()].strip()} {ARROW} {text[wrong.end() :].strip()}"
        return RuleSyntaxError(f"there is no {ARROW}", wrong.start(), f'Did you mean "{meant}"?')
    return RuleSyntaxError(
        f"there is no {ARROW}", len(text), f"Write DESTINATION {ARROW} WAY, such as .corp.example {ARROW} {DIRECT}"
    )


def _items(tokens: list[tuple[str, int]], what: str, end: int) -> list[tuple[str, int]]:
    """Return what stands between the commas."""
    if not tokens:
        raise RuleSyntaxError(f"no {what} is named", end)
    items: list[tuple[str, int]] = []
    wants_item = True
    for word, column in tokens:
        if word == COMMA:
            if wants_item:
                raise RuleSyntaxError(f"there is no {what} before this comma", column)
        elif not wants_item:
            raise RuleSyntaxError(f"{word!r} does not belong here", column, _misplaced(word))
        else:
            items.append((word, column))
        wants_item = word == COMMA
    if wants_item:
        raise RuleSyntaxError(f"there is no {what} behind this comma", tokens[-1][1])
    return items


def _misplaced(token: str) -> str:
    if difflib.get_close_matches(token.lower().rstrip(":="), ["port"], n=1, cutoff=0.6):
        return 'Did you mean "port"?'
    return "Several are separated by commas"


def _destinations(tokens: list[tuple[str, int]], has_ports: bool) -> tuple[Destination, ...]:
    if not tokens and has_ports:
        return (Everything(),)
    items = _items(tokens, "destination", 0)
    found = [_destination(token, column) for token, column in items]
    for destination, (_, column) in zip(found, items, strict=True):
        if isinstance(destination, Everything) and len(found) > 1:
            raise RuleSyntaxError(f"{ALL} leaves nothing for other destinations beside it", column)
    return tuple(dict.fromkeys(found))


def _destination(token: str, column: int) -> Destination:
    if token in (ALL, "*"):
        return Everything()
    bare = token[1:-1] if token.startswith("[") and token.endswith("]") else token
    if "/" in token or ":" in bare or _NUMBERS.fullmatch(token):
        return _network(bare, column)
    if token.lower() == ALL:
        raise RuleSyntaxError(f"{token!r} is no destination", column, f'Did you mean "{ALL}"?')
    under = token.startswith((".", "*."))
    name = token[token.index(".") + 1 :] if under else token
    if "*" in name:
        raise RuleSyntaxError("a star stands only for all that is below a domain: *.example", column)
    try:
        normalised = normalise_name(name)
        ip_address(normalised)
    except NameNotFound as error:
        raise RuleSyntaxError(str(error), column) from None
    except ValueError:
        return NameUnder(normalised) if under else NameIs(normalised)
    raise RuleSyntaxError(f"{token!r} is neither a name nor an address", column, f'Did you mean "{normalised}"?')


def _network(text: str, column: int) -> Within:
    url = _URL.fullmatch(text)
    if url is not None:
        raise RuleSyntaxError("a rule is about hosts, not about URLs", column, f'Did you mean "{url[1]}"?')
    try:
        network = ip_network(text)
    except ValueError as error:
        raise RuleSyntaxError(f"{text!r} is no network: {error}", column, _network_meant(text)) from None
    if isinstance(network, IPv6Network):
        if network.network_address.scope_id is not None:
            raise RuleSyntaxError("a zone belongs to this machine's own links, which no tunnel reaches", column)
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            meant = Within(IPv4Network((mapped, network.prefixlen - 96)))
            # An IPv4 node's address in IPv6 notation is dialled as IPv4, so such a rule would never match.
            raise RuleSyntaxError("IPv4 addresses are written as such", column, f'Did you mean "{meant}"?')
    return Within(network)


def _network_meant(text: str) -> str:
    with_port = _WITH_PORT.fullmatch(text)
    if with_port is not None:
        return f'Did you mean "{with_port[1] or with_port[2]} port {with_port[3]}"?'
    try:
        return f'Did you mean "{ip_network(text, strict=False)}"?'
    except ValueError:
        return "Write 10.0.0.0/8, 2001:db8::/32 or one address"


def _ports(tokens: list[tuple[str, int]], column: int) -> tuple[PortRange, ...]:
    found: list[PortRange] = []
    for token, at in _items(tokens, "port", column + len("port")):
        match = _PORT.fullmatch(token)
        if match is None:
            raise RuleSyntaxError(f"{token!r} is no port", at, "Write 443, 8000-8999 or 80,443")
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        try:
            found.append(PortRange(low, high))
        except ValueError as error:
            swapped = f'Did you mean "{high}-{low}"?' if 0 < high < low < 65536 else ""
            raise RuleSyntaxError(str(error), at, swapped or "Ports are 1 to 65535") from None
    return tuple(dict.fromkeys(found))
