"""What the options about names say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from ..errors import ConfigError
from ..tunnel.name_settings import IPAddress, NameSettings, Servers, Target, Way
from . import values
from .layers import Layers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DnsAddress:
    """One address of this machine to answer DNS queries at."""

    host: str
    port: int
    """0: any free one."""


def name_settings(layers: Layers) -> NameSettings:
    """Return how names are looked up. Raises ConfigError."""
    hosts: dict[str, tuple[IPAddress, ...]] = {}
    for name, address in _parsed(layers, "host", parse_host):
        hosts[name] = (*hosts.get(name, ()), address)
    suffixes: dict[str, Target] = dict.fromkeys(_parsed(layers, "dns_suffix", parse_suffix), Way.TUNNEL)
    for suffix, target in _parsed(layers, "dns_server", parse_dns_server):
        known = suffixes.get(suffix)
        if isinstance(known, Servers) and isinstance(target, Servers):
            suffixes[suffix] = Servers((*known.addresses, *target.addresses))
        elif known is None or known == target:
            suffixes[suffix] = target
        else:
            setting = layers.find("dns_server")
            message = f"who is asked about {suffix or '.'} is said twice, in different ways"
            raise setting.error(message) if setting is not None else ConfigError(message)
    return NameSettings(
        hosts=tuple(hosts.items()), suffixes=tuple(suffixes.items()), rest=Way(layers.text("dns_rest") or "tunnel")
    )


def dns_addresses(layers: Layers) -> tuple[DnsAddress, ...]:
    """Return where DNS queries are answered; nowhere unless that is asked for. Raises ConfigError."""
    addresses = tuple(dict.fromkeys(_parsed(layers, "dns_listen", parse_dns_address)))
    for address in addresses:
        if not (values.is_loopback(address.host) or layers.switch("dns_allow_remote")):
            setting = layers.find("dns_listen")
            wrong = setting.error if setting is not None else ConfigError
            raise wrong(
                f"answering DNS on {address.host} would let other machines ask the private network's servers",
                hint="Listen on 127.0.0.1, or say --dns-allow-remote",
            )
    return addresses


def parse_dns_address(text: str) -> DnsAddress:
    """Return the address of ``[HOST:]PORT``."""
    host, port = values.parse_listen(text)
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(f'"{host}" is not an IP address of this machine') from None
    return DnsAddress(host, port)


def parse_host(text: str) -> tuple[str, IPAddress]:
    """Return name and address of ``NAME=ADDRESS``."""
    name, equals, address = text.partition("=")
    if not equals:
        raise ValueError(f'"{text}" is not NAME=ADDRESS')
    return parse_suffix(name), ip_address(values.parse_address(address))


def parse_suffix(text: str) -> str:
    """Return a suffix of names; empty for "." (everything)."""
    bare = text.strip()
    return "" if bare == "." else values.parse_domain(bare.removeprefix("*").removeprefix(".").removesuffix("."))


def parse_dns_server(text: str) -> tuple[str, Target]:
    """Return suffix and who is asked of ``SUFFIX=ADDRESS``, ``SUFFIX=refuse``, ``=system`` or ``=tunnel``."""
    suffix, equals, who = text.partition("=")
    if not equals:
        raise ValueError(f'"{text}" is not SUFFIX=ADDRESS, SUFFIX=refuse or SUFFIX=system')
    words = {way.value: way for way in Way}
    if who in words:
        return parse_suffix(suffix), words[who]
    try:
        return parse_suffix(suffix), Servers((ip_address(who.removeprefix("[").removesuffix("]")),))
    except ValueError as error:
        raise ValueError(f'"{text}": {error}') from None


def _parsed(layers: Layers, key: str, parse: Callable[[str], T]) -> Iterable[T]:
    setting = layers.find(key)
    if setting is None or not isinstance(setting.value, tuple):
        return []
    parsed = []
    for index, item in enumerate(setting.value):
        try:
            parsed.append(parse(item))
        except ValueError as error:
            raise setting.item(index).error(str(error)) from None
    return parsed
