"""What a proxy wants for a log-in: the challenges of Proxy-Authenticate (RFC 9110 section 11).

A field holds a list of challenges, and each challenge a list of parameters, both separated by commas, so a parser has
to look one token ahead: ``Digest realm="a, b", nonce=x, Basic realm="c"`` is two challenges. Proxies write it in
many ways, so the parser takes more than the grammar: what makes no sense is skipped up to the next comma. Text is
bounded, and nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MAX_CHALLENGES: Final = 32
MAX_PARAMETERS: Final = 32  # of one challenge; RFC 7616 has ten

# RFC 9110 section 5.6.2: token; section 11.2: token68, at least one character and padding.
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a grammar
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]|,|$)")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t]*(?:,|$))', re.DOTALL)
_TOKEN68 = re.compile(r"([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$))")
_SPACE = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_JUNK = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^,"])*', re.DOTALL)  # always matches: nothing to go back for
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme that the proxy offers."""

    scheme: str
    """In lower case: "basic", "digest", "ntlm", "negotiate"."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Names in lower case; values without their quotes. The first of two with the same name counts."""
    token: str = ""
    """The token68 of schemes that have one instead of parameters (NTLM, Negotiate)."""


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all Proxy-Authenticate fields of an answer, in their order."""
    challenges: list[Challenge] = []
    for value in values:
        challenges += _parse(value)
        if len(challenges) >= MAX_CHALLENGES:
            break
    return challenges[:MAX_CHALLENGES]


def _parse(value: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(_SEPARATORS, value, 0)
    while position < len(value) and len(found) < MAX_CHALLENGES:
        parameter = _PARAMETER.match(value, position)
        scheme = _SCHEME.match(value, position)
        if parameter is not None and found:
            _add(found[-1], parameter)
            position = parameter.end()
        elif scheme is not None:
            position = _skip(_SPACE, value, scheme.end())
            # "scheme token68" and "scheme name=value" look alike up to the end: NTLM's padding is an equals sign.
            token = _TOKEN68.match(value, position)
            if token is not None and _PARAMETER.match(value, position) is None:
                found.append(Challenge(scheme[1].lower(), token=token[1]))
                position = token.end()
            else:
                found.append(Challenge(scheme[1].lower()))
        else:
            junk = _JUNK.match(value, position)
            position = junk.end() if junk is not None else len(value)
        position = _skip(_SEPARATORS, value, position)
    return found


def _skip(pattern: re.Pattern[str], value: str, position: int) -> int:
    match = pattern.match(value, position)
    return match.end() if match is not None else position


def _add(challenge: Challenge, parameter: re.Match[str]) -> None:
    name, quoted, plain = parameter.groups()
    if len(challenge.parameters) < MAX_PARAMETERS:
        text = _QUOTED_PAIR.sub(r"\1", quoted) if quoted is not None else plain
        challenge.parameters.setdefault(name.lower(), text)
