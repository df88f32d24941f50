"""Which method of EAP is which: from the names that the user allows to the machines, and to advice."""

from __future__ import annotations

from collections.abc import Callable

from ...base.entropy import Entropy
from ..auth import AuthMethod, Credentials
from ..auth_option import format_auth_list
from .client import EapClient
from .gtc import GtcPeer, GtcServer
from .md5 import Md5Peer, Md5Server
from .method import ServerMethod, Users
from .mschapv2 import MsChapV2Peer, MsChapV2Server
from .packet import GTC, MD5_CHALLENGE, MSCHAPV2, MethodType
from .server import EapServer

KINDS: dict[AuthMethod, MethodType] = {
    AuthMethod.EAP_MSCHAPV2: MSCHAPV2,
    AuthMethod.EAP_GTC: GTC,
    AuthMethod.EAP_MD5: MD5_CHALLENGE,
}
"""The EAP Type of each method."""


def eap_methods(methods: tuple[AuthMethod, ...]) -> tuple[AuthMethod, ...]:
    """Return those that run within EAP."""
    return tuple(method for method in methods if method.is_eap)


def make_eap_client(
    methods: tuple[AuthMethod, ...], credentials: Credentials, entropy: Entropy, *, zero_hlak: bool = False
) -> EapClient:
    """Return the machine that logs in by one of the methods of EAP among ``methods``, most wanted first.

    Raises ConfigError when user name or password cannot be sent.
    """
    allowed = eap_methods(methods)
    return EapClient(
        credentials,
        {KINDS[method]: _peer_method(method, entropy) for method in allowed},
        identity=credentials.username,
        first_method=allowed[0],
        advise=lambda offered: advise(offered, methods),
        zero_hlak=zero_hlak,
    )


def make_eap_server(methods: tuple[AuthMethod, ...], users: Users, entropy: Entropy) -> EapServer:
    """Return the machine that proposes the methods of EAP among ``methods`` in turn."""
    allowed = eap_methods(methods)
    return EapServer(
        {KINDS[method]: _server_method(method, users, entropy) for method in allowed}, entropy, first_method=allowed[0]
    )


def advise(offered: tuple[MethodType, ...], methods: tuple[AuthMethod, ...]) -> str:
    """Return what to do about a server that offers only these Types."""
    known = [method for method, kind in KINDS.items() if kind in offered]
    missing = [method for method in known if method not in methods]
    if not known:
        return "None of these is supported; ask the server's administrator for PEAP, EAP-TLS or MS-CHAPv2."
    hint = f"Allow it with --auth {format_auth_list((*methods, missing[0]))}."
    if missing[0] is AuthMethod.EAP_GTC:
        hint += " EAP-GTC shows the server the password."
    return hint


def _peer_method(method: AuthMethod, entropy: Entropy) -> Callable[[Credentials], Md5Peer | GtcPeer | MsChapV2Peer]:
    match method:
        case AuthMethod.EAP_MD5:
            return Md5Peer
        case AuthMethod.EAP_GTC:
            return GtcPeer
        case _:
            return lambda credentials: MsChapV2Peer(credentials, entropy)


def _server_method(method: AuthMethod, users: Users, entropy: Entropy) -> Callable[[str], ServerMethod]:
    makers = {
        AuthMethod.EAP_MD5: Md5Server,
        AuthMethod.EAP_GTC: GtcServer,
        AuthMethod.EAP_MSCHAPV2: MsChapV2Server,
    }
    return lambda identity: makers[method](identity, users, entropy)
