"""The network behind the server for ``sstpsocks check``: what it gives, how far it is, and what passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from ...errors import ConnectionRefused, DialError
from ...library import Tunnel
from ...tunnel.network import IPAddress
from ...tunnel.steps import Step
from .report import Finding
from .throughput import Target, measure

# DHCP and IPv6 come by themselves, a little after the addresses of IPCP, or never.
SETTLING = 5.0
ROUND_TRIP_LIMIT = 3.0
DOMAIN = 53  # RFC 9210: name servers listen on TCP, too


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """What is asked of the network beyond what it says by itself."""

    download: Target | None = None
    upload: Target | None = None


async def look_around(
    tunnel: Tunnel, finding: Finding, steps: Mapping[Step, str], told: trio.Event, options: NetworkOptions
) -> None:
    """Wait a little for what comes by itself, and ask the network for the rest."""
    with trio.move_on_after(SETTLING):
        await told.wait()
    info = tunnel.info
    finding.facts = {
        "addresses": [str(address) for address in info.addresses],
        "DNS": [str(address) for address in info.dns],
        "MTU": info.mtu,
        "crypto binding": "accepted: the server went on with the addresses",
        "IPv6": steps.get(Step.IPV6, "none"),
        "DHCP": steps.get(Step.DHCP, "no answer"),
        "routes": [str(route) for route in info.routes],
        "search domains": list(info.search),
    }
    if info.dns:
        finding.facts["round trip to the name server"] = await _round_trip(tunnel, info.dns[0])
    if options.download is not None:
        finding.facts["download"] = await measure(tunnel, options.download)
    if options.upload is not None:
        finding.facts["upload"] = await measure(tunnel, options.upload, upload=True)


async def _round_trip(tunnel: Tunnel, address: IPAddress) -> str:
    """Return how long a TCP handshake takes; a refusal is as good an answer as any."""
    begun = trio.current_time()
    try:
        with trio.fail_after(ROUND_TRIP_LIMIT):
            await trio.aclose_forcefully(await tunnel.network.connect_tcp(address, DOMAIN))
    except ConnectionRefused:
        pass
    except trio.TooSlowError:
        return f"not measured: no answer by TCP within {ROUND_TRIP_LIMIT:g} s"
    except DialError as error:
        return f"not measured: {error}"
    return f"{(trio.current_time() - begun) * 1000:.1f} ms"
