"""What the user reads when PPP goes wrong."""

from __future__ import annotations

import re
from enum import Enum

from ..errors import NegotiationFailed
from .auth import AuthMethod
from .auth_text import CREDENTIALS_HINT, clean_text
from .config import PppConfig
from .events import AuthenticationRefused

# Windows ends PPP with its magic number, these four octets and an error code (seen on the wire).
_WINDOWS_MARK = bytes.fromhex("003ccd74")


# What servers write when a limit of theirs is reached: pppd "Link inactive" and "Connect time expired", others what
# RADIUS calls it, Idle-Timeout and Session-Timeout (RFC 2865 sections 5.27 and 5.28), in one spelling or another.
_IDLE_WORDS = re.compile(r"\b(idle|inactiv\w*|lack of activity)\b", re.IGNORECASE)
_SESSION_WORDS = re.compile(
    r"\b(session|online)[- ]?(time|limit|duration)|\bconnect[- ]time\b|\btime[- ]?(limit|quota)\b|\bmax\w* session",
    re.IGNORECASE,
)


class Limit(Enum):
    """A limit of the server that ends a session in order. The value is what a person reads."""

    IDLE = "its limit on idle time is reached"
    SESSION = "its limit on the length of a session is reached"


def limit_named(text: str) -> Limit | None:
    """Return the limit that the text of a Terminate-Request names, None for none."""
    if _IDLE_WORDS.search(text):
        return Limit.IDLE
    return Limit.SESSION if _SESSION_WORDS.search(text) else None


def terminate_text(data: bytes) -> str:
    """Return what the data of a Terminate-Request says, as " (...)", or nothing when it says nothing readable."""
    if len(data) == 12 and data[4:8] == _WINDOWS_MARK:
        code = int.from_bytes(data[8:12], "big")
        return f" (Windows error {code})" if code else ""
    # RFC 1661 section 5.5: the data "is uninterpreted for use by the sender"; pppd puts a sentence there.
    text = clean_text(data) if data.isascii() and data.decode("ascii").isprintable() else ""
    return f' ("{text}")' if text else ""


def peer_ended_login(method: AuthMethod | None, text: str) -> AuthenticationRefused:
    """Return what a Terminate-Request in the authentication phase means: SoftEther's way to say no to PAP."""
    message = f"the server ended the link during authentication, usually a wrong user name or password{text}"
    hint = f"{CREDENTIALS_HINT} Some servers want DOMAIN\\user or user@domain."
    return AuthenticationRefused(method, None, False, message, hint)


def no_answer(protocol: str, config: PppConfig) -> NegotiationFailed:
    """Return the error of a phase that took too long, or whose requests were never answered."""
    who = config.peer_name
    match protocol:
        case "lcp":
            message = f"{who} and we did not agree on LCP within {config.lcp_timeout:g} s"
            hint = "The server may be overloaded: try again, or allow more time."
        case "authentication":
            message = f"{who} did not finish the log-in within {config.authentication_timeout:g} s"
            hint = "Its RADIUS server or a second factor may be slow: allow more time for the authentication."
        case _:
            message = f"{who} and we did not agree on addresses (IPCP) within {config.address_timeout:g} s"
            hint = "The server's DHCP server or address pool may be missing, exhausted or slow; ask its administrator."
    return NegotiationFailed(message, protocol=protocol, hint=hint)
