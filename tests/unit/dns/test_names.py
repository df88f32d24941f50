from __future__ import annotations

import pytest

from sstpsocks.dns.names import is_localhost, normalise_name
from sstpsocks.errors import NameNotFound


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("intranet", "intranet"),
        ("_sip._tcp.example.com", "_sip._tcp.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("日本語。example", "xn--wgv71a119e.example"),
        # Characters that look like ASCII become ASCII before anything is decided about them.
        ("１２７．0．0．1", "127.0.0.1"),
        ("ⓛocalhost", "localhost"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_names_are_brought_into_one_form(text: str, name: str) -> None:
    assert normalise_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a..b", ".a", "a b", "a\x00b", "a\\.b", "a/b", "a:80", "[::1]", "user@host", "\udcff", "a" * 64,
        ".".join(["a" * 63] * 4), "x" * 2000, "ü" * 2000, "é" * 62, "\u2024.test", "*.test", "a\nb",
    ],
)  # fmt: skip
def test_what_is_no_host_name_is_never_asked(text: str) -> None:
    with pytest.raises(NameNotFound):
        normalise_name(text)


def test_localhost_and_everything_below_it() -> None:
    assert is_localhost("localhost")
    assert is_localhost("a.b.localhost")
    assert not is_localhost("localhost.example")
    assert not is_localhost("mylocalhost")
