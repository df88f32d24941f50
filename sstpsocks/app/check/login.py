"""A whole connect for ``sstpsocks check``: the log-in, and then the network behind it (network.py)."""

from __future__ import annotations

from dataclasses import replace

import trio

from ...errors import (
    AuthenticationFailed,
    CallRejected,
    NegotiationFailed,
    SstpsocksError,
    TunnelClosed,
)
from ...library import run_tunnel
from ...tunnel.settings import CredentialReason, CredentialRequest, Credentials, CredentialSource, TunnelSettings
from ...tunnel.steps import LATER_STEPS, Step, StepReport
from ..credentials import PasswordSource
from .network import NetworkOptions, look_around
from .report import Finding, Hidden, Report, Verdict

PASSWORD = "<password>"  # noqa: S105 - what stands in for it

LOAD_BALANCER_HINT = (
    "the log-in was accepted and then the server ended the call. If a load balancer or a firewall in front of it ends"
    " TLS, its certificate is not the one that the server binds the log-in to (crypto binding, MS-SSTP 3.3.5.2.3):"
    " the balancer must pass TLS through, or the server's administrator must configure the balancer's certificate on it"
)

_LOGIN_STEPS = (Step.LCP, Step.AUTHENTICATION, Step.ADDRESSES)


def hiding(source: CredentialSource, hidden: Hidden) -> CredentialSource:
    """Return ``source`` with every password that it gives hidden from the report."""

    async def credentials(request: CredentialRequest) -> Credentials:
        # Each of them, also a one-time code: a server may repeat it in a message.
        given = await source(request)
        for secret in (given.password, given.new_password or ""):
            hidden.hide(secret, PASSWORD)
        return given

    return credentials


async def log_in(settings: TunnelSettings, report: Report, look: NetworkOptions) -> None:
    """Connect, add what was found to the report, and hang up in order."""
    credentials = hiding(settings.credentials, report.hidden)
    steps: dict[Step, str] = {}
    told = trio.Event()

    def watch(step: StepReport) -> None:
        if step.done and step.text:
            steps[step.step] = f"{steps[step.step]}; {step.text}" if step.step in steps else step.text
        if steps.keys() >= LATER_STEPS:
            told.set()

    source = settings.credentials
    settings = replace(settings, credentials=credentials, reconnect="never", alternatives=())
    finding = Finding("authentication")
    report.findings.append(finding)
    begun = trio.current_time()
    try:
        if isinstance(source, PasswordSource):
            # Before anything is dialled: a server gives seconds for a log-in, and a person takes longer.
            await source.prepare(CredentialRequest(CredentialReason.LOGIN, settings.username, settings.server))
        async with run_tunnel(settings, observe=watch) as tunnel:
            finding.seconds = trio.current_time() - begun
            _tell_login(finding, steps)
            network = Finding("network")
            report.findings.append(network)
            await look_around(tunnel, network, steps, told, look)
    except* SstpsocksError as group:
        error = _first(group)
        failed = finding if finding.seconds is None else Finding("network")
        if failed is finding:
            _tell_login(finding, steps)
            finding.seconds = trio.current_time() - begun
        else:
            report.findings.append(failed)
        failed.verdict, failed.problem, failed.hint = Verdict.FAILED, str(error), error.hint
        if _after_login(steps) and isinstance(error, CallRejected | NegotiationFailed | TunnelClosed):
            failed.facts["crypto binding"] = "probably refused: the server ended the call right behind it"
            failed.hint = f"{error.hint} {LOAD_BALANCER_HINT}".strip()
        report.exit_code = error.exit_code


def _tell_login(finding: Finding, steps: dict[Step, str]) -> None:
    for step in _LOGIN_STEPS:
        if step in steps:
            finding.facts[step.value] = steps[step]


def _after_login(steps: dict[Step, str]) -> bool:
    return "succeeded" in steps.get(Step.AUTHENTICATION, "")


def _first(group: BaseExceptionGroup[SstpsocksError]) -> SstpsocksError:
    """Return the error that says most: a refused log-in before everything else."""
    found: list[SstpsocksError] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found.append(_first(error))
        else:
            found.append(error)
    return next((error for error in found if isinstance(error, AuthenticationFailed)), found[0])
