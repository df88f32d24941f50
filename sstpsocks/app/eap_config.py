"""The user's certificate for EAP-TLS, and which methods are allowed when nobody has said so."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..ppp.auth import AuthMethod
from ..tunnel.settings import DEFAULT_METHODS
from .credentials import first_line_of
from .layers import Layers

if TYPE_CHECKING:
    from ..tunnel.client_certificate import ClientCertificate

_PASSWORD_OPTIONS = ("password", "password_file", "password_command", "keyring")
# What says which authentication server is to be trusted.
_TRUST_OPTIONS = ("ca_file", "eap_ca_file", "eap_server_name", "eap_pin_sha256")


def client_certificate(layers: Layers, *, has_terminal: bool) -> ClientCertificate | None:
    """Return the certificate of --eap-cert, None without one.

    A pass phrase comes from --eap-passphrase-file, or is asked for at the terminal. Raises ConfigError.
    """
    certificate = layers.text("eap_cert")
    key = layers.text("eap_key")
    source = layers.find("eap_passphrase_file")
    if certificate is None:
        if key is not None or source is not None:
            raise ConfigError("--eap-key and --eap-passphrase-file are of no use without --eap-cert")
        return None
    # cryptography's parsers take their time to load, and few log in with a certificate.
    from ..tunnel.client_certificate import PassphraseNeeded, load_client_certificate

    passphrase = first_line_of(str(source.value), source.origin) if source is not None else None
    try:
        return load_client_certificate(certificate, key, passphrase)
    except PassphraseNeeded:
        if passphrase is not None or not has_terminal:
            raise
    try:
        passphrase = getpass.getpass(f"Pass phrase of {key or certificate}: ")
    except (EOFError, OSError):
        passphrase = ""
    return load_client_certificate(certificate, key, passphrase)


def default_methods(layers: Layers) -> tuple[AuthMethod, ...]:
    """Return what may be used to log in when --auth does not say.

    Methods with keys only. A certificate is there to be used, alone when no password was configured; PEAP needs to be
    told whom to trust, so that it does not get in the way of servers that have MS-CHAPv2 as well.
    """
    has_certificate = layers.find("eap_cert") is not None
    if has_certificate and all(layers.find(option) is None for option in _PASSWORD_OPTIONS):
        return (AuthMethod.EAP_TLS,)
    first = (AuthMethod.EAP_TLS,) if has_certificate else ()
    knows_whom_to_trust = any(layers.find(option) is not None for option in _TRUST_OPTIONS)
    return (*first, *DEFAULT_METHODS, *((AuthMethod.PEAP,) if knows_whom_to_trust else ()))
