"""What a proxy's refusals mean, in words: one clear error for each, with what to try."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ProxyFailed, ProxyLoginFailed
from ..settings import ProxySettings
from .challenge import Challenge
from .connect import ConnectAnswer
from .schemes import offered_names
from .socks5 import REPLIES

WITHOUT = "--proxy none connects without it, where the network allows that"

_HINTS = {
    403: "its administrator must allow CONNECT to this host and port; many proxies allow only port 443",
    404: "check the proxy's port: this is a web server rather than a proxy",
    405: "it does not know CONNECT; check that this is a forward proxy",
    429: "it limits connections; wait before trying again",
    500: "the proxy failed; its administrator can see why",
    501: "it does not know CONNECT; check that this is a forward proxy",
    502: "the proxy cannot reach the server; check the server's name and port",
    503: "the proxy cannot reach the server, or its name is not known there; check the server's name and port",
    504: "the proxy got no answer from the server; check the server's name and port",
}
_SOCKS_HINTS = {
    1: "check the server's name and port; the proxy's administrator can see more",
    2: "its administrator must allow connections to this host and port",
    3: "the proxy has no route there; check the server's address",
    4: "the proxy cannot reach the server, or does not know its name; check both",
    5: "the proxy reaches the server's machine; check the port",
    6: "the proxy got no answer from the server; check the address and the port",
    7: "check that this is a SOCKS5 proxy for TCP",
    8: "try socks5h:// to have names resolved by the proxy, or socks5:// to have that done here",
}


def refused(proxy: ProxySettings, target: str, answer: ConnectAnswer) -> ProxyFailed:
    """Return the error for another answer to CONNECT than 2xx and 407."""
    reason = f" {answer.reason}" if answer.reason else ""
    message = f"{proxy}: it answered CONNECT {target} with HTTP {answer.status}{reason}"
    hint = _HINTS.get(answer.status, f"check that this is a forward proxy; {WITHOUT}")
    if 300 <= answer.status < 400:
        message += f" (to {answer.location})" if answer.location else ""
        hint = "it wants you to go elsewhere first, as the log-in page of a hotel does: open any page in a browser"
    return ProxyFailed(message, status=answer.status, hint=hint)


def socks_refused(proxy: ProxySettings, target: str, reply: int) -> ProxyFailed:
    """Return the error for a SOCKS5 proxy that did not connect."""
    message = f"{proxy}: it did not connect to {target}: {REPLIES.get(reply, f'reply {reply}')}"
    return ProxyFailed(message, hint=_SOCKS_HINTS.get(reply, "the proxy's administrator can see more"))


def login_wanted(proxy: ProxySettings, challenges: Sequence[Challenge], reasons: Sequence[str]) -> ProxyLoginFailed:
    """Return the error for a proxy to which we cannot log in."""
    offered = offered_names(challenges) or "nothing that we understand"
    message = f"{proxy}: it asks for a log-in and offers {offered}"
    if proxy.credentials is not None:
        return ProxyLoginFailed(
            message + (f" ({'; '.join(reasons)})" if reasons else ""), hint="none of that can be used"
        )
    hint = "give --proxy-user NAME and --proxy-password-file FILE, or wait to be asked for the password"
    unusable = [reason for reason in reasons if "takes a user name" not in reason]
    return ProxyLoginFailed(message + (f" ({'; '.join(unusable)})" if unusable else ""), hint=hint)


def socks_login_wanted(proxy: ProxySettings) -> ProxyLoginFailed:
    """Return the error for a SOCKS5 proxy that takes none of the methods we have."""
    if proxy.credentials is None:
        hint = "give --proxy-user NAME and --proxy-password-file FILE, or wait to be asked for the password"
        return ProxyLoginFailed(f"{proxy}: it asks for a log-in", hint=hint)
    message = f"{proxy}: it takes neither a user name with a password nor nobody"
    return ProxyLoginFailed(message, hint="its other methods (GSS-API and the like) are not supported")


def login_refused(proxy: ProxySettings, username: str, how: str) -> ProxyLoginFailed:
    """Return the error for a password that the proxy did not take."""
    who = f'the password of user "{username}"' if username else "the log-in"
    return ProxyLoginFailed(
        f"{proxy}: it refused {who} ({how})", hint="check user name and password; nothing was sent twice"
    )
