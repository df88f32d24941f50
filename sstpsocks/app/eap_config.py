"""The user's certificate for EAP-TLS, and which methods are allowed when nobody has said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ppp.auth import AuthMethod
from ..tunnel.settings import DEFAULT_METHODS
from .certificate_config import load_certificate
from .layers import Layers

if TYPE_CHECKING:
    from ..tunnel.client_certificate import ClientCertificate

_PASSWORD_OPTIONS = ("password", "password_file", "password_command", "keyring")
# What says which authentication server is to be trusted.
_TRUST_OPTIONS = ("ca_file", "eap_ca_file", "eap_server_name", "eap_pin_sha256")


def client_certificate(layers: Layers, *, has_terminal: bool) -> ClientCertificate | None:
    """Return the certificate of --eap-cert, None without one. Raises ConfigError."""
    return load_certificate(layers, ("eap_cert", "eap_key", "eap_passphrase_file"), has_terminal=has_terminal)


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
