"""Which method of EAP is which: from the names that the user allows to the machines, and to advice."""

from __future__ import annotations

from collections.abc import Callable

from ...base.entropy import Entropy
from ...errors import ConfigError
from ..auth import AuthMethod, Credentials
from ..auth_option import format_auth_list
from .client import EapClient
from .gtc import GtcPeer, GtcServer
from .md5 import Md5Peer, Md5Server
from .method import PeerMethod, ServerMethod, Users
from .mschapv2 import MsChapV2Peer, MsChapV2Server
from .packet import GTC, MD5_CHALLENGE, MSCHAPV2, PEAP, TLS, MethodType
from .peap import PeapPeer, PeapServer
from .peer_conversation import PeerMethods
from .server import EapServer
from .tls import EapTlsPeer, EapTlsServer
from .tls_engine import EapTlsClient, TlsUse
from .tls_engine import EapTlsServer as EapTlsEngines

KINDS: dict[AuthMethod, MethodType] = {
    AuthMethod.PEAP: PEAP,
    AuthMethod.EAP_TLS: TLS,
    AuthMethod.EAP_MSCHAPV2: MSCHAPV2,
    AuthMethod.EAP_GTC: GTC,
    AuthMethod.EAP_MD5: MD5_CHALLENGE,
}
"""The EAP Type of each method, those that are best to recommend first."""


def usable(methods: tuple[AuthMethod, ...], tls: EapTlsClient | None) -> tuple[AuthMethod, ...]:
    """Return the methods of EAP among ``methods`` that a client has what it takes for."""
    return tuple(
        method
        for method in methods
        if method.is_eap
        and not (method is AuthMethod.PEAP and tls is None)
        and not (method is AuthMethod.EAP_TLS and (tls is None or not tls.has_certificate))
    )


def make_eap_client(
    methods: tuple[AuthMethod, ...],
    credentials: Credentials,
    entropy: Entropy,
    *,
    tls: EapTlsClient | None = None,
    zero_hlak: bool = False,
) -> EapClient:
    """Return the machine that logs in by one of the methods of EAP among ``methods``, most wanted first.

    Raises ConfigError when user name or password cannot be sent, or when what the only method needs is missing.
    """
    allowed = usable(methods, tls)
    if not allowed:
        raise ConfigError("EAP-TLS needs a client certificate", hint="Give one with --eap-cert.")
    username = credentials.username or (tls.certificate_name if tls is not None else "")
    # The outer identity is for the methods that give the real one inside of TLS.
    outer = credentials.outer_identity if {AuthMethod.PEAP, AuthMethod.EAP_TLS} & set(allowed) else ""
    return EapClient(
        credentials,
        {KINDS[method]: _peer_method(method, methods, entropy, tls) for method in allowed},
        identity=outer or username,
        first_method=allowed[0],
        advise=lambda offered: advise(offered, methods, tls),
        zero_hlak=zero_hlak,
    )


def advise(offered: tuple[MethodType, ...], methods: tuple[AuthMethod, ...], tls: EapTlsClient | None) -> str:
    """Return what to do about a server that offers only these Types."""
    known = [method for method, kind in KINDS.items() if kind in offered]
    missing = [method for method in known if method not in methods]
    if not known:
        return "None of these is supported; ask the server's administrator for PEAP, EAP-TLS or MS-CHAPv2."
    hints = []
    if missing:
        hints.append(f"Allow it with --auth {format_auth_list((*methods, missing[0]))}.")
    if AuthMethod.EAP_TLS in known and (tls is None or not tls.has_certificate):
        hints.append("EAP-TLS needs a client certificate: --eap-cert.")
    if missing and missing[0] is AuthMethod.EAP_GTC:
        hints.append("EAP-GTC shows the server the password.")
    return " ".join(hints)


def _peer_method(
    method: AuthMethod,
    methods: tuple[AuthMethod, ...],
    entropy: Entropy,
    tls: EapTlsClient | None,
    *,
    in_tunnel: bool = False,
) -> Callable[[Credentials], PeerMethod]:
    match method:
        case AuthMethod.EAP_MD5:
            return Md5Peer
        case AuthMethod.EAP_GTC:
            return GtcPeer
        case AuthMethod.PEAP if tls is not None:
            inner = _methods_inside_peap(methods, entropy, tls)
            return lambda credentials: PeapPeer(tls.connect(TlsUse.PEAP), inner, credentials, entropy)
        case AuthMethod.EAP_TLS if tls is not None:
            return lambda credentials: EapTlsPeer(
                tls.connect(TlsUse.EAP_TLS), credentials.username or tls.certificate_name, in_tunnel=in_tunnel
            )
        case _:
            return lambda credentials: MsChapV2Peer(credentials, entropy)


def _methods_inside_peap(methods: tuple[AuthMethod, ...], entropy: Entropy, tls: EapTlsClient) -> PeerMethods:
    """Return what may run inside PEAP: MS-CHAPv2, TLS with a certificate, and GTC only where it is allowed by name."""
    inside = [AuthMethod.EAP_MSCHAPV2]
    if tls.has_certificate:
        inside.append(AuthMethod.EAP_TLS)
    if AuthMethod.EAP_GTC in methods:
        inside.append(AuthMethod.EAP_GTC)
    return {KINDS[method]: _peer_method(method, methods, entropy, tls, in_tunnel=True) for method in inside}


def make_eap_server(
    methods: tuple[AuthMethod, ...],
    users: Users,
    entropy: Entropy,
    *,
    tls: EapTlsEngines | None = None,
    inside_peap: tuple[AuthMethod, ...] = (AuthMethod.EAP_MSCHAPV2,),
) -> EapServer:
    """Return the machine that proposes the methods of EAP among ``methods`` in turn.

    Raises ConfigError when one needs TLS and there is none.
    """
    allowed = tuple(method for method in methods if method.is_eap)
    proposed = {KINDS[method]: _server_method(method, users, entropy, tls, inside_peap) for method in allowed}
    return EapServer(proposed, entropy, first_method=allowed[0])


def _server_method(
    method: AuthMethod,
    users: Users,
    entropy: Entropy,
    tls: EapTlsEngines | None,
    inside_peap: tuple[AuthMethod, ...],
) -> Callable[[str], ServerMethod]:
    match method:
        case AuthMethod.EAP_MD5:
            return lambda identity: Md5Server(identity, users, entropy)
        case AuthMethod.EAP_GTC:
            return lambda identity: GtcServer(identity, users, entropy)
        case AuthMethod.EAP_MSCHAPV2:
            return lambda identity: MsChapV2Server(identity, users, entropy)
        case _ if tls is None:
            raise ConfigError(f"a server needs a certificate for {method.value}")
        case AuthMethod.EAP_TLS:
            return lambda identity: EapTlsServer(tls.accept(TlsUse.EAP_TLS))
        case _:
            inner = {KINDS[one]: _server_method(one, users, entropy, tls, ()) for one in inside_peap}
            return lambda identity: PeapServer(tls.accept(TlsUse.PEAP), inner, identity, entropy)
