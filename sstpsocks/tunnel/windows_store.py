"""The certificate stores of Windows, by Python's own way into crypt32 (``ssl.enum_certificates``).

ROOT holds the authorities that are trusted, CA those between, DISALLOWED what must never be trusted, whoever signed it.
Each certificate has the purposes it is trusted for, or True for all. Only what is good for servers is taken. Windows
fetches rarely used roots of Microsoft's programme when they are first needed, so a store may lack one until a browser
has been there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

StoreEntry = tuple[bytes, str, "set[str] | frozenset[str] | bool"]
"""Certificate, encoding ("x509_asn" or "pkcs_7_asn") and purposes, as ``ssl.enum_certificates`` has them."""
EnumerateStore = Callable[[str], Iterable[StoreEntry]]

SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1"
TRUSTED_STORES = ("ROOT", "CA")
DISALLOWED_STORE = "DISALLOWED"


def trusted_certificates(enumerate_store: EnumerateStore) -> list[bytes]:
    """Return the certificates in DER that may vouch for servers; those between are harmless, being no roots."""
    found: dict[bytes, None] = {}
    for store in TRUSTED_STORES:
        for certificate, encoding, purposes in _entries(enumerate_store, store):
            for_servers = purposes is True or (purposes is not False and SERVER_AUTHENTICATION in purposes)
            if encoding == "x509_asn" and for_servers:
                found[certificate] = None
    for certificate, _encoding, _purposes in _entries(enumerate_store, DISALLOWED_STORE):
        found.pop(certificate, None)
    return list(found)


def _entries(enumerate_store: EnumerateStore, store: str) -> list[StoreEntry]:
    try:
        return list(enumerate_store(store))
    except OSError:  # a store that this user may not open
        return []


if sys.platform == "win32":
    import ssl

    def system_certificates() -> list[bytes]:
        """Return what this machine trusts."""
        return trusted_certificates(ssl.enum_certificates)

else:

    def system_certificates() -> list[bytes]:
        """Return nothing: this is not Windows."""
        return []
