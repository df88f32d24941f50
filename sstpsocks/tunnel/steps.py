"""The steps of setting up a tunnel, as a person is shown them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Step(Enum):
    """One step on the way up, in order. The value is what messages call it."""

    RESOLVE = "resolve"
    TCP = "TCP"
    PROXY = "proxy"
    """Only where a proxy leads to the server: the steps before are then those to the proxy."""
    TLS = "TLS"
    HTTP = "HTTP"
    SSTP = "SSTP"
    LCP = "LCP"
    AUTHENTICATION = "authentication"
    ADDRESSES = "addresses"
    DHCP = "DHCP"
    """Not on the way up: reported when the network has told its routes and search domains, if it does."""
    IPV6 = "IPv6"
    """Not on the way up: reported when there are IPv6 addresses or name servers, and when they change."""
    FLOWS = "connections"
    """Not on the way up: reported when a tunnel is back, if connections of programs had waited for it."""


LATER_STEPS = frozenset({Step.DHCP, Step.IPV6, Step.FLOWS})
"""What may be reported while the tunnel is up."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """Something a person watching the connect may want to see."""

    step: Step
    done: bool
    """False: the step begins. True: it succeeded."""
    text: str
    """What happens or what came of it; one line without secrets."""
    failed: bool = False
    """Whether it failed, with something else being tried instead; ``done`` is True, too."""


StepObserver = Callable[[StepReport], None]


def ignore_steps(_report: StepReport) -> None:
    """Observe nothing."""
