"""Options about the log-in by EAP: certificates, and who the authentication server may be."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("log-in")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.file(
        "eap-cert", "log in by EAP-TLS with this certificate: PKCS#12, or PEM with the certificates above it behind it"
    ),
    _TOPIC.file("eap-key", "its private key (PEM), if that is in a file of its own"),
    _TOPIC.file(
        "eap-passphrase-file",
        "the pass phrase of the key or the PKCS#12 file is the first line of FILE; without it a terminal asks",
    ),
    _TOPIC.file(
        "eap-ca-file",
        "PEM file with the only root certificates to trust for the authentication server of PEAP and EAP-TLS, instead"
        " of those of --ca-file or the system",
    ),
    _TOPIC.list(
        "eap-server-name",
        "NAME",
        "a name that the authentication server's certificate must hold one of; repeatable; without, any that the "
        "--ca-file or --eap-ca-file has signed, or the VPN server's with the system's root certificates",
    ),
    _TOPIC.list(
        "eap-pin-sha256",
        "HEX",
        "SHA-256 of the authentication server's certificate or public key; a match replaces the checks of chain and "
        "name; repeatable",
    ),
    _TOPIC.text(
        "outer-identity",
        "NAME",
        "the user name to give before the authentication server has proved itself, such as anonymous@REALM",
    ),
    _TOPIC.choice(
        "hlak",
        "WHAT",
        "what binds the tunnel to a log-in by eap-mschapv2: its keys, zeroes, or auto, which tries zeroes when the "
        "server ends the call because of the keys",
        choices=("auto", "keys", "zero"),
        default="auto",
    ),
)
