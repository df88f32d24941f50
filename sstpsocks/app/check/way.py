"""The way to the server for ``sstpsocks check``: its name, every address of it, and an unverified look at its TLS."""

from __future__ import annotations

from dataclasses import replace

import trio

from ...errors import TlsFailed, TransportFailed
from ...tunnel.reach import Target, close_now, connect_any, connect_transport, resolve
from ...tunnel.settings import TunnelSettings
from ...tunnel.steps import Step, StepReport
from ...tunnel.tls import TlsEngine, TlsStream
from ...tunnel.trust import client_context, server_name_indication
from .certificate import describe_chain
from .report import Value

MAX_ADDRESSES = 8
NO_CERTIFICATE = b"\0" * 32


async def find_addresses(settings: TunnelSettings) -> list[Target]:
    """Return the addresses of the server in the order in which they are tried. Raises TransportFailed."""
    host, port = settings.connect_to or (settings.host, settings.port)
    try:
        with trio.fail_after(settings.timeouts.connect):
            return await resolve(f"server {settings.server}", host, port)
    except trio.TooSlowError:
        raise TransportFailed(f"no answer about the name {host} within {settings.timeouts.connect:g} s") from None


async def time_addresses(targets: list[Target], settings: TunnelSettings) -> dict[str, Value]:
    """Connect to each address and return how long that took, or why it failed. Raises TransportFailed if all did."""
    facts: dict[str, Value] = {}
    failures: dict[str, TransportFailed] = {}
    port = (settings.connect_to or ("", settings.port))[1]

    async def connect(target: Target) -> None:
        begun = trio.current_time()
        try:
            with trio.fail_after(settings.timeouts.connect):
                sock = await connect_any(f"server {settings.server}", port, [target], settings.source_address)
        except trio.TooSlowError:
            failure = TransportFailed(f"no answer from {target}, port {port}, within {settings.timeouts.connect:g} s")
        except TransportFailed as error:
            failure = error
        else:
            sock.close()
            facts[str(target)] = f"connected in {(trio.current_time() - begun) * 1000:.1f} ms"
            return
        failures[str(target)] = failure
        facts[str(target)] = str(failure)

    async with trio.open_nursery() as nursery:
        for target in targets[:MAX_ADDRESSES]:
            facts[str(target)] = ""  # in the order of the list, whoever comes first
            nursery.start_soon(connect, target)
    if failures and len(failures) == len(facts):
        raise next(iter(failures.values()))
    return facts


class ProxySteps:
    """Keeps what the way through a proxy reports."""

    def __init__(self) -> None:
        self.facts: dict[str, Value] = {}

    def __call__(self, report: StepReport) -> None:
        """Take a report."""
        if report.done and report.step in (Step.RESOLVE, Step.TCP, Step.PROXY):
            self.facts[report.step.value] = report.text


class LastStep:
    """Keeps what the last step that succeeded reports."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, report: StepReport) -> None:
        """Take a report."""
        if report.done:
            self.text = report.text


async def look_at_tls(settings: TunnelSettings) -> tuple[dict[str, Value], list[bytes]]:
    """Shake hands without judging the certificate, send nothing, and return the facts and the chain in DER.

    Raises TunnelError. Our own certificate is not shown to a server that has not proved itself.
    """
    # With pins the handshake itself lets every certificate pass; nobody compares them here.
    anybody = replace(settings.trust, pins=(NO_CERTIFICATE,))
    sni = server_name_indication(settings.trust)
    context = client_context(anybody, None, replace(settings.tls, certificate=None))
    transport = await connect_transport(settings, ProxySteps())
    try:
        engine = TlsEngine(context, server_hostname=sni, peer=f"server {settings.server}")
        with trio.fail_after(settings.timeouts.tls):
            await TlsStream(transport, engine).do_handshake()
    except trio.TooSlowError:
        limit = settings.timeouts.tls
        raise TlsFailed(f"server {settings.server}, TLS: the handshake was not finished within {limit:g} s") from None
    finally:
        close_now(transport)
    chain = engine.presented_chain_der() or [engine.peer_certificate_der()]
    facts: dict[str, Value] = {"version": engine.version, "cipher": engine.cipher, "SNI": sni or "none"}
    return {**facts, **describe_chain(chain)}, chain
