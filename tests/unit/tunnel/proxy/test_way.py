"""The way through a proxy over loopback sockets: log-ins, refusals, and one clear error for each failure."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sstpsocks.errors import (
    CertificateRejected,
    ConfigError,
    ProxyFailed,
    ProxyLoginFailed,
    TransportFailed,
)
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel.proxy.schemes import Basic
from sstpsocks.tunnel.reach import connect_transport
from sstpsocks.tunnel.settings import (
    CredentialReason,
    CredentialRequest,
    ProxyKind,
    ProxyMethod,
    ProxySettings,
    Timeouts,
    TrustSettings,
    TunnelSettings,
)
from sstpsocks.tunnel.steps import Step, StepReport, ignore_steps
from sstpsocks.tunnel.tls import TlsStream
from sstpsocks.tunnel.tls_transport import take_over
from tests.helpers.certificates import authority, issue
from tests.helpers.http_proxy import ForwardProxy, Login, acceptor, forward_proxy

USER, PASSWORD = "bob", "s3cret: Passw0rd"


async def nobody(_request: CredentialRequest) -> Credentials:
    raise AssertionError("nobody should ask for the server's credentials here")


async def bobs(request: CredentialRequest) -> Credentials:
    return Credentials(request.username, PASSWORD)


def settings_for(
    proxy_port: int,
    server_port: int,
    *,
    kind: ProxyKind = ProxyKind.HTTP,
    login: bool = True,
    methods: tuple[ProxyMethod, ...] = tuple(ProxyMethod),
    ca_file: str | None = None,
    host: str = "127.0.0.1",
) -> TunnelSettings:
    return TunnelSettings(
        host=host,
        port=server_port,
        trust=TrustSettings(server_name=host),
        credentials=nobody,
        timeouts=Timeouts(connect=5, tls=5, proxy=5),
        proxy=ProxySettings(
            kind=kind,
            host="127.0.0.1",
            port=proxy_port,
            username=USER if login else "",
            credentials=bobs if login else None,
            methods=methods,
            ca_file=ca_file,
        ),
    )


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """The server that proxies lead to: it sends back what it gets."""

    async def echo(stream: trio.SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send_all(data)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def goes_through(settings: TunnelSettings) -> list[StepReport]:
    """Connect, see that bytes come back, and return the steps."""
    reports: list[StepReport] = []
    with trio.fail_after(20):
        stream = await connect_transport(settings, reports.append)
        async with stream:
            await stream.send_all(b"hello")
            data = b""
            while len(data) < 5:
                data += await stream.receive_some()
    assert data == b"hello"
    assert not any(PASSWORD in report.text for report in reports)
    assert (reports[-1].step, reports[-1].done) == (Step.PROXY, True)
    return reports


async def fails(settings: TunnelSettings, kind: type[TransportFailed | ProxyLoginFailed], *words: str) -> str:
    """Connect in vain, with an error that names the proxy, gives a hint and no password."""
    with pytest.raises(kind) as caught, trio.fail_after(20):
        await connect_transport(settings, ignore_steps)
    text = str(caught.value)
    assert settings.proxy is not None
    assert str(settings.proxy) in text
    assert caught.value.hint
    for word in words:
        assert word in f"{text}. {caught.value.hint}"
    assert PASSWORD not in text + caught.value.hint + repr(settings)
    return text


async def test_a_proxy_that_asks_for_nothing() -> None:
    with forward_proxy(ForwardProxy()) as proxy:
        name = f"proxy 127.0.0.1:{proxy.port}"
        async with echo_server() as port:
            reports = await goes_through(settings_for(proxy.port, port, login=False))
    assert [report.step for report in reports if report.done] == [Step.RESOLVE, Step.TCP, Step.PROXY]
    assert reports[-1].text == f"{name} leads to 127.0.0.1:{port}"
    assert "SSTPVERSION: 1.0" in proxy.requests[0]


def basic() -> Login:
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return lambda authorization: None if authorization == wanted else ['Basic realm="x"']


@pytest.mark.parametrize("keep", [True, False])
async def test_basic_over_one_connection_or_two(keep: bool) -> None:
    with forward_proxy(ForwardProxy(basic, keep=keep)) as proxy:
        async with echo_server() as port:
            reports = await goes_through(settings_for(proxy.port, port))
    assert reports[-1].text.endswith(", logged in with Basic")
    assert proxy.connections == (1 if keep else 2)


async def test_the_strongest_scheme_is_used_and_no_weaker_one_after_it() -> None:
    """A proxy, or whoever sits before it, refuses Digest and would take Basic."""

    def login(authorization: str | None) -> list[str] | None:
        if authorization is not None and authorization.startswith("Basic"):
            return None
        return ['Basic realm="x"', 'Digest realm="x", nonce="abc", qop="auth", algorithm=SHA-256']

    with forward_proxy(ForwardProxy(lambda: login)) as proxy:
        await fails(settings_for(proxy.port, 443), ProxyLoginFailed, "refused the password", '"bob"', "SHA-256")
    assert not any("Basic " in request for request in proxy.requests)


async def test_a_stale_nonce_is_no_refusal() -> None:
    nonces = iter(("first", "second"))

    def new_login() -> Login:
        current = next(nonces)

        def login(authorization: str | None) -> list[str] | None:
            nonlocal current
            if authorization is None:
                return [f'Digest realm="x", nonce="{current}", qop="auth"']
            if 'nonce="first"' in authorization:
                current = next(nonces)
                return [f'Digest realm="x", nonce="{current}", qop="auth", stale=TRUE']
            return None if 'nonce="second"' in authorization else ["Digest"]

        return login

    with forward_proxy(ForwardProxy(new_login)) as proxy:
        async with echo_server() as port:
            reports = await goes_through(settings_for(proxy.port, port))
    assert reports[-1].text.endswith("logged in with Digest (MD5)")


async def test_methods_that_are_not_allowed_are_not_used() -> None:
    with forward_proxy(ForwardProxy(basic)) as proxy:
        settings = settings_for(proxy.port, 443, methods=(ProxyMethod.DIGEST,))
        await fails(settings, ProxyLoginFailed, "offers Basic", "not allowed by --proxy-auth")
    assert len(proxy.requests) == 1


async def test_without_a_user_it_says_which() -> None:
    with forward_proxy(ForwardProxy(basic)) as proxy:
        await fails(settings_for(proxy.port, 443, login=False), ProxyLoginFailed, "offers Basic", "--proxy-user")


async def test_another_password_is_asked_for_after_a_refusal() -> None:
    asked: list[CredentialReason] = []

    async def source(request: CredentialRequest) -> Credentials:
        asked.append(request.reason)
        return Credentials(request.username, PASSWORD if len(asked) > 1 else "mistyped")

    with forward_proxy(ForwardProxy(basic)) as proxy:
        async with echo_server() as port:
            settings = settings_for(proxy.port, port)
            assert settings.proxy is not None
            await goes_through(replace(settings, proxy=replace(settings.proxy, credentials=source)))
    assert asked == [CredentialReason.LOGIN, CredentialReason.RETRY]


@pytest.fixture
def ntlm_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = tmp_path / "users"
    users.write_text(f":{USER}:{PASSWORD.replace(':', '')}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
async def test_ntlm_keeps_its_connection(scheme: str, ntlm_users: None) -> None:
    pytest.importorskip("spnego")

    async def source(request: CredentialRequest) -> Credentials:
        return Credentials(request.username, PASSWORD.replace(":", ""))

    with forward_proxy(ForwardProxy(acceptor(scheme))) as proxy:
        async with echo_server() as port:
            settings = settings_for(proxy.port, port)
            assert settings.proxy is not None
            reports = await goes_through(replace(settings, proxy=replace(settings.proxy, credentials=source)))
    assert reports[-1].text.endswith(f"logged in with {scheme}")
    assert proxy.connections == 1


async def test_a_wrong_ntlm_password_is_refused_once(ntlm_users: None) -> None:
    pytest.importorskip("spnego")
    with forward_proxy(ForwardProxy(acceptor("NTLM"))) as proxy:
        await fails(settings_for(proxy.port, 443), ProxyLoginFailed, "refused the password", "NTLM")
    assert len(proxy.requests) == 3


async def test_ntlm_through_something_that_closes_connections(ntlm_users: None) -> None:
    pytest.importorskip("spnego")
    with forward_proxy(ForwardProxy(acceptor("NTLM"), keep=False)) as proxy:
        await fails(settings_for(proxy.port, 443), ProxyFailed, "in the middle of the NTLM log-in")


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
async def test_a_token_that_makes_no_sense(scheme: str) -> None:
    pytest.importorskip("spnego")

    def login(authorization: str | None) -> list[str] | None:
        return [scheme if authorization is None else f"{scheme} AAAA"]

    with forward_proxy(ForwardProxy(lambda: login)) as proxy:
        await fails(settings_for(proxy.port, 443), ProxyFailed, f"a token for {scheme} that fails")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ["HTTP 403 Forbidden", "must allow CONNECT"]),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", ["HTTP 502", "cannot reach the server"]),
        (b"HTTP/1.1 503 x\r\n\r\n", ["HTTP 503", "cannot reach the server"]),
        (b"HTTP/1.1 504 x\r\n\r\n", ["HTTP 504", "no answer from the server"]),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", ["(to http://login/)", "open any page"]),
        (b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n", ["offers nothing that we understand"]),
        (b"220 smtp.example.com ESMTP\r\n", ["not HTTP", "check that a proxy"]),
        (b"", ["closed the connection without answering"]),
    ],
)
async def test_what_proxies_answer_instead(answer: bytes, words: list[str]) -> None:
    with forward_proxy(ForwardProxy(answer=answer)) as proxy:
        kind = ProxyLoginFailed if b" 407 " in answer else ProxyFailed
        await fails(settings_for(proxy.port, 443), kind, *words)


async def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        settings = settings_for(reserved.getsockname()[1], 443)
        await fails(settings, ProxyFailed, "refused the connection", "--proxy none")


async def test_a_proxy_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = settings_for(silent.getsockname()[1], 443)
        hurried = replace(settings, timeouts=Timeouts(proxy=0.1))
        await fails(hurried, ProxyFailed, "no answer to CONNECT 127.0.0.1:443 within 0.1 s", "--proxy-timeout")


async def test_a_log_in_that_waits_for_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Kerberos does when its server does not answer."""

    async def wait(_self: Basic, _challenges: object) -> str | None:
        await trio.sleep_forever()

    monkeypatch.setattr(Basic, "respond", wait)
    with forward_proxy(ForwardProxy(basic)) as proxy:
        hurried = replace(settings_for(proxy.port, 443), timeouts=Timeouts(proxy=0.5))
        await fails(hurried, ProxyFailed, "the log-in was not ready within 0.5 s", "--proxy-auth")


# TLS to the proxy


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """A server context for 127.0.0.1 and the file with its authority."""
    folder = tmp_path_factory.mktemp("proxy")
    root = authority()
    issued = issue(["127.0.0.1"], issuer=root)
    (folder / "ca.pem").write_bytes(root.pem)
    (folder / "chain.pem").write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem")
    return context, str(folder / "ca.pem")


async def test_a_proxy_inside_tls(secure: tuple[ssl.SSLContext, str]) -> None:
    context, ca_file = secure
    with forward_proxy(ForwardProxy(basic, tls=context)) as proxy:
        async with echo_server() as port:
            settings = settings_for(proxy.port, port, kind=ProxyKind.HTTPS, ca_file=ca_file)
            reports = await goes_through(settings)
    assert reports[-1].text.endswith("logged in with Basic")


async def test_the_driver_has_tls_to_the_proxy_under_its_own(secure: tuple[ssl.SSLContext, str]) -> None:
    """32 MiB through the non-blocking calls, with a peer that is slow to read."""
    context, ca_file = secure
    data = bytes(range(256)) * 131072
    with forward_proxy(ForwardProxy(tls=context)) as proxy:
        async with echo_server() as port:
            settings = settings_for(proxy.port, port, kind=ProxyKind.HTTPS, ca_file=ca_file)
            stream = await connect_transport(settings, ignore_steps)
            assert isinstance(stream, TlsStream)
            transport = take_over(stream)
            received = bytearray()
            refused = trio.Event()

            async def send() -> None:
                rest = memoryview(data)
                while rest:
                    count = transport.send_nowait(rest)
                    rest = rest[count:]
                    if not count:
                        refused.set()
                        await transport.wait_writable()
                    await trio.lowlevel.checkpoint()

            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    await refused.wait()  # nobody reads yet, so what the sockets hold is soon too little
                    while len(received) < len(data):
                        piece = transport.receive_nowait()
                        if piece is None:
                            await transport.wait_readable()
                        else:
                            assert piece, "the stream ended early"
                            received += piece
            transport.close()
    assert received == data


async def test_a_proxy_with_a_certificate_of_somebody_unknown(secure: tuple[ssl.SSLContext, str]) -> None:
    with forward_proxy(ForwardProxy(basic, tls=secure[0])) as proxy:
        settings = settings_for(proxy.port, 443, kind=ProxyKind.HTTPS)
        with pytest.raises(CertificateRejected, match=f"proxy 127.0.0.1:{proxy.port}, TLS: ") as caught:
            await connect_transport(settings, ignore_steps)
    assert "--proxy-ca-file" in caught.value.hint
    assert proxy.requests == []


async def test_tls_with_a_proxy_that_has_none() -> None:
    with forward_proxy(ForwardProxy(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n")) as proxy:
        settings = settings_for(proxy.port, 443, kind=ProxyKind.HTTPS)
        threading.Timer(0.2, proxy.stop).start()
        await fails(settings, ProxyFailed, "https:// is for a proxy inside TLS")


# SOCKS5


@asynccontextmanager
async def socks_proxy(script: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await script(stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [ProxyKind.SOCKS5, ProxyKind.SOCKS5H])
async def test_who_resolves_the_name_with_socks5(kind: ProxyKind) -> None:
    asked: list[bytes] = []

    async def script(stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b"\x05\x02\x00\x02"
        await stream.send_all(b"\x05\x02")
        assert await stream.receive_some() == b"\x01\x03bob" + bytes([len(PASSWORD)]) + PASSWORD.encode()
        await stream.send_all(b"\x01\x00")
        asked.append(await stream.receive_some())
        await stream.send_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await stream.send_all(await stream.receive_some())

    async with socks_proxy(script) as port:
        reports = await goes_through(settings_for(port, 443, kind=kind, host="localhost"))
    assert reports[-1].text.endswith("logged in with a password")
    assert asked[0][3] == (3 if kind is ProxyKind.SOCKS5H else 1 if len(asked[0]) == 10 else 4)


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ([b"\x05\xff"], ProxyLoginFailed, ["takes neither"]),
        ([b"\x05\x02", b"\x01\x01"], ProxyLoginFailed, ["refused the password", '"bob"']),
        ([b"\x05\x00", b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"], ProxyFailed, ["rules do not allow", "must allow"]),
        ([b"\x05\x00", b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"], ProxyFailed, ["refused", "check the port"]),
        ([b"HTTP/1.1 400 Bad\r\n\r\n"], ProxyFailed, ["not SOCKS5"]),
        ([b""], ProxyFailed, ["closed the connection"]),
    ],
)
async def test_what_socks_proxies_answer_instead(
    answers: list[bytes], kind: type[TransportFailed | ProxyLoginFailed], words: list[str]
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for answer in answers:
            await stream.receive_some()
            await stream.send_all(answer)

    async with socks_proxy(script) as port:
        await fails(settings_for(port, 443, kind=ProxyKind.SOCKS5), kind, *words)


async def test_what_socks5_cannot_carry_is_told_before_anything_is_sent() -> None:
    async def script(stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b""

    async with socks_proxy(script) as port:
        settings = settings_for(port, 443, kind=ProxyKind.SOCKS5)
        assert settings.proxy is not None
        long = replace(settings, proxy=replace(settings.proxy, username="u" * 256))
        with pytest.raises(ConfigError, match="255 octets"):
            await connect_transport(long, ignore_steps)


# The source address


async def test_connecting_from_an_address_of_ours() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        direct = replace(settings_for(1, listener.socket.getsockname()[1]), proxy=None)
        async with await connect_transport(replace(direct, source_address="127.0.0.1"), ignore_steps):
            pass
        with pytest.raises(TransportFailed, match=r"cannot connect from 192\.0\.2\.77"):
            await connect_transport(replace(direct, source_address="192.0.2.77"), ignore_steps)
        with pytest.raises(TransportFailed, match="no address of the same family"):
            await connect_transport(replace(direct, source_address="::1"), ignore_steps)
