"""How to log in to an HTTP proxy: what may be used, in which order, and what is said next.

The strongest scheme that the proxy offers, the settings allow and we can do is tried, and no weaker one after it: a
password that was refused once would be refused again, every refusal counts towards locking the account, and who sits
in between could bring Basic about by refusing everything else. Only a scheme that cannot even begin here (a package or
a Kerberos ticket is missing) makes way for the next.

Basic gives the proxy, and without TLS everybody on the way to it, the password. It is the last resort, and whoever
does not want it leaves it out of ``ProxySettings.methods``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Protocol

import trio

from ...base.entropy import Entropy
from ...errors import RemoteProtocolError
from ...ppp.auth import Credentials
from ..settings import ProxyMethod, ProxySettings
from .challenge import Challenge
from .digest import DigestChallenge, answer_digest, parse_digest

STRONGEST_FIRST = (ProxyMethod.NEGOTIATE, ProxyMethod.DIGEST, ProxyMethod.NTLM, ProxyMethod.BASIC)


class SchemeUnusable(Exception):
    """The scheme cannot begin here; the text says why."""


class Scheme(Protocol):
    """One log-in."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def bound(self) -> bool:
        """Whether the next answer must go out on the connection that brought the challenge."""
        ...

    async def respond(self, challenges: Sequence[Challenge]) -> str | None:
        """Return the value of Proxy-Authorization for the next request, None when the proxy refuses the log-in.

        The first time it raises SchemeUnusable when the scheme cannot begin. Raises RemoteProtocolError for a
        challenge that makes no sense.
        """
        ...


class Basic:
    """User name and password in clear (RFC 7617)."""

    name = "Basic"
    bound = False

    def __init__(self, credentials: Credentials) -> None:
        self._credentials: Credentials | None = credentials

    async def respond(self, challenges: Sequence[Challenge]) -> str | None:
        """Return the password the first time."""
        await trio.lowlevel.checkpoint()
        credentials, self._credentials = self._credentials, None
        if credentials is None:
            return None
        if ":" in credentials.username:
            raise SchemeUnusable("it cannot carry a user name with a colon")  # RFC 7617 section 2
        pair = f"{credentials.username}:{credentials.password}"
        return "Basic " + b64encode(pair.encode()).decode("ascii")


class Digest:
    """A hash of the password with the proxy's nonce (RFC 7616)."""

    bound = False

    def __init__(self, credentials: Credentials, target: str, entropy: Entropy) -> None:
        self._credentials = credentials
        self._target = target
        self._entropy = entropy
        self._nonces: set[str] = set()
        self._hash = ""

    @property
    def name(self) -> str:
        """The scheme with its hash."""
        return f"Digest ({self._hash})" if self._hash else "Digest"

    async def respond(self, challenges: Sequence[Challenge]) -> str | None:
        """Answer the strongest challenge; one that comes back is a refusal, unless only its nonce was stale."""
        await trio.lowlevel.checkpoint()
        challenge = strongest_digest(challenges)
        if self._nonces and not (challenge.stale and challenge.nonce not in self._nonces and len(self._nonces) < 3):
            return None
        self._nonces.add(challenge.nonce)
        self._hash = challenge.hash_name
        return answer_digest(
            challenge,
            username=self._credentials.username,
            password=self._credentials.password,
            method="CONNECT",
            uri=self._target,
            cnonce=self._entropy.random_bytes(16).hex(),
        )


def strongest_digest(challenges: Sequence[Challenge]) -> DigestChallenge:
    """Return the challenge with the longest hash; of several the first. Raises RemoteProtocolError without any."""
    usable: list[DigestChallenge] = []
    problem = RemoteProtocolError("asked for a log-in without a Digest challenge", layer="http")
    for challenge in challenges:
        if challenge.scheme == "digest":
            try:
                usable.append(parse_digest(challenge))
            except RemoteProtocolError as error:
                problem = error
    if not usable:
        raise problem
    return max(usable, key=lambda challenge: challenge.strength)


def offered_names(challenges: Sequence[Challenge]) -> str:
    """Return what a proxy offers, for messages."""
    known = {method.value: method.spelling for method in ProxyMethod}
    return ", ".join(dict.fromkeys(known.get(challenge.scheme, challenge.scheme[:20]) for challenge in challenges))


async def begin_scheme(
    challenges: Sequence[Challenge],
    proxy: ProxySettings,
    credentials: Credentials | None,
    target: str,
    entropy: Entropy,
) -> tuple[Scheme, str] | list[str]:
    """Return the strongest scheme that can begin and what it says first, or why each that is offered cannot."""
    offered = {challenge.scheme for challenge in challenges}
    reasons: list[str] = []
    for method in STRONGEST_FIRST:
        if method.value not in offered:
            continue
        if method not in proxy.methods:
            reasons.append(f"{method.spelling} is not allowed by --proxy-auth")
            continue
        try:
            scheme = _make(method, proxy, credentials, target, entropy)
            said = await scheme.respond(challenges)
        except (SchemeUnusable, RemoteProtocolError) as error:
            reasons.append(f"{method.spelling}: {error}")
            continue
        if said is not None:
            return scheme, said
    return reasons


def _make(
    method: ProxyMethod, proxy: ProxySettings, credentials: Credentials | None, target: str, entropy: Entropy
) -> Scheme:
    if method in (ProxyMethod.NEGOTIATE, ProxyMethod.NTLM):
        from .integrated import Integrated  # pyspnego takes its time to load, if it is there at all

        return Integrated(method, proxy.host, credentials)
    if credentials is None:
        raise SchemeUnusable("it takes a user name and a password")
    if method is ProxyMethod.DIGEST:
        return Digest(credentials, target, entropy)
    return Basic(credentials)
