"""LCP's Authentication-Protocol option (RFC 1661 section 6.2): which method is meant, and which one to agree on."""

from __future__ import annotations

from ..errors import NegotiationFailed
from .auth import AuthMethod
from .packet import PROTOCOL_CHAP, PROTOCOL_EAP, PROTOCOL_PAP

EAP_VALUE = PROTOCOL_EAP.to_bytes(2, "big")
MSCHAP_1_VALUE = PROTOCOL_CHAP.to_bytes(2, "big") + b"\x80"

# RFC 1334 section 2, RFC 1994 section 3, RFC 2759 section 3: protocol and, for CHAP, algorithm. EAP (RFC 2284 section
# 2) says no more than that: the method is chosen inside.
OPTION_VALUES: dict[AuthMethod, bytes] = {
    AuthMethod.PAP: PROTOCOL_PAP.to_bytes(2, "big"),
    AuthMethod.CHAP_MD5: PROTOCOL_CHAP.to_bytes(2, "big") + b"\x05",
    AuthMethod.MSCHAPV2: PROTOCOL_CHAP.to_bytes(2, "big") + b"\x81",
    **{method: EAP_VALUE for method in AuthMethod if method.is_eap},
}

# What to recommend when there is a choice: what tells the server least.
_STRONGEST_FIRST = (AuthMethod.MSCHAPV2, AuthMethod.CHAP_MD5, AuthMethod.PAP)

# What EAP gives when nothing of it is allowed: what SSTP can be bound with.
_EAP_ADVICE = (AuthMethod.EAP_MSCHAPV2, AuthMethod.PEAP)

# Naks of the authentication option before the client gives up. SoftEther steps EAP, MS-CHAPv2, PAP whatever a Nak
# asks for, so that PAP takes two; RRAS may repeat EAP, MS-CHAPv2, CHAP, PAP likewise.
MAX_AUTHENTICATION_NAKS = 6


def describe(value: bytes) -> str:
    """Return what the command line, or else the RFCs, call the method of an option value."""
    if value == EAP_VALUE:
        return "EAP"
    for method, known in OPTION_VALUES.items():
        if value == known:
            return method.value
    if value == MSCHAP_1_VALUE:
        return "MS-CHAPv1"
    return f"authentication protocol 0x{value.hex()}"


def method_of(value: bytes, methods: tuple[AuthMethod, ...]) -> AuthMethod | None:
    """Return the first of ``methods`` that an option value stands for; None: there is none."""
    return next((method for method in methods if OPTION_VALUES[method] == value), None)


def format_auth_list(methods: tuple[AuthMethod, ...]) -> str:
    """Return methods as ``--auth`` takes them."""
    return ",".join(method.value for method in methods)


class ClientChoice:
    """The client's side: what the server demands against what we allow."""

    def __init__(self, methods: tuple[AuthMethod, ...]) -> None:
        self._methods = methods
        self._offers: list[bytes] = []

    @property
    def refused_any(self) -> bool:
        """Whether the server demanded something that we do not allow."""
        return bool(self._offers)

    def accepts(self, value: bytes) -> bool:
        """Whether we would log in this way.

        A server that asks for EAP first may have what we want more: it is told so once. One that insists gets EAP.
        """
        method = method_of(value, self._methods)
        if method is None:
            return False
        return not (method.is_eap and method is not self._methods[0] and value not in self._offers)

    def refuse(self, value: bytes) -> bytes | None:
        """Note a demand that we do not accept and return the value to Nak it with; None: give up, see failure().

        The first Nak of each demand names our most wanted method, a repetition of it the next one, and so on round:
        a server that does not have the first may have the second.
        """
        repetitions = self._offers.count(value)
        self._offers.append(value)
        if not self._methods or len(self._offers) > MAX_AUTHENTICATION_NAKS:
            return None
        return OPTION_VALUES[self._methods[repetitions % len(self._methods)]]

    def failure(self, what_happened: str = "") -> NegotiationFailed:
        """Return the error that says what the server demands and what to try."""
        distinct = list(dict.fromkeys(self._offers))
        if all(method_of(value, self._methods) for value in distinct):
            asked = f"the server was asked for {self._methods[0].value} instead of {describe(distinct[0])}"
            hint = "Put the methods of EAP first in --auth."
            return NegotiationFailed(f"{asked}: {what_happened}", protocol="authentication", hint=hint)
        demanded = ", then ".join(describe(value) for value in distinct)
        known = [method for method in _STRONGEST_FIRST if OPTION_VALUES[method] in distinct]
        if not known and EAP_VALUE in distinct:
            known = [*_EAP_ADVICE]
        allowed = f"only {format_auth_list(self._methods)}" if self._methods else "nothing"
        verb = "insists on" if len(distinct) == 1 else "demands"
        message = f"the server {verb} {demanded} for authentication, and {allowed} is allowed"
        if what_happened:
            message = f"{message}: {what_happened}"
        if known:
            added = _EAP_ADVICE if known[0].is_eap else (known[0],)
            hint = f"Allow it with --auth {format_auth_list((*self._methods, *added))}."
            if known[0] is AuthMethod.PAP:
                hint += " PAP shows the server the password."
        elif MSCHAP_1_VALUE in distinct:
            # RFC 2433: half of its answer is made from the LAN Manager hash, and the server proves nothing.
            hint = (
                "MS-CHAPv1 is refused: its answers give the password away, and the server need not know it. Ask its"
                " administrator to allow MS-CHAPv2."
            )
        else:
            hint = f"{demanded} is not supported yet; ask the server's administrator to allow MS-CHAPv2."
        return NegotiationFailed(message, protocol="authentication", hint=hint)


class ServerDemand:
    """The server's side: the method it demands now, and the ones it falls back to."""

    def __init__(self, methods: tuple[AuthMethod, ...]) -> None:
        self._remaining = list(methods)

    @property
    def method(self) -> AuthMethod | None:
        """What to demand; None when no authentication is wanted."""
        return self._remaining[0] if self._remaining else None

    def take_nak(self, value: bytes) -> bool:
        """Go on to what the client suggests, or else to the next method; return False when none is left."""
        suggested = method_of(value, tuple(self._remaining))
        # Methods of EAP are one demand.
        others = [method for method in self._remaining if OPTION_VALUES[method] != OPTION_VALUES[self._remaining[0]]]
        if suggested is not None:
            self._remaining = self._remaining[self._remaining.index(suggested) :]
        elif others:
            self._remaining = others
        else:
            # Never empty: that would let the client in without authentication.
            return False
        return True
