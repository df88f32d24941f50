from __future__ import annotations

import pytest

from sstpsocks.ppp.auth_text import MAX_TEXT_LENGTH, clean_text, with_server_text


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"", ""),
        (b"Welcome", "Welcome"),
        (b"two\r\nlines\tand\x00more", "two lines and more"),
        (b"\x1b[2Jcleared", "[2Jcleared"),
        ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"),
        ("left\N{RIGHT-TO-LEFT OVERRIDE}right".encode(), "left right"),
        ("a\N{LINE SEPARATOR}b\x85c".encode(), "a b c"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        (b"   ", ""),
    ],
)
def test_a_peers_text_becomes_one_safe_line(sent: bytes, shown: str) -> None:
    assert clean_text(sent) == shown


def test_long_text_is_cut() -> None:
    assert len(clean_text(b"x" * 60_000)) == MAX_TEXT_LENGTH
    assert clean_text(b"x" * MAX_TEXT_LENGTH) == "x" * MAX_TEXT_LENGTH


def test_the_servers_words_are_told_from_ours() -> None:
    assert with_server_text("refused", "") == "refused"
    assert with_server_text("refused", "go away") == "refused; the server says: go away"
