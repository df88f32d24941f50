"""The rules as a proxy auto-configuration file, for browsers: ``/proxy.pac`` and ``/wpad.dat``.

Theory of operation. The file says DIRECT only where a rule sends a destination ``direct``, and name (or address) and
port alone decide that. Everything else goes to our port, where the router decides as for every other program: so a rule
that refuses, and one that needs the name's addresses, never turn into a direct connection. Nothing in it resolves a
name: the helpers that could (isInNet, dnsResolve, isResolvable) are not used, and no other helper either, so that every
engine runs the same code. It is ECMAScript 3, which WinHTTP still wants. What the rules hold reaches the script as
JSON literals only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from .language import DIRECT, Everything, IPNetwork, NameIs, NameUnder, Rule, Within
from .table import RuleTable

PAC_TYPE = "application/x-ns-proxy-autoconfig"
PAC_PATHS = ("/proxy.pac", "/wpad.dat")

# What is never dialled (../rules.py) is left to the port, which says no. Forms that hold an IPv4 address are left to it
# altogether.
_NEVER_DIRECT: tuple[IPNetwork, ...] = (
    *map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")),
    *map(IPv6Network, ("::/96", "64:ff9b::/96", "2002::/16", "fe80::/10", "ff00::/8")),
)

_SCRIPT = """\
// Made by sstpsocks from its rules. What is not certain to be direct goes to the local port, which applies the rules.
var PROXY = %(proxy)s;
// Each rule: direct or not, ports, names, domains, networks, everything.
// A network is its groups of 16 bits and a length.
var RULES = %(rules)s;
var NEVER_DIRECT = %(never)s;
var DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21};

function portOf(url) {
    var pattern = /^([a-z][a-z0-9+.-]*):\\/\\/(?:[^\\/?#]*@)?(?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::([0-9]*))?(?:[\\/?#]|$)/i;
    var parts = pattern.exec(url);
    if (!parts) { return 0; }
    return parts[2] ? parseInt(parts[2], 10) : DEFAULT_PORTS[parts[1].toLowerCase()] || 0;
}

function groupsOfIPv4(text) {
    var parts = /^([0-9]{1,3})\\.([0-9]{1,3})\\.([0-9]{1,3})\\.([0-9]{1,3})$/.exec(text), i, n, bytes = [];
    if (!parts) { return null; }
    for (i = 1; i < 5; i++) {
        n = parseInt(parts[i], 10);
        if (n > 255 || String(n) !== parts[i]) { return null; }
        bytes.push(n);
    }
    return [bytes[0] * 256 + bytes[1], bytes[2] * 256 + bytes[3]];
}

function groupsOfHalf(text) {
    var pieces, groups = [], i, inner;
    if (text === "") { return groups; }
    pieces = text.split(":");
    for (i = 0; i < pieces.length; i++) {
        if (pieces[i].indexOf(".") >= 0 && i === pieces.length - 1) {
            inner = groupsOfIPv4(pieces[i]);
            if (!inner) { return null; }
            groups.push(inner[0], inner[1]);
        } else if (/^[0-9a-f]{1,4}$/.test(pieces[i])) {
            groups.push(parseInt(pieces[i], 16));
        } else {
            return null;
        }
    }
    return groups;
}

function groupsOfIPv6(text) {
    var halves = text.split("::"), left, right;
    if (halves.length > 2) { return null; }
    left = groupsOfHalf(halves[0]);
    if (!left) { return null; }
    if (halves.length === 1) { return left.length === 8 ? left : null; }
    right = groupsOfHalf(halves[1]);
    if (!right || left.length + right.length > 7) { return null; }
    while (left.length + right.length < 8) { left.push(0); }
    left = left.concat(right);
    if (left.slice(0, 6).join() === "0,0,0,0,0,65535") { return left.slice(6); }
    return left;
}

function within(groups, network) {
    var length = network[1], i, shift;
    if (groups.length !== network[0].length) { return false; }
    for (i = 0; i < groups.length && length > 0; i++, length -= 16) {
        shift = length < 16 ? 16 - length : 0;
        if (groups[i] >> shift !== network[0][i] >> shift) { return false; }
    }
    return true;
}

function withinAny(groups, networks) {
    for (var i = 0; i < networks.length; i++) {
        if (within(groups, networks[i])) { return true; }
    }
    return false;
}

function isUnder(host, domains) {
    var i, tail;
    for (i = 0; i < domains.length; i++) {
        tail = "." + domains[i];
        if (host === domains[i]) { return true; }
        if (host.length > tail.length && host.slice(host.length - tail.length) === tail) { return true; }
    }
    return false;
}

function isOneOf(host, names) {
    for (var i = 0; i < names.length; i++) {
        if (host === names[i]) { return true; }
    }
    return false;
}

function coversPort(ports, port) {
    for (var i = 0; i < ports.length; i++) {
        if (ports[i][0] <= port && port <= ports[i][1]) { return true; }
    }
    return ports.length === 0;
}

function FindProxyForURL(url, host) {
    var port = portOf(url), groups = null, i, rule;
    host = host.toLowerCase().replace(/^\\[(.*)\\]$/, "$1").replace(/\\.$/, "");
    if (port < 1 || port > 65535) { return PROXY; }
    if (host.indexOf(":") >= 0) {
        groups = groupsOfIPv6(host);
        if (!groups) { return PROXY; }
    } else if (/(^|\\.)([0-9]+|0x[0-9a-f]*)$/.test(host)) {
        groups = groupsOfIPv4(host);
        if (!groups) { return PROXY; }
    } else if (host === "localhost" || isUnder(host, ["localhost"]) || !/^[a-z0-9_.-]+$/.test(host)) {
        return PROXY;
    }
    if (groups && withinAny(groups, NEVER_DIRECT)) { return PROXY; }
    for (i = 0; i < RULES.length; i++) {
        rule = RULES[i];
        if (!coversPort(rule[1], port)) { continue; }
        if (rule[5] || (groups ? withinAny(groups, rule[4]) : isOneOf(host, rule[2]) || isUnder(host, rule[3]))) {
            return rule[0] ? "DIRECT" : PROXY;
        }
        // Only the addresses of the name could tell, and looking it up here would give it away.
        if (!groups && rule[4].length) { return PROXY; }
    }
    return PROXY;
}
"""


def proxy_configuration(table: RuleTable, host: str, port: int) -> str:
    """Return the file for programs that reach our port at ``host`` (a name or address, IPv6 without brackets)."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _SCRIPT % {
        "proxy": json.dumps(f"PROXY {where}"),
        "rules": _lines([_rule(rule) for rule in table.rules]),
        "never": json.dumps([_network(network) for network in _NEVER_DIRECT]),
    }


def _lines(items: Sequence[object]) -> str:
    inside = ",\n".join(f"    {json.dumps(item)}" for item in items)
    return f"[\n{inside}\n]" if items else "[]"


def _rule(rule: Rule) -> list[object]:
    destinations = rule.destinations
    return [
        rule.way == DIRECT,
        [[ports.low, ports.high] for ports in rule.ports],
        [destination.name for destination in destinations if isinstance(destination, NameIs)],
        [destination.domain for destination in destinations if isinstance(destination, NameUnder)],
        [_network(destination.network) for destination in destinations if isinstance(destination, Within)],
        any(isinstance(destination, Everything) for destination in destinations),
    ]


def _network(network: IPNetwork) -> list[object]:
    packed = network.network_address.packed
    groups = [int.from_bytes(packed[at : at + 2], "big") for at in range(0, len(packed), 2)]
    return [groups, network.prefixlen]
