"""``sstpsocks check``: goes the way of a connect step by step and says what each step has found.

Theory of operation. The certificate is looked at in a connection of its own, in which nothing is sent, so that a chain
that is refused can still be described. Then the same functions run that a connect uses (tunnel/upstream.py), and
their verdict is the one that counts: behind a certificate that is not trusted nothing more is asked. PPP is surveyed
without a log-in (ppp/survey.py); only when a user is named a whole connect follows (login.py), with the same care as
ever that a refused password is sent once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from ..._version import __version__
from ...base.build import COMPILED
from ...errors import SstpsocksError, TunnelError
from ...tunnel.reach import close_now, connect_transport
from ...tunnel.settings import TunnelSettings
from ...tunnel.steps import ignore_steps
from ...tunnel.tls import TlsStream
from ...tunnel.upstream import open_sstp, sstp_request, start_tls
from ..config import Configuration
from ..messages import Display
from ..prompts import set_before_prompts
from .certificate import judge
from .login import hiding, log_in
from .network import NetworkOptions
from .offers import look_at_offers
from .report import Finding, Report, Value, Verdict
from .way import LastStep, ProxySteps, find_addresses, look_at_tls, time_addresses

USER = "<user>"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What the command line asks for beside the options of connect."""

    json: bool = False
    show_user: bool = False
    look: NetworkOptions = field(default_factory=NetworkOptions)


class _StoppedError(Exception):
    """A step failed, and nothing behind it can be looked at."""


async def run_check(configuration: Configuration, options: CheckOptions, display: Display) -> int:
    """Check the server, print the report to standard output and return the exit code."""
    check = Check(configuration.tunnel, options.look)
    hidden = check.report.hidden
    # Standard error is pasted together with the report.
    configuration.password.tell = lambda text: display.warning(hidden.clean(text))
    set_before_prompts(configuration, display.interrupt)
    # A path in somebody's home says who that is.
    hidden.hide(str(Path.home()), "~")
    if not options.show_user:
        hide_user(check.report, configuration.tunnel.username)
        if configuration.tunnel.proxy is not None:
            hide_user(check.report, configuration.tunnel.proxy.username)
    for warning in configuration.warnings:
        display.warning(hidden.clean(warning))
    report = await check.run()
    print(report.to_json() if options.json else report.to_table(), flush=True)  # noqa: T201 - the report
    return report.exit_code


def hide_user(report: Report, username: str) -> None:
    """Have the user's name replaced, whole and without its domain or realm."""
    for part in (username, username.rpartition("\\")[2], username.partition("@")[0]):
        report.hidden.hide(part, USER)


class Check:
    """One check of one server."""

    def __init__(self, settings: TunnelSettings, look: NetworkOptions | None = None) -> None:
        self._look = look if look is not None else NetworkOptions()
        first_use = settings.trust.first_use
        if first_use is not None:
            # A look changes nothing: nobody is asked, and no key is remembered.
            settings = replace(settings, trust=replace(settings.trust, first_use=replace(first_use, ask=None)))
        build = "compiled" if COMPILED else "interpreted"
        self.report = Report(settings.server, f"sstpsocks {__version__} ({build})")
        proxy = settings.proxy
        if proxy is not None and proxy.credentials is not None:
            source = hiding(proxy.credentials, self.report.hidden)
            settings = replace(settings, proxy=replace(proxy, credentials=source))
        self._settings = settings

    async def run(self) -> Report:
        """Go as far as it goes and return the report."""
        if others := self._settings.alternatives:
            text = f"only {self._settings.server} is checked; check the others one by one"
            facts: dict[str, Value] = {"not checked": [other.server for other in others]}
            self.report.findings.append(Finding("other servers", Verdict.SKIPPED, facts=facts, problem=text))
        try:
            await self._reach()
            await self._look_behind_tls()
            await self._log_in()
        except _StoppedError:
            pass
        return self.report

    @contextmanager
    def _step(self, name: str) -> Iterator[Finding]:
        """Time a step; what fails in it goes into the report and ends the check."""
        finding = Finding(name)
        begun = trio.current_time()
        try:
            yield finding
        except SstpsocksError as error:
            finding.verdict = Verdict.FAILED
            finding.problem, finding.hint = str(error), error.hint
            self.report.exit_code = error.exit_code
            raise _StoppedError from error
        finally:
            finding.seconds = trio.current_time() - begun
            self.report.findings.append(finding)

    async def _reach(self) -> None:
        settings = self._settings
        if settings.proxy is not None:
            with self._step("proxy") as finding:
                steps = ProxySteps()
                finding.facts["proxy"] = str(settings.proxy)
                try:
                    close_now(await connect_transport(settings, steps))
                finally:
                    finding.facts |= steps.facts
            return
        with self._step("resolve") as finding:
            targets = await find_addresses(settings)
            finding.facts["addresses"] = [str(target) for target in targets]
        with self._step("TCP") as finding:
            finding.facts = await time_addresses(targets, settings)

    async def _look_behind_tls(self) -> None:
        settings = self._settings
        with self._step("TLS") as finding:
            try:
                facts, chain = await look_at_tls(settings)
            except TunnelError as error:
                # A server that wants a client certificate refuses a look without one: the next step says more.
                finding.facts["a look without verification"] = str(error)
            else:
                finding.facts = {**facts, **{f"rule: {name}": v for name, v in judge(chain, settings).items()}}
        transport = await self._transport()
        try:
            with self._step("certificate") as finding:
                verdict = LastStep()
                stream = await start_tls(transport, settings, verdict)
                finding.facts["verdict"] = verdict.text
            prelude = sstp_request(settings, f"{{{str(uuid.uuid4()).upper()}}}")
            with self._step("HTTP") as finding:
                try:
                    first_data = await open_sstp(stream, settings, ignore_steps, "", prelude)
                    finding.facts["answer"] = "200"
                finally:
                    finding.facts["server software"] = prelude.server_software or None
            with self._step("SSTP and PPP") as finding:
                offers = await look_at_offers(stream, first_data, settings)
                finding.facts = {**offers.sstp_facts(), **offers.ppp_facts()}
        finally:
            close_now(transport)

    async def _transport(self) -> trio.SocketStream | TlsStream:
        with self._step("connection"):
            transport = await connect_transport(self._settings, ignore_steps)
        self.report.findings.pop()  # what there is to say was said
        return transport

    async def _log_in(self) -> None:
        settings = self._settings
        if not settings.username:
            text = "no user was named (--user), so nobody logs in"
            self.report.findings.append(Finding("authentication", Verdict.SKIPPED, problem=text))
            return
        await log_in(settings, self.report, self._look)
