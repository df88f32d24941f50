"""``sstpsocks resolve`` prints records of any type as the network's servers gave them."""

from __future__ import annotations

import json
from typing import cast

import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from sstpsocks.app.ask import Question, _resolve
from sstpsocks.errors import ConfigError
from sstpsocks.library import Tunnel


class Zone:
    """A tunnel whose answers are written down."""

    def __init__(self) -> None:
        self.answers = self
        self.asked: list[str] = []

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        await trio.lowlevel.checkpoint()
        question = query.question[0]
        self.asked.append(question.to_text())
        response = dns.message.make_response(query)
        known = {
            "demo. IN MX": ("10 mail.demo.", "20 spare.demo."),
            "text.demo. IN TXT": ('"a\\027[31mb"',),
            "7.0.99.10.in-addr.arpa. IN PTR": ("printer.demo.",),
        }
        if question.to_text() in known:
            data = known[question.to_text()]
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, *data))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


async def ask(*words: str, as_json: bool = False) -> tuple[int, list[str]]:
    said: list[str] = []
    question = Question.of("resolve", {"name": words[0], "json": as_json, "server": list(words[1:])})
    return await _resolve(cast(Tunnel, Zone()), question, said.append), said


async def test_records_are_printed_one_a_line() -> None:
    assert await ask("demo", "MX") == (0, ["10 mail.demo.\n20 spare.demo."])


async def test_an_address_is_asked_for_its_name() -> None:
    assert await ask("10.99.0.7") == (0, ["printer.demo."])


async def test_what_a_server_says_does_not_reach_the_terminal_raw() -> None:
    _code, said = await ask("text.demo", "txt")
    assert said == ['"a\\027[31mb"']


async def test_no_record_is_exit_code_1_and_says_why() -> None:
    assert await ask("nobody.demo", "SRV") == (1, ["nobody.demo has no SRV record (NXDOMAIN)"])
    code, said = await ask("nobody.demo", "SRV", as_json=True)
    assert code == 1
    assert json.loads(said[0]) == {"name": "nobody.demo", "type": "SRV", "records": [], "status": "NXDOMAIN"}


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
async def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        await ask(name, "MX")
