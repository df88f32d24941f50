"""From the method that LCP agreed on to the machine that speaks it.

EAP is loaded when it is spoken: it is as much as all the rest of PPP, and most servers never ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.entropy import Entropy
from .auth import Authenticator, AuthMethod, Credentials
from .chap import ChapMd5Client, ChapMd5Server
from .chap_machine import Lookup
from .chap_mschapv2 import MsChapV2Client, MsChapV2Server
from .pap import PapClient, PapServer

if TYPE_CHECKING:
    from .eap.tls_engine import EapTlsClient, EapTlsServer


def make_client(
    method: AuthMethod,
    credentials: Credentials,
    entropy: Entropy,
    *,
    methods: tuple[AuthMethod, ...] = (),
    tls: EapTlsClient | None = None,
    zero_hlak: bool = False,
) -> Authenticator:
    """Return the machine that logs in. Raises ConfigError when the credentials cannot be sent with the method.

    ``methods`` are all that are allowed: within EAP the server chooses among them. ``tls`` is what EAP-TLS and PEAP
    need. ``zero_hlak`` binds bare EAP-MSCHAPv2 to SSTP with zeroes (see eap/keys.py).
    """
    match method:
        case AuthMethod.PAP:
            return PapClient(credentials)
        case AuthMethod.CHAP_MD5:
            return ChapMd5Client(credentials)
        case AuthMethod.MSCHAPV2:
            return MsChapV2Client(credentials, entropy)
        case _:
            from .eap.methods import make_eap_client

            return make_eap_client(methods or (method,), credentials, entropy, tls=tls, zero_hlak=zero_hlak)


def make_server(
    method: AuthMethod,
    lookup: Lookup,
    entropy: Entropy,
    name: str = "sstpsocks",
    *,
    methods: tuple[AuthMethod, ...] = (),
    tls: EapTlsServer | None = None,
) -> Authenticator:
    """Return the machine that judges a client.

    ``name`` is what Challenges carry. ``methods`` are all that are demanded: within EAP they are proposed in turn.
    ``tls`` is what EAP-TLS and PEAP need.
    """
    match method:
        case AuthMethod.PAP:
            return PapServer(lookup)
        case AuthMethod.CHAP_MD5:
            return ChapMd5Server(lookup, entropy, name=name)
        case AuthMethod.MSCHAPV2:
            return MsChapV2Server(lookup, entropy, name=name)
        case _:
            from .eap.method import Users
            from .eap.methods import make_eap_server

            return make_eap_server(methods or (method,), Users(lookup, name), entropy, tls=tls)
