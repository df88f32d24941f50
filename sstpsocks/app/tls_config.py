"""From options to what TLS speaks and whom it trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..errors import ConfigError
from ..tunnel.settings import FirstUse, TlsSettings
from ..tunnel.tls_settings import OLD_VERSIONS, TlsVersion
from . import values
from .certificate_config import load_certificate
from .configfile import config_folder
from .first_use_prompt import FirstUsePrompt
from .layers import Layers

KNOWN_HOSTS_NAME = "known_hosts"
NO_SNI = "none"


def tls_settings(layers: Layers, *, has_terminal: bool) -> TlsSettings:
    """Return how TLS is spoken to the server. Raises ConfigError."""
    level = layers.find("tls_seclevel")
    return TlsSettings(
        # The table of options allows no other values.
        min_version=cast("TlsVersion", layers.text("tls_min") or "1.2"),
        security_level=level.value if level is not None and isinstance(level.value, int) else None,
        certificate=load_certificate(layers, ("certificate", "key", "passphrase_file"), has_terminal=has_terminal),
        keylog_file=layers.text("tls_keylog"),
    )


def tls_warnings(tls: TlsSettings) -> list[str]:
    """Return what to warn of."""
    warnings = []
    if tls.min_version in OLD_VERSIONS:
        warnings.append(
            f"--tls-min {tls.min_version} lets versions of TLS pass that are broken (RFC 8996): who sits in between may"
            " read and change everything"
        )
    if tls.level is not None and tls.level <= 1:
        accepted = "everything, however weak" if tls.level == 0 else "keys and ciphers of 80 bits' strength"
        warnings.append(f"TLS security level {tls.level} accepts {accepted} (--tls-seclevel)")
    if tls.keylog_file is not None:
        warnings.append(
            f"--tls-keylog writes the keys of this connection to {tls.keylog_file}: who has them can read everything,"
            " the log-in too"
        )
    return warnings


def sni(layers: Layers) -> str | None:
    """Return what SNI carries: None for the name that is verified, empty for nothing. Raises ConfigError."""
    setting = layers.find("sni")
    if setting is None:
        return None
    text = str(setting.value)
    if text.lower() == NO_SNI:
        return ""
    try:
        return values.parse_domain(text)
    except ValueError as error:
        raise setting.error(str(error), hint="SNI carries names only; none sends it without") from None


def crl_file(layers: Layers, *, pinned: bool) -> str | None:
    """Return the file of --crl-file. Raises ConfigError where it would not be looked at."""
    setting = layers.find("crl_file")
    if setting is None:
        return None
    if pinned:
        raise setting.error("it is of no use together with --pin-sha256, which replaces the check of the chain")
    return str(setting.value)


def first_use(layers: Layers, environ: Mapping[str, str], prompt: FirstUsePrompt | None) -> FirstUse | None:
    """Return how to trust a server at first sight, None for not at all. ``prompt`` is None without a terminal.

    Raises ConfigError.
    """
    path = layers.text("known_hosts")
    if not layers.switch("trust_on_first_use"):
        return None
    if path is None:
        folder = config_folder(environ)
        if folder is None:
            raise ConfigError(
                "there is no folder for the file of known servers", hint="Name it with --known-hosts FILE"
            )
        path = str(folder / KNOWN_HOSTS_NAME)
    return FirstUse(known_hosts=path, ask=prompt)
