"""LCP's Authentication-Protocol option (RFC 1661 section 6.2): which method is meant, and which one to agree on."""

from __future__ import annotations

from ..errors import NegotiationFailed
from .auth import AuthMethod
from .packet import PROTOCOL_CHAP, PROTOCOL_EAP, PROTOCOL_PAP

# RFC 1334 section 2, RFC 1994 section 3, RFC 2759 section 3: protocol and, for CHAP, algorithm.
OPTION_VALUES: dict[AuthMethod, bytes] = {
    AuthMethod.PAP: PROTOCOL_PAP.to_bytes(2, "big"),
    AuthMethod.CHAP_MD5: PROTOCOL_CHAP.to_bytes(2, "big") + b"\x05",
    AuthMethod.MSCHAPV2: PROTOCOL_CHAP.to_bytes(2, "big") + b"\x81",
}
METHODS: dict[bytes, AuthMethod] = {value: method for method, value in OPTION_VALUES.items()}

# What to recommend when there is a choice: what tells the server least.
_STRONGEST_FIRST = (AuthMethod.MSCHAPV2, AuthMethod.CHAP_MD5, AuthMethod.PAP)

EAP_VALUE = PROTOCOL_EAP.to_bytes(2, "big")
MSCHAP_1_VALUE = PROTOCOL_CHAP.to_bytes(2, "big") + b"\x80"

# Naks of the authentication option before the client gives up. SoftEther steps EAP, MS-CHAPv2, PAP whatever a Nak
# asks for, so that PAP takes two; RRAS may repeat EAP, MS-CHAPv2, CHAP, PAP likewise.
MAX_AUTHENTICATION_NAKS = 6


def describe(value: bytes) -> str:
    """Return what the command line, or else the RFCs, call the method of an option value."""
    if value in METHODS:
        return METHODS[value].value
    if value == EAP_VALUE:
        return "EAP"
    if value == MSCHAP_1_VALUE:
        return "MS-CHAPv1"
    return f"authentication protocol 0x{value.hex()}"


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
        """Whether we would log in this way."""
        return METHODS.get(value) in self._methods

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
        demanded = ", then ".join(describe(value) for value in distinct)
        known = [method for method in _STRONGEST_FIRST if OPTION_VALUES[method] in distinct]
        allowed = f"only {format_auth_list(self._methods)}" if self._methods else "nothing"
        verb = "insists on" if len(distinct) == 1 else "demands"
        message = f"the server {verb} {demanded} for authentication, and {allowed} is allowed"
        if what_happened:
            message = f"{message}: {what_happened}"
        if known:
            hint = f"Allow it with --auth {format_auth_list((*self._methods, known[0]))}."
            if known[0] is AuthMethod.PAP:
                hint += " PAP shows the server the password."
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
        suggested = METHODS.get(value)
        if suggested in self._remaining:
            self._remaining = self._remaining[self._remaining.index(suggested) :]
        elif len(self._remaining) > 1:
            self._remaining = self._remaining[1:]
        else:
            # Never empty: that would let the client in without authentication.
            return False
        return True
