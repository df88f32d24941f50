"""The report of ``sstpsocks check``: a table, JSON, and nothing in them that should not be seen."""

from __future__ import annotations

import json

from sstpsocks.app.check.report import Finding, Report, Verdict


def report(*findings: Finding) -> Report:
    return Report("vpn.example.com:443", "sstpsocks 1 (interpreted)", list(findings))


def test_the_table_has_a_line_for_each_step_and_its_facts_below_it() -> None:
    tls = Finding("TLS", seconds=0.0234, facts={"version": "TLSv1.3", "chain": ["1. CN=a", "2. CN=b"]})
    assert report(tls).to_table().splitlines() == [
        "sstpsocks 1 (interpreted), check of vpn.example.com:443",
        "",
        "TLS             ok  23 ms",
        "  version  TLSv1.3",
        "  chain    1. CN=a",
        "           2. CN=b",
        "",
        "exit code 0",
    ]


def test_the_table_says_what_failed_and_what_to_try() -> None:
    failed = report(Finding("TCP", Verdict.FAILED, problem="it refused the connection", hint="check the port"))
    table = failed.to_table()
    assert "TCP             FAILED\n  it refused the connection\n  Try: check the port" in table


def test_what_is_not_known_is_not_an_empty_place() -> None:
    table = report(Finding("PPP", facts={"MRU": None, "options": [], "ended": False})).to_table()
    assert "MRU      not said" in table
    assert "options  none" in table
    assert "ended    no" in table


def test_json_holds_the_same() -> None:
    whole = report(Finding("TLS", seconds=0.5, facts={"MTU": 1400, "names": ["a", "b"], "MRU": None}))
    whole.exit_code = 4
    assert json.loads(whole.to_json()) == {
        "server": "vpn.example.com:443",
        "version": "sstpsocks 1 (interpreted)",
        "exit_code": 4,
        "steps": [
            {
                "name": "TLS",
                "verdict": "ok",
                "seconds": 0.5,
                "facts": {"MTU": 1400, "names": ["a", "b"], "MRU": None},
                "problem": "",
                "hint": "",
            }
        ],
    }


def test_a_password_that_the_server_repeats_is_hidden_everywhere() -> None:
    whole = report(Finding("x", Verdict.FAILED, None, {"a": "it was hunter22", "b": ["hunter22"]}, "hunter22?", "no"))
    whole.hidden.hide("hunter22", "<password>")
    for text in (whole.to_table(), whole.to_json()):
        assert "hunter22" not in text
        assert text.count("<password>") == 3
    assert "hunter22" not in repr(whole.hidden)


def test_the_longest_word_is_hidden_first() -> None:
    whole = report(Finding("x", problem="alice@example.com and alice"))
    whole.hidden.hide("alice", "<user>")
    whole.hidden.hide("alice@example.com", "<user>")
    assert "<user> and <user>" in whole.to_table()


def test_a_word_of_a_letter_or_two_is_left_alone_as_hiding_it_would_show_where_it_is() -> None:
    whole = report(Finding("x", problem="a banana"))
    whole.hidden.hide("a", "<password>")
    assert "a banana" in whole.to_table()


def test_a_text_of_the_server_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in report(Finding("HTTP", facts={"server software": "\x1b[2Jnginx"})).to_table()
