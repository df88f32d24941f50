"""Certificate revocation lists (RFC 5280 section 5) from ``--crl-file``.

The file replaces nothing and nothing is fetched: the lists are those that the user put there, read anew for every
connection, so that a job that renews them needs no restart. The authority of the server's own certificate must have a
list in it. For those further up it counts where there is one: a root often has none that anybody could get at.
"""

from __future__ import annotations

import re

from cryptography import x509
from OpenSSL import SSL, crypto

from ..errors import ConfigError

_PEM_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def read_lists(path: str) -> list[x509.CertificateRevocationList]:
    """Return the lists in a file: one in DER, or any number in PEM. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"CRL file {path}: {error.strerror}", path=path) from error
    try:
        if b"-----BEGIN " in content:
            lists = [x509.load_pem_x509_crl(block) for block in _PEM_BLOCK.findall(content)]
        else:
            lists = [x509.load_der_x509_crl(content)]
    except ValueError as error:
        raise _unreadable(path) from error
    if not lists:
        raise ConfigError(
            f"CRL file {path}: it holds no list of revoked certificates",
            path=path,
            hint="a list in PEM starts with -----BEGIN X509 CRL-----",
        )
    return lists


def _unreadable(path: str) -> ConfigError:
    return ConfigError(f"CRL file {path}: it holds a list that cannot be read", path=path)


def demand_lists(context: SSL.Context, path: str) -> None:
    """Make ``context`` check chains against the lists in a file. Raises ConfigError."""
    store = context.get_cert_store()
    if store is None:
        raise ConfigError("the TLS library has no certificate store")
    try:
        for revocation_list in read_lists(path):
            store.add_crl(revocation_list)
    except (crypto.Error, ValueError) as error:
        # OpenSSL is stricter than who read it.
        raise _unreadable(path) from error
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
