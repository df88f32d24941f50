from __future__ import annotations

import pytest

from sstpsocks.app.pac import pac_pages
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.table import RuleTable


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("0.0.0.0:1080", "127.0.0.1:1080"),
        ("[::1]:1080", "[::1]:1080"),
        ("[::]:1080", "[::1]:1080"),
    ],
)
def test_the_file_names_an_address_that_programs_of_this_machine_reach(place: str, named: str) -> None:
    page = pac_pages(lambda: RuleTable((), "work"), ["unix:/run/x", place])("/proxy.pac?x")
    assert page is not None
    assert f'"PROXY {named}"'.encode() in page.body


def test_it_is_made_of_the_rules_that_hold_at_the_moment() -> None:
    table = RuleTable((), "work")
    pages = pac_pages(lambda: table, ["127.0.0.1:1080"])
    before = pages("/wpad.dat")
    table = RuleTable([parse_rule("printer.example -> direct")], "work")
    after = pages("/wpad.dat")
    assert before is not None
    assert after is not None
    assert (b"printer.example" in before.body, b"printer.example" in after.body) == (False, True)


def test_other_paths_and_unix_sockets_have_no_such_page() -> None:
    assert pac_pages(lambda: RuleTable((), "work"), ["127.0.0.1:1080"])("/index.html") is None
    assert pac_pages(lambda: RuleTable((), "work"), ["unix:/run/x"])("/proxy.pac") is None
