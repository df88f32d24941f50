"""The script form, read into statements. docs/rfc-conformance.md shows it to readers of scripts.

A script is a text file named for the rule it proves. Its first line is a comment with the rule. Each other line is

    [at TIME] VERB ARGUMENTS

TIME is seconds since the start of the script (``1.5``), since the time of the line before (``+0.5``), or for what is
expected a range of either (``1.0..1.5``, ``+0.2..0.5``). Without it a line happens at the time of the one before. What
the stack sends must be expected, and when it is sent: anything else it sends fails the script. Lines that send at one
time arrive in one batch.

    mtu 1040                    the link; 1040 octets, so that the MSS is 1000, unless said otherwise
    config NAME=VALUE ...       settings of StackConfig
    ipv6                        both ends speak IPv6, on a link of 1280 octets
    after PRELUDE NAME=VALUE    begin where a file of preludes/ ends; its end is time 0
    peer NAME [port N] [iss N]  who sends and is spoken to from here on; made when new
    call ...                    a call of the user: connect, listen, accept, send, receive, shutdown, close, abort ...
    send PACKET                 a packet arrives from the peer
    expect PACKET               the next packet of the stack is this; ``expect nothing``: there is none now
    state, error, readable, eof, counter, connections: what must be true now

    PACKET is  FLAGS [seq FIRST[:END[/STEP]]] [ack N] [win N] [urg N] [<OPTIONS>] [ip{FIELDS}] [other]
           or  UDP FROM>TO SIZE,  ICMP TYPE/CODE ...,  fragment NAME FIRST:END,  IP proto SIZE

``TS 5 echo`` echoes our last timestamp, ``TS 5 echo@1.5`` that of what left at 1.5.

Sequence numbers are relative to each side's SYN, which is 0. Data is a fixed pattern, checked on both sides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .wire import FLAGS, Options, ScriptError

_NUMBER = r"\d+(?:\.\d+)?"
_AT = re.compile(rf"at\s+(\+?)({_NUMBER})(?:\.\.\+?({_NUMBER}))?\s+(.*)$")
_TOKEN = re.compile(r"<[^>]*>(?=\s|$)|ip\{[^}]*\}|\S+")
_FLAG_WORDS = frozenset(FLAGS) | {f"!{name}" for name in FLAGS} | {"-"}


@dataclass(frozen=True)
class Statement:
    """One line."""

    file: str
    number: int
    text: str
    """As it stands in the file, without the comment."""
    relative: bool
    """The times count from the line before."""
    earliest: float | None
    """When; None at the time of the line before."""
    latest: float | None
    """The end of the range in which something is expected, None for a point in time."""
    words: tuple[str, ...]
    """The verb and its arguments; ``<options>`` and ``ip{fields}`` are one word each."""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"


def read_script(path: Path, values: dict[str, str] | None = None) -> list[Statement]:
    """Read a file. ``{name}`` is replaced by ``values``, or by what a line ``default name value`` says."""
    substitutes = dict(values or {})
    statements = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        if text.startswith("default "):
            _, name, *rest = text.split(None, 2)
            substitutes.setdefault(name, rest[0] if rest else "")
            continue
        for name, value in substitutes.items():
            text = text.replace("{" + name + "}", value)
        statements.append(_read_statement(path.name, number, text))
    return statements


def _read_statement(file: str, number: int, text: str) -> Statement:
    found = _AT.match(text)
    if found is None:
        return Statement(file, number, text, False, None, None, tuple(_TOKEN.findall(text)))
    latest = float(found[3]) if found[3] else None
    words = tuple(_TOKEN.findall(found[4]))
    return Statement(file, number, text, bool(found[1]), float(found[2]), latest, words)


def settings(words: tuple[str, ...], line: str) -> dict[str, str]:
    """Read ``name=value`` pairs; a value with spaces stands in double quotes in the line."""
    found = {name: value.strip('"') for name, value in re.findall(r'([\w-]+)=("[^"]*"|\S+)', line)}
    if words and not found:
        raise ScriptError(f"expected name=value, not {' '.join(words)}")
    return found


@dataclass(frozen=True)
class SegmentText:
    """A TCP segment as a script writes it. None: not mentioned."""

    flags: frozenset[str]
    absent: frozenset[str]
    """Flags written with ``!``."""
    first: int | None
    end: int | None
    step: int
    """Octets per segment when the line stands for several."""
    ack: str | None
    window: str | None
    urgent: str | None
    options: Options | None
    absent_options: frozenset[str]
    ip: dict[str, str]
    extras: frozenset[str]
    """Words such as ``zeros`` (the data is zeros, not the pattern)."""


def read_segment_text(words: tuple[str, ...]) -> SegmentText:
    """Read what follows ``send`` or ``expect`` when it is a TCP segment."""
    names = words[0].split(",")
    if unknown := [name for name in names if name not in _FLAG_WORDS]:
        raise ScriptError(f"no such flag or packet: {unknown[0]}")
    flags = frozenset(name for name in names if name in FLAGS)
    absent = frozenset(name[1:] for name in names if name.startswith("!"))
    numbers: dict[str, str] = {}
    options: Options | None = None
    absent_options: frozenset[str] = frozenset()
    ip: dict[str, str] = {}
    extras = set()
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in ("seq", "ack", "win", "urg"):
            if not rest:
                raise ScriptError(f"{word} without a number")
            numbers[word] = rest.pop(0)
        elif word.startswith("<"):
            options, absent_options = _read_options(word[1:-1])
        elif word.startswith("ip{"):
            ip = read_fields(word[3:-1])
        elif word in ("zeros", "any-data"):
            extras.add(word)
        else:
            raise ScriptError(f"not understood: {word}")
    first, end, step = _read_range(numbers.get("seq"))
    return SegmentText(
        flags,
        absent,
        first,
        end,
        step,
        numbers.get("ack"),
        numbers.get("win"),
        numbers.get("urg"),
        options,
        absent_options,
        ip,
        frozenset(extras),
    )


def _read_range(text: str | None) -> tuple[int | None, int | None, int]:
    if text is None:
        return None, None, 0
    found = re.fullmatch(r"(\d+)(?::(\d+)(?:/(\d+))?)?", text)
    if found is None:
        raise ScriptError(f"not a range of sequence numbers: {text}")
    first = int(found[1])
    end = int(found[2]) if found[2] else first
    return first, end, int(found[3]) if found[3] else end - first


def _read_options(text: str) -> tuple[Options, frozenset[str]]:
    present: Options = []
    absent = set()
    for part in text.split(","):
        words = part.split()
        if not words:
            continue
        if words[0].startswith("!"):
            absent.add(words[0][1:])
        else:
            present.append((words[0], tuple(words[1:])))
    return present, frozenset(absent)


def read_fields(text: str) -> dict[str, str]:
    """Read ``ttl 1, df, !mf`` into a dictionary; a field without a value gets ``yes``, one with ``!`` gets ``no``."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        words = part.split()
        if words and words[0].startswith("!"):
            fields[words[0][1:]] = "no"
        elif words:
            fields[words[0]] = "".join(words[1:]) or "yes"
    return fields
