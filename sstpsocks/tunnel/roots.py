"""Where the certificates of trusted authorities come from on each platform.

pyOpenSSL's wheels carry an OpenSSL of their own that knows no system's certificate store: on Windows it finds
nothing, on macOS only Homebrew's, and on Unix it is silent when it finds none. So the places are looked up here, each
by a small function that can be tested with everything it asks the system handed in.
"""

from __future__ import annotations

import importlib
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from OpenSSL import SSL, crypto

from ..errors import ConfigError
from . import macos_store, windows_store

UNIX_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo, Alpine with ca-certificates
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, OpenBSD, FreeBSD
    "/usr/local/etc/ssl/cert.pem",  # FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD's ca_root_nss
    "/etc/openssl/certs/ca-certificates.crt",  # NetBSD
    "/data/data/com.termux/files/usr/etc/tls/cert.pem",  # Termux
)
MACOS_KEYCHAIN = "/System/Library/Keychains/SystemRootCertificates.keychain"
"""Apple's roots. Only these can be exported: what lies in other keychains need not be trusted."""
MACOS_TIMEOUT = 10.0
"""Seconds that exporting the keychain may take; it needs well under one."""

_PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Roots:
    """A set of trusted authorities: a PEM file, a folder in OpenSSL's hashed form, or certificates in DER."""

    source: str
    """Where they come from, for messages."""
    file: str | None = None
    directory: str | None = None
    certificates: tuple[bytes, ...] = ()
    is_fallback: bool = False
    """Whether the system had none, so that these are certifi's. A company's own authority is then missing."""
    only_these: bool = False
    """Whether the user named them. Then a certificate among them is trusted as it is, also one that another authority
    signed (an intermediate authority, or the server's own)."""


def file_roots(path: str) -> Roots:
    """Return the roots of ``--ca-file``. Raises ConfigError when the file cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"CA file {path}: {error.strerror}", path=path) from error
    if not _PEM_BLOCK.search(content):
        raise ConfigError(
            f"CA file {path}: it holds no PEM certificate",
            path=path,
            hint="a PEM certificate starts with -----BEGIN CERTIFICATE-----; convert DER with openssl x509 -inform der",
        )
    return Roots(source=path, file=path, only_these=True)


def unix_roots(
    environ: Mapping[str, str] = os.environ,
    bundles: Iterable[str] = UNIX_BUNDLES,
    interpreter_paths: Callable[[], ssl.DefaultVerifyPaths] = ssl.get_default_verify_paths,
) -> Roots | None:
    """Return the system's roots on Linux and other Unix systems, None when there are none.

    SSL_CERT_FILE and SSL_CERT_DIR come first, as everywhere with OpenSSL, and replace the rest. Raises ConfigError
    when they name nothing that exists.
    """
    named_file, named_directory = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if named_file or named_directory:
        file = named_file if named_file and os.path.isfile(named_file) else None
        directory = named_directory if named_directory and os.path.isdir(named_directory) else None
        if file is None and directory is None:
            named = named_file or named_directory or ""
            raise ConfigError(f"SSL_CERT_FILE or SSL_CERT_DIR names {named}, which does not exist", path=named)
        return Roots(source="SSL_CERT_FILE or SSL_CERT_DIR", file=file, directory=directory)
    # The interpreter's OpenSSL knows where its distribution keeps them, which may be a place of its own.
    paths = interpreter_paths()
    for bundle in (*bundles, paths.cafile):
        if bundle and os.path.isfile(bundle) and os.path.getsize(bundle):
            return Roots(source=bundle, file=bundle)
    if paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath):
        return Roots(source=paths.capath, directory=paths.capath)
    return None


def windows_roots(export: Callable[[], list[bytes]] = windows_store.system_certificates) -> Roots | None:
    """Return the roots of the Windows certificate store, None when there are none."""
    certificates = tuple(export())
    return Roots(source="the Windows certificate store", certificates=certificates) if certificates else None


def _export_keychain() -> bytes:
    """Return the certificates of Apple's keychain in PEM, b"" when that fails."""
    command = ["/usr/bin/security", "find-certificate", "-a", "-p", MACOS_KEYCHAIN]
    try:
        result = subprocess.run(  # noqa: S603 - a fixed command without input from outside
            command, capture_output=True, timeout=MACOS_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return result.stdout


def macos_roots(
    ask: Callable[[], list[bytes]] = macos_store.system_certificates, export: Callable[[], bytes] = _export_keychain
) -> Roots | None:
    """Return the roots that macOS trusts: by its own answer, else Apple's; None when there are none."""
    certificates = tuple(ask())
    if certificates:
        return Roots(source="the trust settings of macOS", certificates=certificates)
    blocks = _PEM_BLOCK.findall(export())
    certificates = tuple(ssl.PEM_cert_to_DER_cert(block.decode("ascii", "ignore")) for block in blocks)
    return Roots(source="the macOS system keychain", certificates=certificates) if certificates else None


def certifi_roots() -> Roots | None:
    """Return Mozilla's roots from the package certifi, None when it is not installed."""
    try:
        path = str(importlib.import_module("certifi").where())  # an optional dependency
    except ImportError:
        return None
    return Roots(source="the Python package certifi", file=path, is_fallback=True) if os.path.isfile(path) else None


def system_roots(
    platform: str = sys.platform,
    *,
    windows: Callable[[], Roots | None] = windows_roots,
    macos: Callable[[], Roots | None] = macos_roots,
    unix: Callable[[], Roots | None] = unix_roots,
    fallback: Callable[[], Roots | None] = certifi_roots,
) -> Roots:
    """Return the system's roots, certifi's when it has none.

    Raises ConfigError when there are none at all: no server could be trusted.
    """
    find = {"win32": windows, "darwin": macos}.get(platform, unix)
    roots = find() or fallback()
    if roots is None:
        raise ConfigError(
            "this system has no list of trusted certificate authorities that could be found",
            hint="install the system's package ca-certificates or the Python package certifi, or pass --ca-file or"
            " --pin-sha256",
        )
    return roots


def load_roots(context: SSL.Context, roots: Roots) -> None:
    """Make ``context`` trust ``roots``. Raises ConfigError when they cannot be loaded."""
    try:
        if roots.file is not None or roots.directory is not None:
            context.load_verify_locations(roots.file, roots.directory)
    except SSL.Error as error:
        path = roots.file or roots.directory or ""
        raise ConfigError(f"CA file {path}: it holds no certificate that can be read", path=path) from error
    store = context.get_cert_store()
    if store is None:
        raise ConfigError("the TLS library has no certificate store")
    if roots.only_these:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for certificate in roots.certificates:
        try:
            # By OpenSSL's parser: system stores hold old roots that cryptography's stricter one objects to.
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, certificate))
        except crypto.Error:
            # One damaged root must not make all others useless; what it signed is refused as unknown.
            continue
