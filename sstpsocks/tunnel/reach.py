"""The first part of the way to the server: its name, and TCP.

Loads little, so that it can be on its way while the rest of the program is still being loaded (head_start.py).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import trio

from ..errors import TransportFailed
from .settings import TunnelSettings
from .steps import Step, StepObserver, StepReport

if TYPE_CHECKING:
    from .tls import TlsStream

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered yet (RFC 8305 section 5)."""
NOT_SENT_LOW_WATER = 128 * 1024
"""The socket counts as writable while the kernel holds less than this unsent: enough to keep a fast line busy, little
enough that a keystroke does not wait behind a long queue."""

RENEWAL = 2.0
"""Seconds after which a silent address is tried once more beside the first try. The system doubles its pause before
each SYN (RFC 6298), and when the network comes back, nobody wants to wait for the next one."""
LOOKUP_PATIENCE = 1.0
"""Seconds after which a server that was reached before is looked for where it was then."""
MEMORY_HELPS = 300.0
"""Seconds for which that is done in vain; then it may have moved, and its name server may only be slow."""

_SHOWN_ADDRESSES = 4  # addresses that a step report lists

# Errors of connect() in the order in which they tell a person most, and what they mean.
_CONNECT_FAILURES: dict[int, tuple[str, str]] = {
    errno.ECONNREFUSED: (
        "refused the connection",
        "check the port, and that the server is running and not behind a firewall that rejects you",
    ),
    errno.EACCES: ("is forbidden by this machine's firewall or policy", "check the local firewall"),
    errno.EPERM: ("is forbidden by this machine's firewall or policy", "check the local firewall"),
    errno.ECONNRESET: ("reset the connection", "a firewall on the way may not let you through"),
    errno.ENOTCONN: ("reset the connection", "a firewall on the way may not let you through"),
    errno.EHOSTUNREACH: ("cannot be reached: no route to the host", "check the address and your network connection"),
    errno.ETIMEDOUT: ("did not answer", "check the address and port; a firewall may drop the packets silently"),
    errno.ENETUNREACH: ("cannot be reached: no route to its network", "check your network connection"),
    errno.EADDRNOTAVAIL: ("cannot be reached: no local address fits", "check your network connection"),
    errno.EAFNOSUPPORT: ("cannot be reached: this machine lacks its address family", "check your network connection"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try."""

    family: socket.AddressFamily
    sockaddr: tuple[object, ...]

    def __str__(self) -> str:
        return str(self.sockaddr[0])


@dataclass(slots=True)
class _Reached:
    """Where a server was when it was reached."""

    targets: list[Target]
    asked_since: float | None = None
    """When this was first used instead of an answer, since the server was reached last."""


reached_before: dict[tuple[str, int], _Reached] = {}
"""By host and port. While a network comes back its name server is often the last to do so. Whoever answers at an old
address must still prove with its certificate to be the server."""


Dial = Callable[[TunnelSettings, StepObserver], Awaitable["trio.SocketStream | TlsStream"]]
"""What connect_transport() is."""


async def connect_transport(settings: TunnelSettings, observe: StepObserver) -> trio.SocketStream | TlsStream:
    """Connect to the server by TCP, or through the proxy of the settings.

    Reports RESOLVE and TCP, and PROXY where there is one. Raises TransportFailed; for a proxy ProxyFailed,
    ProxyLoginFailed or CertificateRejected.
    """
    if settings.proxy is not None:
        from .proxy.way import connect_through  # loads TLS and HTTP, which most have no use for this early

        return await connect_through(settings, settings.proxy, observe)
    host, port = settings.connect_to or (settings.host, settings.port)
    return await connect_tcp(_place(settings), host, port, settings, observe)


async def connect_tcp(
    place: str, host: str, port: int, settings: TunnelSettings, observe: StepObserver
) -> trio.SocketStream:
    """Resolve a name with the system's resolver and connect to it by TCP. ``place``: what messages call it.

    Reports RESOLVE and TCP. Raises TransportFailed, also when both together take longer than ``timeouts.connect``.
    """
    step = Step.RESOLVE
    try:
        with trio.fail_after(settings.timeouts.connect):
            observe(StepReport(step, False, host))
            targets, why = await _resolve_or_remember(place, host, port)
            shown = ", ".join(map(str, targets[:_SHOWN_ADDRESSES])) + (", ..." * (len(targets) > _SHOWN_ADDRESSES))
            observe(StepReport(step, True, shown + why))
            step = Step.TCP
            observe(StepReport(step, False, f"port {port}"))
            sock = await connect_any(place, port, targets, settings.source_address)
    except trio.TooSlowError:
        waited = f"{settings.timeouts.connect:g} s"
        if step is Step.RESOLVE:
            message = f"could not reach {place}: no answer about the name {host} within {waited}"
            raise TransportFailed(message, hint="check your network connection and its name server") from None
        message = f"could not reach {place}: TCP port {port} did not answer within {waited}"
        raise TransportFailed(message, hint=_CONNECT_FAILURES[errno.ETIMEDOUT][1]) from None
    try:
        peer = _describe_peer(sock)
    except OSError as error:  # it was reset before we could look
        sock.close()
        raise _connect_failure(place, port, [error]) from error
    reached_before[host, port] = _Reached(targets)
    set_socket_options(sock)
    stream = trio.SocketStream(sock)
    # SocketStream sets a low-water mark of its own, made for small answers.
    set_low_water(sock)
    observe(StepReport(step, True, f"connected to {peer}"))
    return stream


async def _resolve_or_remember(place: str, host: str, port: int) -> tuple[list[Target], str]:
    """Return the addresses of a host, and what is remarkable about them: that they are those of before."""
    before = reached_before.get((host, port))
    if before is None:
        return await resolve(place, host, port), ""
    try:
        with trio.move_on_after(LOOKUP_PATIENCE):
            return await resolve(place, host, port), ""
    except TransportFailed as error:
        # A name server that answers is believed, also when it says that there is no such name any more.
        if not isinstance(error.__cause__, socket.gaierror) or error.__cause__.errno != socket.EAI_AGAIN:
            raise
    now = trio.current_time()
    if before.asked_since is None:
        before.asked_since = now
    elif now - before.asked_since > MEMORY_HELPS:
        del reached_before[host, port]
    return before.targets, " (as before: the name server does not answer)"


async def _check_source(source: str, family: socket.AddressFamily) -> None:
    """Raise TransportFailed when a local address is none of this machine's."""
    try:
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            await sock.bind((source, 0))
    except OSError as error:
        message = f"cannot connect from {source}: {error.strerror or error}"
        raise TransportFailed(message, hint="check --source-address: it must be an address of this machine") from error


def close_now(stream: trio.SocketStream | TlsStream) -> None:
    """Close what connect_transport() returned without waiting and without farewells."""
    inner: object = stream
    while not isinstance(inner, trio.SocketStream):
        inner = getattr(inner, "transport", None)
    inner.socket.close()


def set_socket_options(sock: trio.socket.SocketType) -> None:
    """Turn Nagle's delay off and keep-alive on; what the platform refuses stays as it is."""
    for level, option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
        try:
            sock.setsockopt(level, option, 1)
        except OSError:
            continue


def set_low_water(sock: trio.socket.SocketType) -> bool:
    """Keep the kernel's queue of unsent bytes short where the platform can (TCP_NOTSENT_LOWAT); say whether it did."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it, Windows does not
    if option is None:
        return False
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT_LOW_WATER)
    except OSError:
        return False
    return True


async def resolve(place: str, host: str, port: int) -> list[Target]:
    """Return the addresses of ``host`` in the order to try them: the system's (RFC 6724), families taking turns.

    Raises TransportFailed, in which the host is called ``place``.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        found = await trio.socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        reason = f"the name {host} was not found"
        hint = "check the spelling, and whether your network's name server knows it"
        if error.errno == socket.EAI_AGAIN:
            reason = f"the name {host} could not be looked up ({error.strerror})"
            hint = "check your network connection and its name server"
        raise TransportFailed(f"could not reach {place}: {reason}", hint=hint) from error
    except (UnicodeError, OSError) as error:
        message = f"could not reach {place}: {host!r} is not a usable host name"
        raise TransportFailed(message, hint="check the spelling") from error
    targets = [Target(family, sockaddr) for family, _type, _protocol, _name, sockaddr in found]
    # RFC 8305 section 4: the first family of the system's order leads, then they alternate.
    leading = [target for target in targets if target.family == targets[0].family]
    others = [target for target in targets if target.family != targets[0].family]
    return [target for pair in zip_longest(leading, others) for target in pair if target is not None]


async def connect_any(
    place: str, port: int, targets: Sequence[Target], source: str | None = None
) -> trio.socket.SocketType:
    """Race the addresses (RFC 8305 section 5) and return the first connected socket."""
    if source is not None:
        wanted = socket.AF_INET6 if ":" in source else socket.AF_INET
        targets = [target for target in targets if target.family == wanted]
        if not targets:
            message = f"could not reach {place}: it has no address of the same family as the source address {source}"
            raise TransportFailed(message, hint="give --source-address an address of the other family, or none")
        await _check_source(source, wanted)
    winner: trio.socket.SocketType | None = None
    failures: list[OSError] = []

    async def attempt(target: Target, tries: trio.Nursery, failed: trio.Event) -> None:
        nonlocal winner
        try:
            sock = trio.socket.socket(target.family, socket.SOCK_STREAM)
        except OSError as error:
            failures.append(error)
            failed.set()
            tries.cancel_scope.cancel()
            return
        try:
            if source is not None:
                await sock.bind((source, 0))
            await sock.connect(target.sockaddr)
        except OSError as error:
            sock.close()
            failures.append(error)
            failed.set()
            tries.cancel_scope.cancel()  # an answer to one try is an answer to all
        except BaseException:
            sock.close()
            raise
        else:
            if winner is None:
                winner = sock
                nursery.cancel_scope.cancel()
            else:  # two came through in the same turn
                sock.close()

    async def pursue(target: Target, failed: trio.Event) -> None:
        async with trio.open_nursery() as tries:
            while True:
                tries.start_soon(attempt, target, tries, failed)
                await trio.sleep(RENEWAL)

    try:
        async with trio.open_nursery() as nursery:
            for target in targets:
                failed = trio.Event()
                nursery.start_soon(pursue, target, failed)
                with trio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    if winner is None:
        raise _connect_failure(place, port, failures)
    return winner


def _connect_failure(place: str, port: int, failures: Sequence[OSError]) -> TransportFailed:
    """Return the error for a race that nobody won: the one of its failures that tells most."""
    order = list(_CONNECT_FAILURES)
    known = sorted(
        ((order.index(error.errno), error) for error in failures if error.errno in _CONNECT_FAILURES),
        key=lambda pair: pair[0],
    )
    if known:
        cause = known[0][1]
        text, hint = _CONNECT_FAILURES[order[known[0][0]]]
    else:
        cause = failures[0] if failures else OSError("no address")
        text, hint = f"cannot be reached: {cause.strerror or cause}", "check your network connection"
    error = TransportFailed(f"could not reach {place}: TCP port {port} {text}", hint=hint)
    error.__cause__ = cause
    return error


def _place(settings: TunnelSettings) -> str:
    """Return the server, and the address that stands in for its own where one was given."""
    instead = f" at {settings.connect_to[0]}" if settings.connect_to is not None else ""
    return f"server {settings.server}{instead}"


def _describe_peer(sock: trio.socket.SocketType) -> str:
    host, port = sock.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
