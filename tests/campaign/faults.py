"""The faults of the server and of the way to it."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign import signals
from tests.campaign.bench import Bench
from tests.campaign.labs import Lab, SilentPath, SoftEther, Sstpd, other_certificate, renewed_certificate

EXIT_UNTRUSTED = 4
EXIT_REFUSED = 5


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    servers: tuple[str, ...]
    play: Callable[[Bench], None]
    long: bool = False
    """Only in the long form."""


BOTH = ("sstpd", "softether")
SSTPD = ("sstpd",)
SOFTETHER = ("softether",)


def outage(
    bench: Bench,
    strike: Callable[[], object],
    mend: Callable[[], object],
    lasting: float,
    *,
    must_survive: bool | None,
    limit: float | None = None,
) -> None:
    """Do the fault, wait, undo it, and see how everything comes back."""
    # Not always at the same moment of what the flows do.
    time.sleep(random.Random(bench.seed).uniform(0, 0.5))
    bench.open_flows()
    with bench.probing() as prober:
        struck = time.monotonic()
        bench.mark()
        strike()
        time.sleep(lasting)
        mend()
        back = time.monotonic()
        bench.expect_back(prober, back, limit=limit)
        time.sleep(1.5)
        bench.result.programs = prober.said(struck, back)
    bench.end_flows(must_survive=must_survive)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def killed(lasting: float, keeps: bool | None = True) -> Callable[[Bench], None]:
    """SIGKILL; the kernel ends the outer connection."""

    def play(bench: Bench) -> None:
        bench.start()
        outage(
            bench, bench.lab.kill, bench.lab.start, lasting, must_survive=keeps if bench.lab.name == "sstpd" else None
        )

    return play


def reset(bench: Bench) -> None:
    """The outer connection is reset, and the server is there at once."""
    bench.start(relayed=True)
    assert bench.relay is not None
    outage(bench, bench.relay.reset, lambda: None, 0, must_survive=None if bench.lab.name != "sstpd" else True)


def reset_and_refused(bench: Bench) -> None:
    """The outer connection is reset, and for a while every new one, too."""
    bench.start(relayed=True)
    relay = bench.relay
    assert relay is not None

    def strike() -> None:
        relay.refusing = True
        relay.reset()

    def mend() -> None:
        relay.refusing = False

    outage(bench, strike, mend, 30.0 if bench.long else 4.0, must_survive=None if bench.lab.name != "sstpd" else True)


def stalled(lasting: float) -> Callable[[Bench], None]:
    """SIGSTOP: everything is taken by the server's kernel, nothing is answered."""

    def play(bench: Bench) -> None:
        bench.start()
        # A tunnel that was held for dead at 45 s has another address while the server has not seen the end of the old.
        must_survive = True if lasting < 40 else None
        outage(bench, bench.lab.pause, bench.lab.resume, lasting, must_survive=must_survive)

    return play


def swallowed(lasting: float) -> Callable[[Bench], None]:
    """Packets vanish on the way in both directions; nobody is told."""

    def play(bench: Bench) -> None:
        bench.start()
        path = SilentPath(bench.lab)
        try:
            # A connection that outlives it waits for the kernels, whose pauses grow with the outage (RFC 6298).
            limit = lasting + 3 if lasting < 40 else None
            outage(bench, path.cut, path.mend, lasting, must_survive=True if lasting < 40 else None, limit=limit)
        except BaseException:
            path.mend()
            raise

    return play


def half_open(bench: Bench) -> None:
    """A box on the way has forgotten the connection: it takes everything and passes nothing on; new ones work."""
    noticing(bench, lambda: None, 46, 3.0)


def slept(bench: Bench) -> None:
    """The machine sleeps for an hour, and everybody on the way has forgotten the connection.

    It is noticed within 2 s, and then the server has 5 s for an answer.
    """
    noticing(bench, lambda: bench.client.process.send_signal(signals.USR1), 8, 3.0)


def noticing(bench: Bench, hint: Callable[[], object], within: float, limit: float) -> None:
    """The connection is dead without a word; see how long it takes the program to notice, and then to be back."""
    bench.start(relayed=True)
    relay = bench.relay
    assert relay is not None
    bench.open_flows()
    with bench.probing() as prober:
        bench.mark()
        struck = time.monotonic()
        relay.forget()
        hint()
        while "dialling again" not in bench.client.log and time.monotonic() < struck + 60:
            time.sleep(0.01)
        noticed = time.monotonic()
        bench.expect_back(prober, noticed, limit=limit)
        time.sleep(1.5)
        bench.result.programs = f"noticed after {noticed - struck:.1f} s; " + prober.said(struck, noticed)
        if noticed - struck > within:
            bench.problem(f"noticed after {noticed - struck:.1f} s, not within {within:.0f} s")
    # The server still knows the old call, so its address is taken.
    bench.end_flows(must_survive=None)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def slept_on_a_good_path(bench: Bench) -> None:
    """The clock jumps by an hour, but the connection lives: nothing may be lost by looking."""
    bench.start()
    outage(
        bench, lambda: bench.client.process.send_signal(signals.USR1), lambda: None, 4.0, must_survive=True, limit=1.0
    )
    if "dialling again" in bench.client.log:
        bench.problem("a tunnel that lived was given up")


def frozen(lasting: float) -> Callable[[Bench], None]:
    """The program itself stands still, as under a debugger or in a paused container."""

    def play(bench: Bench) -> None:
        bench.start()
        process = bench.client.process
        strike, mend = (functools.partial(process.send_signal, what) for what in (signals.STOP, signals.CONT))
        outage(bench, strike, mend, lasting, must_survive=True)

    return play


def aborted(bench: Bench) -> None:
    """SSTP Call Abort, at a time of the server's own."""
    server = sstpd(bench.lab)
    ended_by_server(bench, server, "--abort-after")


def disconnected(bench: Bench) -> None:
    """LCP Terminate-Request and SSTP Call Disconnect, at a time of the server's own."""
    ended_by_server(bench, sstpd(bench.lab), "--disconnect-after")


def ended_by_server(bench: Bench, server: Sstpd, option: str) -> None:
    """The server ends each call after a while."""
    server.kill()
    server.start(option, "9")
    try:
        bench.start()
        bench.open_flows()
        with bench.probing() as prober:
            deadline = time.monotonic() + 20
            while "dialling again" not in bench.client.log and time.monotonic() < deadline:
                time.sleep(0.005)
            struck = time.monotonic()
            bench.expect_back(prober, struck + 0.001)
            time.sleep(1.5)
            bench.result.programs = prober.said(struck - 0.5, struck + (bench.result.recovery or 3.0))
        bench.end_flows(must_survive=True)
        bench.expect_nothing_wrong()
        bench.expect_nothing_left()
    finally:
        server.kill()
        server.start()


def stopped_in_order(bench: Bench) -> None:
    """The server's service is stopped, which ends the call in order, and started again."""
    bench.start()
    outage(bench, bench.lab.terminate, bench.lab.start, 3.0, must_survive=bench.lab.name == "sstpd" or None)


def administrator(bench: Bench) -> None:
    """An administrator ends the user's session."""
    assert isinstance(bench.lab, SoftEther)
    bench.start()
    outage(bench, bench.lab.disconnect_user, lambda: None, 0, must_survive=None)


def another_address(bench: Bench) -> None:
    """The server comes back and gives another inner address: flows cannot survive, and must be told at once."""
    server = sstpd(bench.lab)
    bench.start()
    try:
        outage(bench, server.kill, lambda: server.start(*server.other_addresses()), 2.0, must_survive=False)
        if "address" not in bench.client.log:
            bench.problem("no line tells of the other address")
    finally:
        server.kill()
        server.start()


def certificate_renewed(bench: Bench) -> None:
    """The certificate is renewed by the same authority: nobody should notice."""
    server = sstpd(bench.lab)
    bench.start()

    def mend() -> None:
        server.set_certificate(*renewed_certificate(server.folder))
        server.start()

    outage(bench, server.kill, mend, 1.0, must_survive=True)


def certificate_forged(bench: Bench) -> None:
    """Another authority's certificate: the program must not connect, and say so."""
    server = sstpd(bench.lab)
    kept = (server.folder / "server.pem").read_bytes(), (server.folder / "server.key").read_bytes()
    bench.start()
    try:
        bench.open_flows()
        bench.mark()
        server.kill()
        server.set_certificate(*other_certificate(server.settings["SERVER_NAME"], server.settings["HOST"]))
        server.start()
        bench.expect_exit(EXIT_UNTRUSTED, 15)
        bench.end_flows(must_survive=False)
        bench.expect_nothing_left()
    finally:
        server.kill()
        server.set_certificate(*kept)
        server.start()


def password_changed(bench: Bench) -> None:
    """The password that the program has is refused at the next log-in: once, and never again."""
    kept = bench.lab.settings["PASSWORD"]
    bench.start(relayed=True)
    assert bench.relay is not None
    bench.open_flows()
    bench.mark()
    try:
        if isinstance(bench.lab, SoftEther):
            bench.lab.set_password("another-secret")
            bench.relay.reset()
        else:
            bench.lab.set_password("another-secret")
        bench.expect_exit(EXIT_REFUSED, 20)
        bench.end_flows(must_survive=False)
        bench.expect_nothing_left()
    finally:
        bench.lab.set_password(kept)


def sstpd(lab: Lab) -> Sstpd:
    """The faults that need it."""
    assert isinstance(lab, Sstpd)
    return lab


SERVER_FAULTS = (
    Fault("server killed for 2 s", BOTH, killed(2)),
    Fault("server killed for 30 s", BOTH, killed(30), long=True),
    Fault("outer connection reset", BOTH, reset),
    Fault("outer connection reset, then refused", BOTH, reset_and_refused),
    Fault("server stalled for 3 s", BOTH, stalled(3)),
    Fault("server stalled for 8 s", SSTPD, stalled(8)),
    Fault("server stalled for 30 s", BOTH, stalled(30), long=True),
    Fault("server stalled for 120 s", BOTH, stalled(120), long=True),
    Fault("call aborted", SSTPD, aborted),
    Fault("call disconnected in order", SSTPD, disconnected),
    Fault("session ended by an administrator", SOFTETHER, administrator),
    Fault("server stopped in order for 3 s", BOTH, stopped_in_order),
    Fault("server back with another inner address", SSTPD, another_address),
    Fault("certificate renewed", SSTPD, certificate_renewed),
    Fault("certificate of somebody else", SSTPD, certificate_forged),
    Fault("password changed", BOTH, password_changed),
    Fault("packets vanish for 2 s", SSTPD, swallowed(2)),
    Fault("packets vanish for 10 s", BOTH, swallowed(10), long=True),
    Fault("packets vanish for 60 s", SSTPD, swallowed(60), long=True),
    Fault("packets vanish for 64 s", SSTPD, swallowed(64), long=True),
    Fault("half-open: a box on the way forgets the connection", BOTH, half_open, long=True),
    Fault("clock jumps by an hour, connection dead", SSTPD, slept),
    Fault("clock jumps by an hour, connection alive", SSTPD, slept_on_a_good_path),
    Fault("program frozen for 5 s", SSTPD, frozen(5)),
    Fault("program frozen for 60 s", BOTH, frozen(60), long=True),
)
