"""The network behind the server for ``sstpsocks check``: what it gives, how far it is, and what passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import trio

from ...errors import ConnectionRefused, DialError, LocalProtocolError, SstpsocksError, TunnelDown
from ...library import Tunnel
from ...tunnel.network import IPAddress
from ...tunnel.steps import Step
from .mtu import find_passing_size
from .report import Finding
from .throughput import Target, measure

# DHCP and IPv6 come by themselves, a little after the addresses of IPCP, or never.
SETTLING = 5.0
ROUND_TRIP_LIMIT = 3.0
DOMAIN = 53  # RFC 9210: name servers listen on TCP, too

# An echo request is given up after so many round trips, within these limits in seconds.
ECHO_PATIENCE = 4
MIN_ECHO_LIMIT = 0.25
MAX_ECHO_LIMIT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """What is asked of the network beyond what it says by itself."""

    probe: str | None = None
    """Whom to send echo requests to; None: the name server, or else the server itself."""
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
    finding.facts["MTU that passes"] = await _passing_mtu(tunnel, options.probe)
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


async def _passing_mtu(tunnel: Tunnel, probe: str | None) -> str:
    """Return the largest packet that comes back from somebody who answers echo requests."""
    info = tunnel.info
    try:
        if probe is not None:
            targets = [await _address_of(tunnel, probe)]
        else:
            targets = [*info.dns, *([info.peer] if info.peer is not None else [])]
        for target in dict.fromkeys(targets):
            limit = await _echo_limit(tunnel, target)
            if limit is not None:
                return await _search(tunnel, target, limit)
    except DialError as error:
        return f"not measured: {error}"
    asked = " and ".join(str(target) for target in dict.fromkeys(targets)) or "nobody"
    return f"not measured: {asked} answered no echo request; name somebody who does with --probe HOST"


async def _address_of(tunnel: Tunnel, host: str) -> IPAddress:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return (await tunnel.resolve(host))[0]


async def _echo_limit(tunnel: Tunnel, target: IPAddress) -> float | None:
    """Return how long to wait for a reply of this target; None when a small request gets none."""
    for _ in range(2):
        try:
            seconds = await tunnel.network.ping(target, limit=MAX_ECHO_LIMIT)
        except TunnelDown:
            raise
        except SstpsocksError:
            continue
        return max(MIN_ECHO_LIMIT, min(MAX_ECHO_LIMIT, ECHO_PATIENCE * seconds))
    return None


async def _search(tunnel: Tunnel, target: IPAddress, limit: float) -> str:
    async def ping(size: int) -> bool:
        try:
            await tunnel.network.ping(target, size, limit, df=True)
        except (TunnelDown, LocalProtocolError):
            raise
        except SstpsocksError:
            return False
        return True

    mtu = tunnel.info.mtu
    size = await find_passing_size(ping, mtu)
    if size is None:
        return f"not measured: {target} answers small echo requests only"
    if size == mtu:
        return f"{size}, all that is asked for (to {target} and back)"
    return f"{size} (to {target} and back): larger packets are lost; use --mtu {size}"
