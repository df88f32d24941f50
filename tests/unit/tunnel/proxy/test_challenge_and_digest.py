"""What proxies ask for, and Digest's answers: against the examples of the RFCs."""

from __future__ import annotations

import hashlib
import re

import pytest

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.tunnel.proxy.challenge import Challenge, parse_challenges
from sstpsocks.tunnel.proxy.digest import answer_digest, parse_digest
from sstpsocks.tunnel.proxy.schemes import strongest_digest


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_several_challenges_in_one_field_and_several_fields() -> None:
    """The example of RFC 9110 section 11.6.1, and NTLM's in a field of its own."""
    found = parse_challenges(
        ['Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""', "NTLM TlRMTVNTUAAC=="]
    )
    assert found == [
        Challenge("basic", {"realm": "simple"}),
        Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
        Challenge("ntlm", token="TlRMTVNTUAAC=="),
    ]


@pytest.mark.parametrize(
    ("value", "schemes"),
    [
        ("Negotiate, NTLM", ["negotiate", "ntlm"]),
        ("NTLM", ["ntlm"]),
        ("Negotiate YII=", ["negotiate"]),
        ('Digest realm="a, Basic b", nonce=x, Basic realm=y', ["digest", "basic"]),
        (', ,Basic realm="x",', ["basic"]),
        ('"junk" , = , Basic', ["basic"]),
        ('Basic realm="never closed', ["basic", 'realm="never']),
        ("", []),
    ],
)
def test_what_proxies_write(value: str, schemes: list[str]) -> None:
    found = [challenge.scheme for challenge in parse_challenges([value])]
    assert found[:1] == schemes[:1]
    assert len(found) <= max(1, len(schemes)) if value else found == []


def test_a_babbling_proxy_is_cut_short() -> None:
    assert len(parse_challenges(["Basic, " * 1000] * 3)) == 32


RFC_7616_3_9_1 = {
    "realm": "http-auth@example.org",
    "qop": "auth, auth-int",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
}


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    challenge = parse_digest(Challenge("digest", {**RFC_7616_3_9_1, "algorithm": algorithm}))
    answer = answer_digest(
        challenge,
        username="Mufasa",
        password="Circle of Life",
        method="GET",
        uri="/dir/index.html",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert answer == (
        'Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
        f' uri="/dir/index.html", response="{response}", algorithm={algorithm},'
        ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop=auth, nc=00000001,'
        ' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"'
    )


def test_the_example_of_rfc_7616_section_3_9_2_hashes_the_name() -> None:
    """Its user name; the RFC's own response is wrong for SHA-512/256 (erratum 4897), so the formula is the judge."""
    challenge = parse_digest(
        Challenge(
            "digest",
            {
                "realm": "api@example.org",
                "qop": "auth",
                "algorithm": "SHA-256",
                "nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
                "charset": "UTF-8",
                "userhash": "true",
            },
        )
    )
    answer = answer_digest(
        challenge, username="Jäsøn Doe", password="Secret, or not?", method="GET", uri="/doe.json", cnonce="NTg6RKcb"
    )
    name = hashlib.sha256("Jäsøn Doe:api@example.org".encode()).hexdigest()
    assert f'username="{name}"' in answer
    assert answer.endswith(", userhash=true")
    secret = hashlib.sha256("Jäsøn Doe:api@example.org:Secret, or not?".encode()).hexdigest()
    request = hashlib.sha256(b"GET:/doe.json").hexdigest()
    pieces = f"{secret}:5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK:00000001:NTg6RKcb:auth:{request}"
    assert f'response="{hashlib.sha256(pieces.encode()).hexdigest()}"' in answer


def test_names_beyond_ascii_are_percent_encoded_where_the_proxy_knows_utf_8() -> None:
    challenge = parse_digest(Challenge("digest", {"nonce": "n", "qop": "auth", "charset": "utf-8"}))
    answer = answer_digest(challenge, username="Jäsøn", password="x", method="CONNECT", uri="h:443", cnonce="c")
    assert answer.startswith("Digest username*=UTF-8''J%C3%A4s%C3%B8n, ")


def test_the_session_variant_and_the_oldest_form() -> None:
    """MD5-sess (RFC 7616 section 3.4.2), and RFC 2069, which has neither qop nor count."""
    session = parse_digest(Challenge("digest", {"realm": "r", "nonce": "n", "qop": "auth", "algorithm": "MD5-sess"}))
    answer = answer_digest(session, username="u", password="p", method="CONNECT", uri="h:443", cnonce="c")
    first = _md5(b"u:r:p")
    secret = _md5(f"{first}:n:c".encode())
    request = _md5(b"CONNECT:h:443")
    expected = _md5(f"{secret}:n:00000001:c:auth:{request}".encode())
    assert f'response="{expected}"' in answer
    oldest = parse_digest(Challenge("digest", {"realm": "r", "nonce": "n"}))
    answer = answer_digest(oldest, username="u", password="p", method="CONNECT", uri="h:443", cnonce="c")
    expected = _md5(f"{first}:n:{request}".encode())
    assert f'response="{expected}"' in answer
    assert not re.search("qop|nc=|cnonce|algorithm", answer)


def test_quotes_in_what_the_proxy_chose_come_back_quoted() -> None:
    (challenge,) = parse_challenges([r'Digest realm="a \"b\" \\", nonce="n"'])
    answer = answer_digest(
        parse_digest(challenge), username='u"x', password="p", method="CONNECT", uri="h:443", cnonce="c"
    )
    assert r'realm="a \"b\" \\"' in answer
    assert r'username="u\"x"' in answer


@pytest.mark.parametrize(
    "parameters",
    [
        {"realm": "r"},
        {"nonce": "n", "qop": "auth-int"},
        {"nonce": "n", "algorithm": "ROT13"},
        {"nonce": "n\r\nX: y"},
    ],
)
def test_challenges_that_cannot_be_answered(parameters: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError, match="Digest challenge"):
        parse_digest(Challenge("digest", parameters))


def test_the_longest_hash_wins_and_unknown_ones_are_passed_over() -> None:
    offers = [
        Challenge("digest", {"nonce": "1", "algorithm": "MD5"}),
        Challenge("digest", {"nonce": "2", "algorithm": "SHA-256"}),
        Challenge("digest", {"nonce": "3", "algorithm": "SHA-4096"}),
    ]
    assert strongest_digest(offers).nonce == "2"
    with pytest.raises(RemoteProtocolError, match="unknown algorithm"):
        strongest_digest(offers[2:])
