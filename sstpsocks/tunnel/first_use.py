"""Trust on first use: a person confirms a fingerprint once, and from then on only that key will do.

A server that passes the usual checks needs no confirmation and is not remembered, so the option costs those with a
certificate of a public authority nothing. One that does not is asked about at the terminal, with the fingerprint to
compare; where nobody can be asked it is refused, and the message holds the option that pins it. Once remembered, the
file alone decides, as with ssh: a server that shows another key is refused, whoever has signed it. What was revoked is
never asked about.
"""

from __future__ import annotations

import datetime as dt
import hashlib

from ..errors import CertificateRejected
from .distrust import Revoked, certificate_fingerprints, pin_of, rejection
from .known_hosts import KnownHost, read_known_hosts, remember_host
from .pins import parse_pin
from .settings import TrustSettings
from .tls import TlsEngine
from .tls_settings import UnknownCertificate
from .trust import verify_peer


async def verify_server(engine: TlsEngine, trust: TrustSettings, server: str) -> str:
    """Check the certificate that ``engine`` has seen and return what vouches for it; call it behind the handshake.

    ``server`` is "host:port" as the user named it. Raises CertificateRejected, and ConfigError when the file of known
    servers cannot be used.
    """
    first_use = trust.first_use
    if first_use is None or trust.pins:
        return verify_peer(engine, trust)
    der = engine.peer_certificate_der()
    server = server.lower()
    known = [host for host in read_known_hosts(first_use.known_hosts) if host.server == server]
    if known:
        return _compare(engine, der, known, first_use.known_hosts)
    try:
        return verify_peer(engine, trust)
    except Revoked:
        raise
    except CertificateRejected as error:
        doubt = error
    pin = pin_of(der)
    if first_use.ask is None:
        raise rejection(
            engine.peer,
            der,
            doubt.reason,
            "nobody can be asked here whether to trust it: start the program once at a terminal, or pass"
            " --pin-sha256 {pin} if you have checked its fingerprint by another way",
        ) from doubt
    question = UnknownCertificate(server=server, reason=doubt.reason, sha256=hashlib.sha256(der).hexdigest(), pin=pin)
    if not await first_use.ask(question):
        hint = "get its fingerprint from the server's administrator and compare it with the one shown here"
        raise rejection(engine.peer, der, f"{doubt.reason}; and it was not confirmed", hint) from doubt
    remember_host(first_use.known_hosts, KnownHost(server, parse_pin(pin), f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"))
    return "its key, confirmed just now"


def _compare(engine: TlsEngine, der: bytes, known: list[KnownHost], path: str) -> str:
    """Return what vouches for a known server. Raises CertificateRejected when it shows another key than before."""
    shown = {bytes.fromhex(digest) for digest in certificate_fingerprints(der) if digest}
    for host in known:
        if host.digest in shown:
            return "its key, known since " + (host.since or "some time")
    since = next((f" on {host.since}" for host in known if host.since), "")
    raise rejection(
        engine.peer,
        der,
        f"THE SERVER'S KEY HAS CHANGED since it was confirmed{since}: somebody may be between you and the server",
        f"ask the server's administrator; only if it was changed on purpose, remove the line of {known[0].server} from"
        f" {path} and confirm the new one, " + "{pin}",
    )
