"""A certificate of the user's own, from a group of options: for the TLS handshake, or for EAP-TLS."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .credentials import first_line_of
from .layers import Layers
from .options import option_of
from .private_files import check_private

if TYPE_CHECKING:
    from ..tunnel.client_certificate import ClientCertificate


def load_certificate(layers: Layers, keys: tuple[str, str, str], *, has_terminal: bool) -> ClientCertificate | None:
    """Return the certificate that options give, None when they give none.

    ``keys`` are those of the certificate's, the private key's and the pass phrase's file. Without the last a terminal
    is asked for the pass phrase where one is needed. Raises ConfigError.
    """
    try:
        return _load(layers, keys, has_terminal=has_terminal)
    except ConfigError as error:
        setting = next(filter(None, map(layers.find, keys)), None)
        if setting is not None and not error.line:
            error.path, error.line = setting.path, setting.line
        raise


def _load(layers: Layers, keys: tuple[str, str, str], *, has_terminal: bool) -> ClientCertificate | None:
    certificate, key = layers.text(keys[0]), layers.text(keys[1])
    source = layers.find(keys[2])
    flags = [option_of(each).flag for each in keys]
    if certificate is None:
        if key is not None or source is not None:
            raise ConfigError(f"{flags[1]} and {flags[2]} are of no use without {flags[0]}")
        return None
    # cryptography's parsers take their time to load, and few log in with a certificate.
    from ..tunnel.client_certificate import CertificateOptions, PassphraseNeeded, load_client_certificate

    options = CertificateOptions(*flags)
    for setting in filter(None, (source, layers.find(keys[1] if key is not None else keys[0]))):
        if setting is source or _holds_bare_key(str(setting.value)):
            check_private(layers, setting)
    passphrase = first_line_of(str(source.value), source.origin) if source is not None else None
    try:
        return load_client_certificate(certificate, key, passphrase, options)
    except PassphraseNeeded:
        if passphrase is not None or not has_terminal:
            raise
    try:
        passphrase = getpass.getpass(f"Pass phrase of {key or certificate}: ")
    except (EOFError, OSError):
        passphrase = ""
    return load_client_certificate(certificate, key, passphrase, options)


def _holds_bare_key(path: str) -> bool:
    """Whether a file holds a private key in PEM without a pass phrase; one that cannot be read is somebody else's."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return False
    return b"PRIVATE KEY-----" in content and b"ENCRYPTED" not in content
