"""Whatever a proxy sends: a value or a RemoteProtocolError, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.app.proxy_url import environment_proxy, excluded, parse_proxy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.tunnel.proxy.challenge import Challenge, parse_challenges
from sstpsocks.tunnel.proxy.connect import ConnectRequest
from sstpsocks.tunnel.proxy.digest import answer_digest, parse_digest
from sstpsocks.tunnel.proxy.socks5 import Socks5Client

_STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 407 x\r\n", b"HTTP/1.1 407 x\r\n", b"HTTP/1.1 100 x\r\n", b"HTTP/1.1 101 x\r\n"]
)
_FIELDS = st.sampled_from(
    [
        b"Proxy-Authenticate: Digest realm=x, nonce=y\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Proxy-Connection: close\r\n",
        b"\r\n",
    ]
)
_HTTP = st.lists(st.one_of(_STATUS_LINES, _FIELDS, st.binary(max_size=20)), max_size=8)
_HEADER_TEXT = st.text(st.sampled_from('abDigest NTLM Basic=",\\;/+0\x00\xff\t'), max_size=60)


@given(_HTTP)
@settings(deadline=None, max_examples=300)
def test_connect(pieces: list[bytes]) -> None:
    request = ConnectRequest("h:443")
    try:
        for piece in (*filter(None, pieces), b""):
            if request.receive_data(piece) is not None:
                return
    except RemoteProtocolError:
        pass


@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from([b"\x05\x00", b"\x05\x02", b"\x01\x00"])))
)
@settings(deadline=None, max_examples=300)
def test_socks5(pieces: list[bytes]) -> None:
    client = Socks5Client("192.0.2.1", 443, login=("u", "p"))
    try:
        for piece in pieces:
            if client.finished:
                return
            client.data_to_send()
            client.receive_data(piece)
    except RemoteProtocolError:
        pass


@given(st.lists(st.one_of(_HEADER_TEXT, st.text(max_size=40)), max_size=4))
@settings(deadline=None, max_examples=300)
def test_challenges(values: list[str]) -> None:
    for challenge in parse_challenges(values):
        assert challenge.scheme


@given(
    st.dictionaries(
        st.sampled_from(["realm", "nonce", "opaque", "qop", "algorithm", "charset", "userhash", "stale"]),
        st.one_of(
            st.sampled_from(["auth", "MD5", "md5-sess", "SHA-256", "UTF-8", "true"]),
            st.text(st.characters(max_codepoint=255), max_size=12),
        ),
    ),
    st.text(max_size=10),
    st.text(max_size=10),
)
@settings(deadline=None, max_examples=300)
def test_a_digest_that_is_answered_fits_into_a_header(parameters: dict[str, str], user: str, password: str) -> None:
    printable = "".join(filter(str.isprintable, user))
    try:
        challenge = parse_digest(Challenge("digest", parameters))
    except RemoteProtocolError:
        return
    answer = answer_digest(
        challenge, username=printable, password=password, method="CONNECT", uri="h:443", cnonce="0123"
    )
    ConnectRequest("h:443", answer)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(http|socks5)://\S{0,20}", fullmatch=True)))
@settings(deadline=None, max_examples=300)
def test_proxy_urls(text: str) -> None:
    said = ""
    try:
        parse_proxy(text)
    except ValueError as error:
        said = str(error)
    secret = text.rpartition("@")[0].rpartition(":")[2]
    assert len(secret) < 4 or secret not in said


@given(st.text(max_size=40), st.sampled_from(["vpn.example.org", "192.0.2.1", "2001:db8::1"]))
@settings(deadline=None, max_examples=300)
def test_no_proxy_lists(text: str, host: str) -> None:
    excluded(text, host, 443)
    assert environment_proxy({"NO_PROXY": "*", "ALL_PROXY": text}, host, 443) is None
