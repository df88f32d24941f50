"""What a server's certificate is, and what each rule of the settings says about it.

The rules are tried one by one on the chain that the server has sent, where connect stops at the first that fails. The
verdict that counts is still that of the real handshake (tunnel/upstream.py), which also knows about revocation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL, crypto

from ...errors import SstpsocksError
from ...tunnel.distrust import certificate_fingerprints, pin_of, reason_of
from ...tunnel.known_hosts import read_known_hosts
from ...tunnel.roots import load_roots, system_roots
from ...tunnel.settings import TunnelSettings
from ...tunnel.trust import choose_roots, verify_name
from .report import Value

_ACCEPTS = "accepts"


def describe_chain(chain: Sequence[bytes]) -> dict[str, Value]:
    """Return the facts about the certificates that a server has sent, its own first, in DER."""
    lines: list[str] = []
    for number, der in enumerate(chain, 1):
        lines += [f"{number}. {line}" if not n else f"   {line}" for n, line in enumerate(_describe(der))]
    facts: dict[str, Value] = {"chain": lines}
    if chain:
        facts["fingerprint"] = f"SHA-256 {certificate_fingerprints(chain[0])[0]}"
        facts["pin"] = pin_of(chain[0])
    return facts


def judge(chain: Sequence[bytes], settings: TunnelSettings) -> dict[str, Value]:
    """Return what each rule says about a chain that is not empty: "accepts", or why not."""
    trust = settings.trust
    peer = f"server {settings.server}"
    shown = {bytes.fromhex(digest) for digest in certificate_fingerprints(chain[0]) if digest}
    facts: dict[str, Value] = {}
    if trust.pins:
        facts["pins"] = _ACCEPTS if shown & set(trust.pins) else "no pinned fingerprint matches"
    facts["authorities"] = _judge_authorities(chain, settings)
    facts["name"] = _judge_name(peer, chain[0], trust.server_name)
    if trust.first_use is not None:
        known = [h for h in read_known_hosts(trust.first_use.known_hosts) if h.server == settings.server.lower()]
        matches = any(host.digest in shown for host in known)
        facts["known servers"] = _ACCEPTS if matches else "another key is known" if known else "not known yet"
    return facts


def _judge_authorities(chain: Sequence[bytes], settings: TunnelSettings) -> str:
    try:
        # Pins would do without authorities; what these say is told all the same.
        roots = choose_roots(replace(settings.trust, pins=())) or system_roots()
        context = SSL.Context(SSL.TLS_METHOD)
        load_roots(context, roots)
    except SstpsocksError as error:
        return str(error)
    store = context.get_cert_store()
    loaded = [crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain]
    if store is None:
        return "no authorities could be loaded"
    try:
        crypto.X509StoreContext(store, loaded[0], loaded[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        code, depth = error.errors[:2]
        return f"{reason_of(int(code), int(depth))[0]} (authorities: {roots.source})"
    return f"{_ACCEPTS} (authorities: {roots.source})"


def _judge_name(peer: str, der: bytes, name: str) -> str:
    try:
        verify_name(peer, der, name)
    except SstpsocksError as error:
        return str(getattr(error, "reason", error))
    return f"{_ACCEPTS} as {name}"


def _describe(der: bytes) -> list[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            lines = [certificate.subject.rfc4514_string() or "(no subject)"]
            lines.append(f"issued by {certificate.issuer.rfc4514_string()}")
            begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            lines.append(f"valid {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC")
            lines.append(_describe_key(certificate))
            lines += _alternative_names(certificate)
    except ValueError:
        lines = ["a certificate that cannot be parsed"]
    return [*lines, f"SHA-256 {certificate_fingerprints(der)[0]}"]


def _describe_key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    name = type(key).__name__.strip("_").removesuffix("PublicKey")
    bits = f" {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) else ""
    hashed = certificate.signature_hash_algorithm
    return f"key {name}{bits}, signed with {hashed.name if hashed is not None else 'a scheme without a hash'}"


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return ["names: none"]
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return [f"names: {', '.join(found)}"]
