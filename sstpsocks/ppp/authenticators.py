"""From the method that LCP agreed on to the machine that speaks it."""

from __future__ import annotations

from ..base.entropy import Entropy
from .auth import Authenticator, AuthMethod, Credentials
from .chap import ChapMd5Client, ChapMd5Server
from .chap_machine import Lookup
from .chap_mschapv2 import MsChapV2Client, MsChapV2Server
from .pap import PapClient, PapServer


def make_client(method: AuthMethod, credentials: Credentials, entropy: Entropy) -> Authenticator:
    """Return the machine that logs in. Raises ConfigError when the credentials cannot be sent with the method."""
    match method:
        case AuthMethod.PAP:
            return PapClient(credentials)
        case AuthMethod.CHAP_MD5:
            return ChapMd5Client(credentials)
        case AuthMethod.MSCHAPV2:
            return MsChapV2Client(credentials, entropy)


def make_server(method: AuthMethod, lookup: Lookup, entropy: Entropy, name: str = "sstpsocks") -> Authenticator:
    """Return the machine that judges a client. ``name`` is what CHAP's Challenge carries (PAP has no use for it)."""
    match method:
        case AuthMethod.PAP:
            return PapServer(lookup)
        case AuthMethod.CHAP_MD5:
            return ChapMd5Server(lookup, entropy, name=name)
        case AuthMethod.MSCHAPV2:
            return MsChapV2Server(lookup, entropy, name=name)
