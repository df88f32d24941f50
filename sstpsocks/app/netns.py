"""``sstpsocks run --netns``: the command in a network namespace of its own, served by the tunnels of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from ..dns.desk import Desk
from ..netns.namespace import Namespace
from ..netns.nat import Nat
from ..netns.plan import NSSWITCH_CONF, Plan, nsswitch_conf, resolv_conf
from ..proxy.outlet import PacketOutlet
from ..proxy.routing.learned import LearnedNames, LearnedOutlet, LearningAnswers
from .engine import Running
from .job import CannotRunError, run_job

DRAIN = 30.0
"""Seconds at most that what the command has sent may take to be delivered after its end."""
_USUAL_MTU = 1400
_LOOK = 0.1
"""Seconds between looks whether the tunnel has IPv6."""


class _Surroundings:
    """A namespace and whoever serves it, for a job."""

    def __init__(self, namespace: Namespace, plan: Plan, outlet: PacketOutlet, nat: Nat, nursery: trio.Nursery) -> None:
        self.enter = namespace.enter
        self.failure = namespace.failure
        self._namespace = namespace
        self._outlet = outlet
        self._nat = nat
        self._nursery = nursery
        self._mtu = plan.mtu

    def begun(self) -> None:
        """Serve the device that the namespace was made with. Raises ConfigError."""
        self._nursery.start_soon(self._nat.serve, self._namespace.take(), self._mtu)
        self._nursery.start_soon(_lead_ipv6_out, self._namespace, self._outlet)


def check_permission() -> None:
    """Raise ConfigError when this system does not let us make such a namespace: before a server is dialled for it."""
    namespace = Namespace(_plan(_USUAL_MTU, ()))
    try:
        namespace.rehearse()
    finally:
        namespace.close()


def _plan(mtu: int, search: Sequence[str]) -> Plan:
    try:
        original: bytes | None = Path(NSSWITCH_CONF).read_bytes()
    except OSError:
        original = None
    return Plan(
        mtu=mtu,
        resolv_conf=resolv_conf(search),
        nsswitch_conf=nsswitch_conf(original) if original is not None else None,
    )


async def _lead_ipv6_out(namespace: Namespace, outlet: PacketOutlet) -> None:
    """Give the namespace IPv6 as soon as a tunnel has it: servers tell that later than the rest, or never."""
    while True:
        if outlet.has_ipv6():
            namespace.add_ipv6()
            return
        await trio.sleep(_LOOK)


async def run_in_namespace(
    command: Sequence[str], environment: Mapping[str, str], running: Running, max_connections: int
) -> int:
    """Run the command there and return its exit code. Raises CannotRunError, or ConfigError without a namespace."""
    names = LearnedNames(trio.current_time)
    outlet = LearnedOutlet(running.outlet, names)
    answers = LearningAnswers(running.answers, names)
    plan = _plan(running.ready.mtu or _USUAL_MTU, running.ready.search)
    namespace = Namespace(plan)
    not_run: CannotRunError | None = None
    exit_code = 0
    try:
        async with trio.open_nursery() as nursery:
            nat = Nat(outlet, Desk(answers), nursery, max_connections=max_connections)
            surroundings = _Surroundings(namespace, plan, outlet, nat, nursery)
            try:
                exit_code = await run_job(command, environment, surroundings)
                with trio.move_on_after(DRAIN):
                    await nat.drain()
            except CannotRunError as error:
                not_run = error
            nursery.cancel_scope.cancel()
    finally:
        namespace.close()
    if not_run is not None:
        raise not_run
    return exit_code
