"""Settings of the status port: where it is, and who is answered there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..base.listen_address import ListenAddress
from . import values
from .layers import Layers
from .listen_config import check_reach, credentials_of, listen_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """Where the status port is offered, and to whom; nowhere: there is none."""

    addresses: tuple[ListenAddress, ...] = ()
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password that must be given (HTTP Basic), None for none."""
    names: frozenset[str] = frozenset()
    """Names by which it may be asked for."""
    open_to_all: bool = False
    """Whether other machines may reach it: there are credentials, or the user said so."""


NO_STATUS = StatusSettings()


def status_settings(layers: Layers) -> StatusSettings:
    """Return the settings of the status port. Raises ConfigError."""
    setting = layers.find("status")
    if setting is None:
        return NO_STATUS
    credentials = credentials_of(layers, "status_user", "status_password_file")
    allowed = credentials is not None or layers.switch("status_allow_remote")
    addresses = listen_addresses(setting)
    check_reach(
        addresses,
        allowed,
        "would show other machines what passes through the tunnel without a password",
        "Use 127.0.0.1, or ask for credentials with --status-user and --status-password-file, or say "
        "--status-allow-remote",
    )
    return StatusSettings(addresses=addresses, credentials=credentials, names=_names(layers), open_to_all=allowed)


def _names(layers: Layers) -> frozenset[str]:
    setting = layers.find("status_name")
    if setting is None:
        return frozenset()
    given = setting.value if isinstance(setting.value, tuple) else (str(setting.value),)
    try:
        return frozenset(map(values.parse_domain, given))
    except ValueError as error:
        raise setting.error(str(error)) from None
