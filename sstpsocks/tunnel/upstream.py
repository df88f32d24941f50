"""The second part of the way to the server: TLS and the HTTP request that opens SSTP (reach.py is the first).

Functions that are called one after the other; each reports its step and raises a TunnelError that says what failed.
Whoever calls them owns what they return and closes it when a later one fails.
"""

from __future__ import annotations

import trio

from ..errors import HttpRejected, RemoteProtocolError, TlsFailed, TransportFailed, TunnelError
from ..sstp.http import ClientPrelude
from .first_use import verify_server
from .settings import TrustSettings, TunnelSettings
from .steps import Step, StepObserver, StepReport
from .tls import TlsEngine, TlsStream
from .trust import choose_roots, client_context, server_name_indication


async def start_tls(transport: trio.abc.Stream, settings: TunnelSettings, observe: StepObserver) -> TlsStream:
    """Run the TLS handshake and verify the server: when this returns, it is who it should be.

    Reports TLS. Raises CertificateRejected, TlsFailed, TransportFailed when the server sent nothing at all within
    ``timeouts.tls``, or ConfigError for a CA file or a server name that cannot be used.
    """
    trust, server = settings.trust, f"server {settings.server}"
    sni = server_name_indication(trust)
    observe(StepReport(Step.TLS, False, f"as {trust.server_name}" + _about_sni(trust, sni)))
    roots = choose_roots(trust)
    if roots is not None and roots.is_fallback:
        observe(StepReport(Step.TLS, False, f"no certificate authorities found on this system, using {roots.source}"))
    context = client_context(trust, roots, settings.tls)
    engine = TlsEngine(context, server_hostname=sni, ask_for_status=not trust.pins, peer=server)
    stream = TlsStream(transport, engine)
    limit = settings.timeouts.tls
    try:
        with trio.fail_after(limit):
            await stream.do_handshake()
    except trio.TooSlowError:
        if engine.bytes_fed:
            raise TlsFailed(f"{server}, TLS: the handshake was not finished within {limit:g} s") from None
        raise TransportFailed(
            f"{server}, TLS: connected, but nothing came back within {limit:g} s",
            hint="check the port; a firewall in between may swallow TLS, or the service behind the port waits for"
            " something other than TLS",
        ) from None
    proof = await verify_server(engine, trust, settings.server)
    observe(StepReport(Step.TLS, True, f"{engine.version}, {engine.cipher}, certificate verified for {proof}"))
    return stream


def sstp_request(settings: TunnelSettings, correlation_id: str) -> ClientPrelude:
    """Return the HTTP exchange that opens SSTP with this server."""
    return ClientPrelude(settings.host, settings.port, correlation_id, tenant_id=settings.tenant_id)


async def open_sstp(
    stream: TlsStream,
    settings: TunnelSettings,
    observe: StepObserver,
    correlation_id: str,
    prelude: ClientPrelude | None = None,
) -> bytes:
    """Send the SSTP request of MS-SSTP 3.2.4.1 and return what came behind the header of its answer.

    ``prelude``: made by sstp_request(), by whoever wants to look at it afterwards.

    Reports HTTP. Raises HttpRejected for another status than 200, and TunnelError when the answer is no HTTP, does not
    come within ``timeouts.http`` or the connection ends before it.
    """
    server, limit = f"server {settings.server}", settings.timeouts.http
    observe(StepReport(Step.HTTP, False, "SSTP_DUPLEX_POST"))
    if prelude is None:
        prelude = sstp_request(settings, correlation_id)
    try:
        with trio.fail_after(limit):
            await stream.send_all(prelude.data_to_send())
            while True:
                data = await stream.receive_some()
                if not data:
                    raise _closed_before_answer(server)
                remainder = prelude.receive_data(data)
                if remainder is not None:
                    observe(StepReport(Step.HTTP, True, "200, the server speaks SSTP"))
                    return remainder
    except trio.TooSlowError:
        message = f"{server}, HTTP: no answer to the SSTP request within {limit:g} s"
        raise TunnelError(message, hint="the service behind this port may not be an SSTP server") from None
    except trio.BrokenResourceError as error:
        raise _closed_before_answer(server) from error
    except HttpRejected:
        raise
    except RemoteProtocolError as error:
        message = f"{server}, HTTP: the answer is not one of an SSTP server: {error}"
        raise TunnelError(message, hint=error.hint or "check the host and the port") from error


def _about_sni(trust: TrustSettings, sni: str | None) -> str:
    """Return what to say about SNI when it is not the name to verify."""
    if sni is None:
        return " (without SNI)" if trust.sni is not None else " (an address, so without SNI)"
    return "" if trust.sni is None else f" (with SNI {sni})"


def _closed_before_answer(server: str) -> TunnelError:
    return TunnelError(
        f"{server}, HTTP: it closed the connection instead of answering the SSTP request",
        hint="the service behind this port may not be an SSTP server, or something in between closes the connection",
    )
