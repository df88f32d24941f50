"""Through the proxy to the server: sockets, TLS to the proxy, and the log-in.

The only file of this folder that does IO. It connects to the proxy, says what the machines want said (connect.py,
socks5.py), and returns a stream that leads to the server. Whatever fails is one error that names the proxy; no failure
ends in a connection that bypasses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from ...base.entropy import Entropy
from ...errors import (
    AuthenticationFailed,
    CertificateRejected,
    ConfigError,
    LocalProtocolError,
    ProxyFailed,
    ProxyLoginFailed,
    RemoteProtocolError,
    TlsFailed,
    TransportFailed,
)
from ...ppp.auth import Credentials
from ..entropy_source import SystemEntropy
from ..reach import connect_tcp, resolve
from ..settings import (
    CredentialReason,
    CredentialRequest,
    ProxyKind,
    ProxySettings,
    TrustSettings,
    TunnelSettings,
)
from ..steps import Step, StepObserver, StepReport, ignore_steps
from ..tls import TlsEngine, TlsStream
from ..trust import ascii_name, client_context, ip_literal, sni_name, verify_peer
from .connect import ConnectAnswer, ConnectRequest, connect_target
from .failures import WITHOUT, login_refused, login_wanted, refused, socks_login_wanted, socks_refused
from .schemes import Scheme, begin_scheme
from .socks5 import Socks5Client, SocksPhase

_MAX_SOCKS_TRIES = 4  # addresses of one name that a SOCKS5 proxy is asked for
_TRY_ANOTHER_ADDRESS = frozenset({3, 4, 5, 6})  # replies of RFC 1928 that are about this address
_SLOW_HINT = "the proxy may be waiting for the server; check its name and port, or give --proxy-timeout"
_TLS_HINT = "check the proxy's port; https:// is for a proxy inside TLS, most are spoken to as http://"
_NO_PROXY_HINT = f"check that a proxy of this kind listens on this port; {WITHOUT}"


async def connect_through(
    settings: TunnelSettings, proxy: ProxySettings, observe: StepObserver, entropy: Entropy | None = None
) -> trio.SocketStream | TlsStream:
    """Connect to the server by way of the proxy and return the connection.

    Reports RESOLVE, TCP and PROXY. Raises ProxyFailed, ProxyLoginFailed, CertificateRejected for the proxy's own
    certificate, ConfigError for a CA file that cannot be read, or TransportFailed when a name that is to be resolved
    here cannot be.
    """
    return await _Way(settings, proxy, observe, entropy if entropy is not None else SystemEntropy()).connect()


class _Way:
    """One attempt; it may take several connections to the proxy."""

    def __init__(self, settings: TunnelSettings, proxy: ProxySettings, observe: StepObserver, entropy: Entropy) -> None:
        self._settings = settings
        self._proxy = proxy
        self._observe = observe
        self._entropy = entropy
        self._sent: list[Credentials] = []
        host, self._port = settings.connect_to or (settings.host, settings.port)
        self._host = ip_literal(host) or ascii_name(host)
        self._target = connect_target(self._host, self._port)

    async def connect(self) -> trio.SocketStream | TlsStream:
        proxy = self._proxy
        try:
            if proxy.kind in (ProxyKind.HTTP, ProxyKind.HTTPS):
                stream, how = await self._connect_http()
            else:
                stream, how = await self._connect_socks()
        except LocalProtocolError as error:
            raise ConfigError(f"{proxy}: {error}") from None
        self._report(True, f"{proxy} leads to {self._target}{how}")
        return stream

    # HTTP

    async def _connect_http(self) -> tuple[trio.SocketStream | TlsStream, str]:
        stream = await self._open(self._observe)
        try:
            self._report(False, f"CONNECT {self._target} through {self._proxy}")
            scheme: Scheme | None = None
            said: str | None = None
            while True:
                answer = await self._request(stream, said)
                if answer.open:
                    return stream, f", logged in with {scheme.name}" if scheme is not None else ""
                if answer.status != 407:
                    raise refused(self._proxy, self._target, answer)
                keep = answer.reusable
                if scheme is not None and scheme.bound and not keep:
                    raise ProxyFailed(
                        f"{self._proxy}: it closed the connection in the middle of the {scheme.name} log-in",
                        status=407,
                        hint="something on the way to the proxy may not let a connection last",
                    )
                said = await self._respond(scheme, answer) if scheme is not None else None
                if said is None:
                    keep = keep and scheme is None  # one log-in to a connection
                    scheme, said = await self._begin(answer, scheme)
                if not keep:
                    await trio.aclose_forcefully(stream)
                    stream = await self._open(ignore_steps)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _request(self, stream: trio.abc.Stream, authorization: str | None) -> ConnectAnswer:
        """Send CONNECT and return the answer."""
        request = ConnectRequest(self._target, authorization)
        limit = self._settings.timeouts.proxy
        try:
            with trio.fail_after(limit):
                await stream.send_all(request.data_to_send())
                while (answer := request.receive_data(bytes(await stream.receive_some()))) is None:
                    pass
                return answer
        except trio.TooSlowError:
            raise self._failed(f"no answer to CONNECT {self._target} within {limit:g} s", _SLOW_HINT) from None
        except trio.BrokenResourceError as error:
            raise self._failed("the connection broke before it answered CONNECT", _NO_PROXY_HINT) from error
        except RemoteProtocolError as error:
            raise self._failed(f"it {error}", _NO_PROXY_HINT) from error

    async def _respond(self, scheme: Scheme, answer: ConnectAnswer) -> str | None:
        try:
            with self._in_time():
                return await scheme.respond(answer.challenges)
        except RemoteProtocolError as error:
            raise self._failed(f"it {error}", "try another way to log in with --proxy-auth") from error

    async def _begin(self, answer: ConnectAnswer, failed: Scheme | None) -> tuple[Scheme, str]:
        """Choose how to log in, with other credentials if ``failed`` has been refused."""
        credentials = await self._ask(f"HTTP 407 after {failed.name}" if failed is not None else "")
        with self._in_time():
            begun = await begin_scheme(answer.challenges, self._proxy, credentials, self._target, self._entropy)
        if isinstance(begun, list):
            raise login_wanted(self._proxy, answer.challenges, begun)
        return begun

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Bound the time that it takes to know what to say: a Kerberos ticket may have to be fetched."""
        limit = self._settings.timeouts.proxy
        try:
            with trio.fail_after(limit):
                yield
        except trio.TooSlowError:
            hint = "the Kerberos server (KDC) may be out of reach; try another way to log in with --proxy-auth"
            raise self._failed(f"the log-in was not ready within {limit:g} s", hint) from None

    # SOCKS5

    async def _connect_socks(self) -> tuple[trio.SocketStream | TlsStream, str]:
        hosts: Sequence[str] = [self._host]
        if self._proxy.kind is ProxyKind.SOCKS5 and ip_literal(self._host) is None:
            found = await resolve(f"server {self._settings.server}", self._host, self._port)
            hosts = [str(target) for target in found][:_MAX_SOCKS_TRIES]
        credentials = await self._ask("") if self._proxy.username else None
        reply = 0
        for number, host in enumerate(hosts):
            stream = await self._open(self._observe if number == 0 else ignore_steps)
            try:
                target = connect_target(host, self._port)
                self._report(False, f"CONNECT {target} through {self._proxy}")
                client = await self._exchange(stream, host, credentials)
                if client.phase is SocksPhase.OPEN:
                    return stream, ", logged in with a password" if client.logged_in else ""
                self._judge(client, credentials)
                reply = client.reply
                if reply not in _TRY_ANOTHER_ADDRESS:
                    raise socks_refused(self._proxy, target, reply)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            await trio.aclose_forcefully(stream)
        raise socks_refused(self._proxy, self._target, reply)

    async def _exchange(self, stream: trio.abc.Stream, host: str, credentials: Credentials | None) -> Socks5Client:
        """Ask for the connection; return the machine with the proxy's answer."""
        login = (credentials.username, credentials.password) if credentials is not None else None
        client = Socks5Client(host, self._port, login=login)
        limit = self._settings.timeouts.proxy
        try:
            with trio.fail_after(limit):
                while not client.finished:
                    if data := client.data_to_send():
                        await stream.send_all(data)
                    client.receive_data(bytes(await stream.receive_some()))
                return client
        except trio.TooSlowError:
            raise self._failed(f"no answer about {self._target} within {limit:g} s", _SLOW_HINT) from None
        except trio.BrokenResourceError as error:
            raise self._failed("the connection broke before it answered", _NO_PROXY_HINT) from error
        except RemoteProtocolError as error:
            raise self._failed(f"it {error}", _NO_PROXY_HINT) from error

    def _judge(self, client: Socks5Client, credentials: Credentials | None) -> None:
        """Raise the error for a log-in that failed."""
        if client.phase is SocksPhase.LOGIN_REFUSED:
            username = credentials.username if credentials is not None else ""
            raise login_refused(self._proxy, username, "SOCKS5 user name and password")
        if client.phase is SocksPhase.LOGIN_WANTED:
            raise socks_login_wanted(self._proxy)

    # Both

    async def _open(self, observe: StepObserver) -> trio.SocketStream | TlsStream:
        """Connect to the proxy, by TLS where it wants that."""
        proxy = self._proxy
        try:
            transport = await connect_tcp(str(proxy), proxy.host, proxy.port, self._settings, observe)
        except TransportFailed as error:
            raise ProxyFailed(str(error), hint=f"{error.hint}; {WITHOUT}" if error.hint else WITHOUT) from error
        if proxy.kind is not ProxyKind.HTTPS:
            return transport
        try:
            return await self._start_tls(transport)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise

    async def _start_tls(self, transport: trio.SocketStream) -> TlsStream:
        """Run the TLS handshake with the proxy, and verify it."""
        proxy, limit = self._proxy, self._settings.timeouts.tls
        trust = TrustSettings(server_name=proxy.host.partition("%")[0], ca_file=proxy.ca_file)
        engine = TlsEngine(client_context(trust), server_hostname=sni_name(trust.server_name), peer=str(proxy))
        stream = TlsStream(transport, engine)
        try:
            with trio.fail_after(limit):
                await stream.do_handshake()
            verify_peer(engine, trust)
        except trio.TooSlowError:
            raise self._failed(f"TLS: the handshake was not finished within {limit:g} s", _TLS_HINT) from None
        except TlsFailed as error:
            raise ProxyFailed(str(error), hint=_TLS_HINT) from error
        except CertificateRejected as error:
            hint = "pass --proxy-ca-file with the authority that signed it, or name the proxy as its certificate does"
            raise CertificateRejected(str(error), reason=error.reason, sha256=error.sha256, hint=hint) from error
        return stream

    async def _ask(self, refusal: str) -> Credentials | None:
        """Return credentials for the proxy, others than before after a refusal; None when nobody can be asked."""
        proxy = self._proxy
        if proxy.credentials is None:
            if refusal:
                raise login_refused(proxy, "", refusal)
            return None
        reason = CredentialReason.RETRY if refusal else CredentialReason.LOGIN
        request = CredentialRequest(reason, proxy.username, str(proxy), refusal)
        try:
            credentials = await proxy.credentials(request)
        except ProxyLoginFailed:
            raise
        except AuthenticationFailed as error:
            raise ProxyLoginFailed(str(error), hint=error.hint) from error
        if credentials in self._sent:
            raise login_refused(proxy, credentials.username, refusal)
        self._sent.append(credentials)
        return credentials

    def _failed(self, what: str, hint: str) -> ProxyFailed:
        return ProxyFailed(f"{self._proxy}: {what}", hint=hint)

    def _report(self, done: bool, text: str) -> None:
        self._observe(StepReport(Step.PROXY, done, text))
