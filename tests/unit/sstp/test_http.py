"""The HTTP exchange before SSTP, both sides."""

from __future__ import annotations

import pytest

from sstpsocks.errors import HttpRejected, LocalProtocolError, RemoteProtocolError
from sstpsocks.sstp.http import MAX_HEADER, ClientPrelude, ServerPrelude

GUID = "{01234567-89AB-CDEF-0123-456789ABCDEF}"
REQUEST = (
    "SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n"
    f"SSTPCORRELATIONID: {GUID}\r\n"
    "Content-Length: 18446744073709551615\r\n"
    "Host: vpn.example.org\r\n"
    "\r\n"
).encode()
# A Windows server's answer: no reason phrase, but the space before it.
ANSWER = (
    b"HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
    b"Date: Thu, 02 Jun 2011 08:00:00 GMT\r\n\r\n"
)


def client(host: str = "vpn.example.org", port: int = 443, tenant_id: str | None = None) -> ClientPrelude:
    return ClientPrelude(host, port, GUID, tenant_id=tenant_id)


def test_the_request_is_what_windows_sends() -> None:
    prelude = client()
    assert prelude.data_to_send() == REQUEST
    assert prelude.data_to_send() == b""


def test_the_correlation_id_gets_its_braces() -> None:
    assert ClientPrelude("vpn.example.org", 443, GUID.strip("{}")).data_to_send() == REQUEST


@pytest.mark.parametrize(
    ("host", "port", "header"),
    [
        ("vpn.example.org", 443, b"\r\nHost: vpn.example.org\r\n"),
        ("vpn.example.org", 4433, b"\r\nHost: vpn.example.org:4433\r\n"),
        ("192.0.2.1", 443, b"\r\nHost: 192.0.2.1\r\n"),
        ("2001:db8::1", 443, b"\r\nHost: [2001:db8::1]\r\n"),
        ("[2001:db8::1]", 8443, b"\r\nHost: [2001:db8::1]:8443\r\n"),
    ],
)
def test_host_names_the_port_only_when_it_is_not_443(host: str, port: int, header: bytes) -> None:
    assert header in client(host, port).data_to_send()


def test_a_tenant_goes_into_the_query() -> None:
    assert b"/?tenantid=a%20b HTTP/1.1\r\n" in client(tenant_id="a b").data_to_send()


@pytest.mark.parametrize("host", ["vpn.example.org\r\nX: y", "bücher.example", "a\0b"])
def test_what_cannot_stand_in_a_header_is_refused(host: str) -> None:
    with pytest.raises(LocalProtocolError):
        client(host)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ANSWER, id="windows"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", id="usual"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="old and empty"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", id="continue first"),
        pytest.param(b"HTTP/1.1 200 OK\n\n", id="bare line feeds"),
    ],
)
def test_after_200_every_byte_behind_the_header_is_sstp(answer: bytes) -> None:
    sstp = b"\x10\x01\x00\x08\x00\x08\x00\x00\r\n\r\n"
    whole = client()
    assert whole.receive_data(answer + sstp) == sstp

    piecemeal = client()
    results = [piecemeal.receive_data(bytes([byte])) for byte in answer]
    assert results == [None] * (len(answer) - 1) + [b""]


def test_nothing_more_is_taken_after_the_end() -> None:
    prelude = client()
    assert prelude.receive_data(ANSWER) == b""
    with pytest.raises(LocalProtocolError):
        prelude.receive_data(b"\x10")
    assert "finished" in repr(prelude)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "HTTP authentication"),
        (403, "forbids"),
        (404, "no SSTP service"),
        (407, "proxy"),
        (501, "without SSTP"),
        (503, "no free ports"),
        (302, "redirects"),
        (418, "host name and port"),
    ],
)
def test_any_other_status_is_reported_with_its_reason_and_a_hint(status: int, hint: str) -> None:
    with pytest.raises(HttpRejected) as caught:
        client().receive_data(b"HTTP/1.1 %d Some Reason\r\nContent-Length: 0\r\n\r\n" % status)
    assert caught.value.status == status
    assert f"HTTP {status} Some Reason" in str(caught.value)
    assert hint in caught.value.hint


def test_a_redirect_names_its_target_printably() -> None:
    with pytest.raises(HttpRejected) as caught:
        client().receive_data(b"HTTP/1.1 301 Moved\r\nLocation: https://other.example/\xff\r\n\r\n")
    assert "(to https://other.example/?)" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: none\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: \r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEADER,
        b"",
    ],
)
def test_what_is_not_an_http_answer_is_an_error_of_the_server(answer: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        client().receive_data(answer)
    assert caught.value.layer == "http"
    assert caught.value.hint


def test_a_server_that_closes_in_the_middle_is_told_from_one_that_says_nothing() -> None:
    prelude = client()
    prelude.receive_data(b"HTTP/1.1 2")
    with pytest.raises(RemoteProtocolError, match="in the middle"):
        prelude.receive_data(b"")


def test_the_two_sides_understand_each_other() -> None:
    server, peer = ServerPrelude(), client("vpn.example.org", 4433, "blue team")
    assert server.receive_data(peer.data_to_send() + b"early") == b"early"
    assert (server.host, server.correlation_id, server.tenant_id) == ("vpn.example.org:4433", GUID, "blue team")
    assert peer.receive_data(server.data_to_send() + b"sstp") == b"sstp"


def test_the_server_takes_a_request_byte_by_byte() -> None:
    server = ServerPrelude()
    results = [server.receive_data(bytes([byte])) for byte in REQUEST]
    assert results == [None] * (len(REQUEST) - 1) + [b""]
    assert server.tenant_id is None
    assert server.data_to_send() == b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        server.receive_data(b"x")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(REQUEST.replace(b"SSTP_DUPLEX_POST", b"GET"), 501, id="method"),
        pytest.param(REQUEST.replace(b"BA195980", b"00000000"), 404, id="uri"),
        pytest.param(REQUEST.replace(b"Host: vpn.example.org\r\n", b""), 400, id="no host"),
        pytest.param(b"hello\r\n\r\n", 400, id="no http"),
        pytest.param(b"\r\n\r\n", 400, id="nothing"),
        pytest.param(b"GET /" + b"x" * MAX_HEADER, 431, id="endless"),
    ],
)
def test_the_server_answers_any_other_request_with_an_error(request_bytes: bytes, status: int) -> None:
    server = ServerPrelude()
    with pytest.raises(RemoteProtocolError):
        server.receive_data(request_bytes)
    assert server.data_to_send().startswith(b"HTTP/1.1 %d " % status)
    assert "finished" in repr(server)


def test_a_client_that_goes_away_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError):
        ServerPrelude().receive_data(b"")
