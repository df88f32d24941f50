"""The way to the server: name, TCP, TLS and the HTTP request that opens SSTP.

Three functions, called one after the other; each reports its steps and raises a TunnelError that says which step
failed. Whoever calls them owns what they return and closes it when a later one fails.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import trio

from ..errors import HttpRejected, RemoteProtocolError, TlsFailed, TransportFailed, TunnelError
from ..sstp.http import ClientPrelude
from .settings import TunnelSettings
from .steps import Step, StepObserver, StepReport
from .tls import TlsEngine, TlsStream
from .trust import choose_roots, client_context, sni_name, verify_peer

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered yet (RFC 8305 section 5)."""
NOT_SENT_LOW_WATER = 128 * 1024
"""The socket counts as writable while the kernel holds less than this unsent: enough to keep a fast line busy, little
enough that a keystroke does not wait behind a long queue."""

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
    errno.EHOSTUNREACH: ("cannot be reached: no route to the host", "check the address and your network connection"),
    errno.ETIMEDOUT: ("did not answer", "check the address and port; a firewall may drop the packets silently"),
    errno.ENETUNREACH: ("cannot be reached: no route to its network", "check your network connection"),
    errno.EADDRNOTAVAIL: ("cannot be reached: no local address fits", "check your network connection"),
    errno.EAFNOSUPPORT: ("cannot be reached: this machine lacks its address family", "check your network connection"),
}


@dataclass(frozen=True, slots=True)
class _Target:
    """One address to try."""

    family: socket.AddressFamily
    sockaddr: tuple[object, ...]

    def __str__(self) -> str:
        return str(self.sockaddr[0])


async def connect_transport(settings: TunnelSettings, observe: StepObserver) -> trio.SocketStream:
    """Resolve the server's name with the system's resolver and connect to it by TCP.

    Reports RESOLVE and TCP. Raises TransportFailed, also when both together take longer than ``timeouts.connect``.
    """
    host, port = settings.connect_to or (settings.host, settings.port)
    step = Step.RESOLVE
    try:
        with trio.fail_after(settings.timeouts.connect):
            observe(StepReport(step, False, host))
            targets = await _resolve(settings, host, port)
            shown = ", ".join(map(str, targets[:_SHOWN_ADDRESSES])) + (", ..." * (len(targets) > _SHOWN_ADDRESSES))
            observe(StepReport(step, True, shown))
            step = Step.TCP
            observe(StepReport(step, False, f"port {port}"))
            sock = await _connect_any(settings, port, targets)
    except trio.TooSlowError:
        waited = f"{settings.timeouts.connect:g} s"
        if step is Step.RESOLVE:
            message = f"could not reach {_place(settings)}: no answer about the name {host} within {waited}"
            raise TransportFailed(message, hint="check your network connection and its name server") from None
        message = f"could not reach {_place(settings)}: TCP port {port} did not answer within {waited}"
        raise TransportFailed(message, hint=_CONNECT_FAILURES[errno.ETIMEDOUT][1]) from None
    set_socket_options(sock)
    stream = trio.SocketStream(sock)
    # SocketStream sets a low-water mark of its own, made for small answers.
    set_low_water(sock)
    observe(StepReport(step, True, f"connected to {_describe_peer(sock)}"))
    return stream


async def start_tls(transport: trio.abc.Stream, settings: TunnelSettings, observe: StepObserver) -> TlsStream:
    """Run the TLS handshake and verify the server: when this returns, it is who it should be.

    Reports TLS. Raises CertificateRejected, TlsFailed, TransportFailed when the server sent nothing at all within
    ``timeouts.tls``, or ConfigError for a CA file or a server name that cannot be used.
    """
    trust, server = settings.trust, f"server {settings.server}"
    sni = sni_name(trust.server_name)
    observe(StepReport(Step.TLS, False, f"as {trust.server_name}" + ("" if sni else " (an address, so without SNI)")))
    roots = choose_roots(trust)
    if roots is not None and roots.is_fallback:
        observe(StepReport(Step.TLS, False, f"no certificate authorities found on this system, using {roots.source}"))
    engine = TlsEngine(client_context(trust, roots), server_hostname=sni, peer=server)
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
    verify_peer(engine, trust)
    proof = "the pinned fingerprint" if trust.pins else trust.server_name
    observe(StepReport(Step.TLS, True, f"{engine.version}, {engine.cipher}, certificate verified for {proof}"))
    return stream


async def open_sstp(stream: TlsStream, settings: TunnelSettings, observe: StepObserver, correlation_id: str) -> bytes:
    """Send the SSTP request of MS-SSTP 3.2.4.1 and return what came behind the header of its answer.

    Reports HTTP. Raises HttpRejected for another status than 200, and TunnelError when the answer is no HTTP, does not
    come within ``timeouts.http`` or the connection ends before it.
    """
    server, limit = f"server {settings.server}", settings.timeouts.http
    observe(StepReport(Step.HTTP, False, "SSTP_DUPLEX_POST"))
    prelude = ClientPrelude(settings.host, settings.port, correlation_id)
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


async def _resolve(settings: TunnelSettings, host: str, port: int) -> list[_Target]:
    """Return the addresses of ``host`` in the order to try them: the system's (RFC 6724), families taking turns."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        found = await trio.socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        reason = f"the name {host} was not found"
        hint = "check the spelling, and whether your network's name server knows it"
        if error.errno == socket.EAI_AGAIN:
            reason = f"the name {host} could not be looked up ({error.strerror})"
            hint = "check your network connection and its name server"
        raise TransportFailed(f"could not reach {_place(settings)}: {reason}", hint=hint) from error
    except (UnicodeError, OSError) as error:
        message = f"could not reach {_place(settings)}: {host!r} is not a usable host name"
        raise TransportFailed(message, hint="check the spelling") from error
    targets = [_Target(family, sockaddr) for family, _type, _protocol, _name, sockaddr in found]
    # RFC 8305 section 4: the first family of the system's order leads, then they alternate.
    leading = [target for target in targets if target.family == targets[0].family]
    others = [target for target in targets if target.family != targets[0].family]
    return [target for pair in zip_longest(leading, others) for target in pair if target is not None]


async def _connect_any(settings: TunnelSettings, port: int, targets: Sequence[_Target]) -> trio.socket.SocketType:
    """Race the addresses (RFC 8305 section 5) and return the first connected socket."""
    winner: trio.socket.SocketType | None = None
    failures: list[OSError] = []

    async def attempt(target: _Target, failed: trio.Event) -> None:
        nonlocal winner
        try:
            sock = trio.socket.socket(target.family, socket.SOCK_STREAM)
        except OSError as error:
            failures.append(error)
            failed.set()
            return
        try:
            await sock.connect(target.sockaddr)
        except OSError as error:
            sock.close()
            failures.append(error)
            failed.set()
        except BaseException:
            sock.close()
            raise
        else:
            if winner is None:
                winner = sock
                nursery.cancel_scope.cancel()
            else:  # two came through in the same turn
                sock.close()

    try:
        async with trio.open_nursery() as nursery:
            for target in targets:
                failed = trio.Event()
                nursery.start_soon(attempt, target, failed)
                with trio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    if winner is None:
        raise _connect_failure(settings, port, failures)
    return winner


def _connect_failure(settings: TunnelSettings, port: int, failures: Sequence[OSError]) -> TransportFailed:
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
    error = TransportFailed(f"could not reach {_place(settings)}: TCP port {port} {text}", hint=hint)
    error.__cause__ = cause
    return error


def _place(settings: TunnelSettings) -> str:
    """Return the server, and the address that stands in for its own where one was given."""
    instead = f" at {settings.connect_to[0]}" if settings.connect_to is not None else ""
    return f"server {settings.server}{instead}"


def _closed_before_answer(server: str) -> TunnelError:
    return TunnelError(
        f"{server}, HTTP: it closed the connection instead of answering the SSTP request",
        hint="the service behind this port may not be an SSTP server, or something in between closes the connection",
    )


def _describe_peer(sock: trio.socket.SocketType) -> str:
    host, port = sock.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
