"""``sstpsocks ping`` and ``sstpsocks resolve``: a question to the network behind the server, in a tunnel of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import trio

from ..errors import ConfigError, DeniedByRule, DialError, SstpsocksError, TunnelDown
from ..library import Tunnel, run_tunnel
from ..tunnel.network import IPAddress
from .cli.extras import RECORD_TYPES
from .config import Configuration
from .failures import EXIT_OK
from .messages import Display
from .prompts import prepare_passwords

EXIT_NO_ANSWER = 1
_TYPES = {"A": 4, "AAAA": 6}
_MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    command: str
    host: str
    json: bool = False
    count: int = 4
    interval: float = 1.0
    wait: float = 5.0
    record: str | None = None
    """The type of record; None: both kinds of addresses, or for an address its name."""

    @classmethod
    def of(cls, command: str, given: dict[str, Any]) -> Question:
        """Take the question out of what the command line gave. Raises ConfigError."""
        if command == "ping":
            question = cls(
                command=command,
                host=given.pop("host"),
                json=given.pop("json"),
                count=given.pop("count"),
                interval=given.pop("interval"),
                wait=given.pop("wait"),
            )
            if not 1 <= question.count <= _MAX_COUNT:
                raise ConfigError(f"--count: {question.count} is not from 1 to {_MAX_COUNT}")
            for flag, value in (("--interval", question.interval), ("--wait", question.wait)):
                if not 0.01 <= value <= 3600:
                    raise ConfigError(f"{flag}: {value:g} is not from 0.01 to 3600")
            return question
        servers = given["server"]
        record = servers.pop(0).upper() if servers and servers[0].upper() in RECORD_TYPES else None
        if record is None and _is_address(given["name"]):
            record = "PTR"
        return cls(command=command, host=given.pop("name"), json=given.pop("json"), record=record)


OpenTunnel = Callable[..., AbstractAsyncContextManager[Tunnel]]
Say = Callable[[str], None]


def only_tunnel(configuration: Configuration, command: str, host: str) -> Configuration:
    """Choose the tunnel by the rules; refuse a host that they may send another way than through one tunnel.

    Raises ConfigError.
    """
    if not configuration.others and not configuration.rules:
        return configuration
    from .one_host import for_one_host  # only for those who have rules

    try:
        needed = for_one_host(configuration, host, None)
    except DeniedByRule as error:
        raise ConfigError(f"{command}: {error}") from None
    except DialError:
        # Underscores and the like, of which a name server may know: no rule is about what is no host name.
        needed = for_one_host(replace(configuration, rules=()), "host.invalid", None)
    if needed is None or needed.others or needed.rules:
        said = ", ".join(f'"{rule}"' for rule in (needed.rules if needed is not None else configuration.rules))
        raise ConfigError(
            f"{command} only leads into one tunnel, and {host} may go another way by the rules: {said}",
            hint="Rules are followed by: sstpsocks connect",
        )
    return needed


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the answer


async def run_question(
    configuration: Configuration,
    question: Question,
    display: Display,
    *,
    open_tunnel: OpenTunnel = run_tunnel,
    say: Say = _print,
) -> int:
    """Bring the tunnel up, ask, print the answer and return the exit code: 1 when there is none."""
    await prepare_passwords(configuration, display)
    async with open_tunnel(configuration.tunnel, observe=display.step, on_state=display.state) as tunnel:
        return await (_ping if question.command == "ping" else _resolve)(tunnel, question, say)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


async def _look_up(tunnel: Tunnel, question: Question, say: Say) -> int:
    """Answer for any type of record, as the network's servers give it."""
    record, asked = str(question.record), question.host
    try:
        name = dns.reversename.from_address(asked) if _is_address(asked) else dns.name.from_text(asked, dns.name.root)
    except (dns.exception.DNSException, UnicodeError):
        raise ConfigError(f'resolve: "{asked}" is no name') from None
    if tunnel.answers is None:
        raise TunnelDown("the tunnel answers no queries")
    response = await tunnel.answers.answer(dns.message.make_query(name, record))
    kind = dns.rdatatype.from_text(record)
    # Text of a foreign server's: to_text() escapes what a terminal would obey.
    found = [data.to_text() for entry in response.answer if entry.rdtype == kind for data in entry]
    code = dns.rcode.to_text(response.rcode())
    if question.json:
        say(json.dumps({"name": asked, "type": record, "records": found, "status": code}))
    elif found:
        say("\n".join(found))
    else:
        say(f"{asked} has no {record} record" + ("" if code == "NOERROR" else f" ({code})"))
    return EXIT_OK if found else EXIT_NO_ANSWER


async def _resolve(tunnel: Tunnel, question: Question, say: Say) -> int:
    if question.record is not None and question.record not in _TYPES:
        return await _look_up(tunnel, question, say)
    try:
        found = await tunnel.resolve(question.host)
    except TunnelDown:
        raise
    except DialError as error:
        say(json.dumps({"name": question.host, "addresses": [], "error": str(error)}) if question.json else str(error))
        return EXIT_NO_ANSWER
    wanted = [address for address in found if question.record is None or address.version == _TYPES[question.record]]
    if question.json:
        say(json.dumps({"name": question.host, "addresses": [str(address) for address in wanted]}))
    elif wanted:
        say("\n".join(str(address) for address in wanted))
    else:
        say(f"{question.host} has no {question.record} record")
    return EXIT_OK if wanted else EXIT_NO_ANSWER


async def _ping(tunnel: Tunnel, question: Question, say: Say) -> int:
    try:
        address = await _address(tunnel, question.host)
    except TunnelDown:
        raise
    except DialError as error:
        say(json.dumps({"host": question.host, "error": str(error)}) if question.json else str(error))
        return EXIT_NO_ANSWER
    times: list[float | None] = []
    for number in range(1, question.count + 1):
        begun = trio.current_time()
        try:
            seconds = await tunnel.network.ping(address, limit=question.wait)
        except TunnelDown:
            raise
        except SstpsocksError as error:
            times.append(None)
            line = str(error)
        else:
            times.append(seconds)
            line = f"reply from {address}: number {number}, {seconds * 1000:.1f} ms"
        if not question.json:
            say(line)
        if number < question.count:
            await trio.sleep_until(begun + question.interval)
    replies = [seconds * 1000 for seconds in times if seconds is not None]
    say(_result(question, address, times, replies))
    return EXIT_OK if replies else EXIT_NO_ANSWER


def _result(question: Question, address: IPAddress, times: list[float | None], replies: list[float]) -> str:
    if question.json:
        document = {
            "host": question.host,
            "address": str(address),
            "sent": len(times),
            "received": len(replies),
            "milliseconds": [None if seconds is None else round(seconds * 1000, 3) for seconds in times],
        }
        return json.dumps(document)
    text = f"{question.host} ({address}): {len(times)} sent, {len(replies)} received"
    if replies:
        middle = sum(replies) / len(replies)
        text += f", smallest/mean/largest {min(replies):.1f}/{middle:.1f}/{max(replies):.1f} ms"
    return text


async def _address(tunnel: Tunnel, host: str) -> IPAddress:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return (await tunnel.resolve(host))[0]
