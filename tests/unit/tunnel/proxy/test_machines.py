"""CONNECT and SOCKS5 without IO, fed whole and octet by octet."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sstpsocks.tunnel.proxy as package
from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.tunnel.proxy.connect import ConnectAnswer, ConnectRequest, connect_target
from sstpsocks.tunnel.proxy.socks5 import Socks5Client, SocksPhase


def answer_to(data: bytes, *, piece: int = 1) -> ConnectAnswer | None:
    request = ConnectRequest("vpn.example.com:443")
    request.data_to_send()
    answer = None
    for start in range(0, len(data), piece):
        answer = request.receive_data(data[start : start + piece])
        if answer is not None:
            break
    return answer


def test_the_request_is_the_one_of_ms_sstp() -> None:
    request = ConnectRequest(connect_target("2001:db8::1", 4433), "Basic dTpw")
    assert request.data_to_send() == (
        b"CONNECT [2001:db8::1]:4433 HTTP/1.1\r\nHost: [2001:db8::1]:4433\r\nSSTPVERSION: 1.0\r\n"
        b"Proxy-Authorization: Basic dTpw\r\n\r\n"
    )
    assert request.data_to_send() == b""
    assert "dTpw" not in repr(request)


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_200_opens(piece: int, version: str) -> None:
    """Also with a length, which means nothing there (RFC 9110 section 9.3.6)."""
    answer = answer_to(f"HTTP/{version} 200 Connection established\r\nContent-Length: 0\r\n\r\n".encode(), piece=piece)
    assert answer is not None
    assert answer.open


@pytest.mark.parametrize(
    ("header", "body", "reusable"),
    [
        ("HTTP/1.1 407 No\r\nContent-Length: 4\r\n", "page", True),
        ("HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n", "4\r\npage\r\n0\r\n\r\n", True),
        ("HTTP/1.1 407 No\r\nContent-Length: 4\r\nProxy-Connection: close\r\n", "page", False),
        ("HTTP/1.1 407 No\r\nContent-Length: 4\r\nConnection: Close\r\n", "page", False),
        ("HTTP/1.1 407 No\r\n", "page", False),
        ("HTTP/1.0 407 No\r\nContent-Length: 4\r\n", "page", False),
        ("HTTP/1.0 407 No\r\nContent-Length: 4\r\nProxy-Connection: keep-alive\r\n", "page", True),
    ],
)
def test_whether_the_connection_may_be_used_again(header: str, body: str, reusable: bool) -> None:
    answer = answer_to((header + 'Proxy-Authenticate: Basic realm="x"\r\n\r\n' + body).encode())
    assert answer is not None
    assert (answer.status, answer.reusable) == (407, reusable)
    assert [challenge.scheme for challenge in answer.challenges] == ["basic"]


def test_an_error_page_that_is_cut_short_still_says_what_it_says() -> None:
    request = ConnectRequest("h:443")
    assert request.receive_data(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\nsome") is None
    answer = request.receive_data(b"")
    assert answer is not None
    assert (answer.status, answer.reason, answer.reusable) == (403, "Forbidden", False)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46" * 3 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03", "more than its answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50000, "not HTTP"),
    ],
)
def test_what_is_no_answer(data: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        answer_to(data, piece=len(data))


def test_the_end_before_an_answer() -> None:
    with pytest.raises(RemoteProtocolError, match="without answering"):
        ConnectRequest("h:443").receive_data(b"")


def test_what_cannot_stand_in_a_header_is_not_sent_nor_shown() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ConnectRequest("h:443", "Basic secret\r\nX: y")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def exchange(client: Socks5Client, *answers: bytes) -> list[bytes]:
    sent = [client.data_to_send()]
    for answer in answers:
        for octet in answer:
            client.receive_data(bytes([octet]))
        sent.append(client.data_to_send())
    return sent


def test_socks5_by_name_without_a_log_in() -> None:
    client = Socks5Client("vpn.example.com", 443)
    sent = exchange(client, b"\x05\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    assert sent == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x0fvpn.example.com\x01\xbb", b""]
    assert client.phase is SocksPhase.OPEN
    assert not client.logged_in


def test_socks5_by_address_with_a_password() -> None:
    """RFC 1929; the bound address of the answer is a name here, which some proxies do."""
    client = Socks5Client("2001:db8::1", 8443, login=("bob", "pw"))
    sent = exchange(client, b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x03\x03abc\x00\x50")
    assert sent[0] == b"\x05\x02\x00\x02"
    assert sent[1] == b"\x01\x03bob\x02pw"
    assert sent[2] == b"\x05\x01\x00\x04" + bytes.fromhex("20010db8000000000000000000000001") + b"\x20\xfb"
    assert client.phase is SocksPhase.OPEN
    assert client.logged_in
    assert "pw" not in repr(client)


@pytest.mark.parametrize(
    ("answers", "phase"),
    [
        ([b"\x05\xff"], SocksPhase.LOGIN_WANTED),
        ([b"\x05\x02", b"\x01\x01"], SocksPhase.LOGIN_REFUSED),
        ([b"\x05\x00", b"\x05\x02"], SocksPhase.REFUSED),
    ],
)
def test_socks5_refusals(answers: list[bytes], phase: SocksPhase) -> None:
    client = Socks5Client("192.0.2.1", 443, login=("bob", "pw"))
    exchange(client, *answers)
    assert client.phase is phase


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not SOCKS5"),
        (b"\x05\x02", "not offered"),
        (b"\x05\x00\x04", "not SOCKS5"),
        (b"\x05\x00\x05\x00\x00\x09\x00\x00", "unknown type"),
        (b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00!", "more than its answer"),
    ],
)
def test_what_is_no_socks5(data: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        Socks5Client("192.0.2.1", 443).receive_data(data)


def test_socks5_has_no_room_for_long_names() -> None:
    with pytest.raises(LocalProtocolError, match="255 octets"):
        Socks5Client("h", 443, login=("u" * 256, "p"))


def test_only_the_way_itself_does_io() -> None:
    """The parsers and machines know no sockets; a scheme may wait, for a ticket."""
    folder = Path(package.__file__).parent
    for name in ("challenge", "connect", "digest", "socks5", "failures"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not modules & {"trio", "socket", "OpenSSL", "ssl", "time", "random", "os"}, name
