"""Options about the server: its name, and what makes it trusted."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("server")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "server",
        "SERVER",
        "host[:port] or sstp://user@host:port; of several the first that can be reached",
        positional=True,
    ),
    _TOPIC.text("server-name", "NAME", "the name that the certificate must hold, if not the server's"),
    _TOPIC.text("connect-to", "ADDRESS[:PORT]", "connect there instead; names and checks stay those of SERVER"),
    _TOPIC.file("ca-file", "PEM file with the only root certificates to trust, instead of the system's"),
    _TOPIC.list(
        "pin-sha256",
        "HEX",
        "SHA-256 of the server's certificate or public key, in hexadecimal or as sha256//BASE64; a match replaces the"
        " checks of chain, name and revocation; repeatable",
    ),
    _TOPIC.switch(
        "trust-on-first-use",
        "ask at the terminal about a certificate that is not trusted, remember the answer, and refuse another one "
        "from then on",
    ),
    _TOPIC.file(
        "known-hosts", "where --trust-on-first-use remembers, instead of known_hosts in the configuration folder"
    ),
    _TOPIC.file("crl-file", "lists of revoked certificates (PEM or DER) to check the server's chain against"),
    _TOPIC.text(
        "sni",
        "NAME",
        "the name that the TLS handshake shows to everybody on the way, if not the one to verify; none for none",
    ),
    _TOPIC.choice(
        "tls-min",
        "VERSION",
        "the oldest version of TLS to accept; 1.0 and 1.1, for old routers, are broken",
        choices=("1.0", "1.1", "1.2", "1.3"),
        default="1.2",
    ),
    _TOPIC.integer(
        "tls-seclevel",
        "N",
        "OpenSSL's security level, 0 to 5, which bounds keys, hashes and ciphers; 0 with --tls-min 1.0 or 1.1",
        minimum=0,
        maximum=5,
    ),
    _TOPIC.file(
        "certificate",
        "the certificate to show when the server asks for one in the TLS handshake: PKCS#12, or PEM with the "
        "certificates above it behind it",
    ),
    _TOPIC.file("key", "its private key (PEM), if that is in a file of its own"),
    _TOPIC.file(
        "passphrase-file",
        "the pass phrase of the key or the PKCS#12 file is the first line of FILE; without it a terminal asks",
    ),
    _TOPIC.file("tls-keylog", "append the keys of every connection to FILE, for Wireshark; they decrypt everything"),
    _TOPIC.text(
        "tenant-id",
        "ID",
        "the tenant that a gateway of many networks is asked for (?tenantid=); other servers answer 404 to it",
    ),
)
