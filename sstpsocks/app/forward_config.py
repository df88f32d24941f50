"""What the options about forwards say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from ..base.forward import Forward, parse_local, parse_remote
from ..base.listen_address import ListenAddress, TcpAddress, UnixAddress
from ..errors import ConfigError
from . import values
from .layers import Layers

LOOPBACK = "127.0.0.1"
EVERYWHERE = str(IPv4Address(0))


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """What is forwarded."""

    local: tuple[tuple[Forward, ListenAddress], ...] = ()
    """From this machine into the tunnel, and where each listens."""
    remote: tuple[Forward, ...] = ()
    """From inside the tunnel to this machine."""

    def __bool__(self) -> bool:
        return bool(self.local or self.remote)


NO_FORWARDS = ForwardSettings()


def forward_settings(layers: Layers) -> ForwardSettings:
    """Return the forwards. Raises ConfigError."""
    allowed = layers.switch("allow_remote")
    local = []
    for forward in _parsed(layers, "local_forward", parse_local):
        address = _address_of(forward)
        if isinstance(address, TcpAddress) and not (allowed or values.is_loopback(address.host)):
            setting = layers.find("local_forward")
            wrong = setting.error if setting is not None else ConfigError
            raise wrong(
                f"the forward {forward} would let other machines into the private network without a password",
                hint="Leave out the address before the port, or say --allow-remote",
            )
        local.append((forward, address))
    return ForwardSettings(tuple(local), tuple(_parsed(layers, "remote_forward", parse_remote)))


def _address_of(forward: Forward) -> ListenAddress:
    listen = forward.listen
    if listen.path:
        return UnixAddress(Path(listen.path))
    host = {"": LOOPBACK, "*": EVERYWHERE}.get(listen.host, listen.host)
    return TcpAddress(host, listen.port)


def _parsed(layers: Layers, key: str, parse: Callable[[str], Forward]) -> list[Forward]:
    setting = layers.find(key)
    if setting is None or not isinstance(setting.value, tuple):
        return []
    try:
        return [parse(text) for text in setting.value]
    except ValueError as error:
        raise setting.error(str(error)) from None
