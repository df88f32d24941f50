from __future__ import annotations

import errno
import socket

import pytest
import trio

from sstpsocks.errors import EXIT_USAGE, ConfigError
from sstpsocks.proxy.listen import open_listeners


async def test_a_free_port_is_taken_for_zero() -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with listener:
        host, port = listener.socket.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.aclose()


async def test_a_taken_port_is_told_with_what_to_do() -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            await open_listeners("127.0.0.1", port)
        assert "another" in caught.value.hint
        assert caught.value.exit_code == EXIT_USAGE


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0") as caught:
        await open_listeners("192.0.2.1", 0)
    assert "no such address" in caught.value.hint


class TwoAddresses:
    """A machine on which a name has an IPv4 and an IPv6 address, and IPv6 may be missing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, ipv6_error: int | None) -> None:
        self.ports: list[tuple[str, int]] = []
        self._ipv6_error = ipv6_error
        self._open = trio.open_tcp_listeners
        monkeypatch.setattr(trio.socket, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(trio, "open_tcp_listeners", self.open)

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(10, 1, 6, "", ("::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]

    async def open(self, port: int, *, host: str) -> list[trio.SocketListener]:
        self.ports.append((host, port))
        if host == "::1":
            if self._ipv6_error is not None:
                raise OSError(self._ipv6_error, "no")
            host = "127.0.0.2"
        return [trio.SocketListener(await bound(host, port))]


async def bound(host: str, port: int) -> trio.socket.SocketType:
    sock = trio.socket.socket()
    try:
        await sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.listen()
    return sock


async def test_all_addresses_of_a_name_get_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TwoAddresses(monkeypatch, ipv6_error=None)
    first, second = await open_listeners("localhost", 0)
    port = first.socket.getsockname()[1]
    assert second.socket.getsockname()[1] == port
    assert machine.ports == [("::1", 0), ("127.0.0.1", port)]
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    TwoAddresses(monkeypatch, ipv6_error=error)
    (listener,) = await open_listeners("localhost", 0)
    await listener.aclose()


async def test_a_failure_in_the_middle_closes_what_was_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    TwoAddresses(monkeypatch, ipv6_error=None)
    blocker = await bound("127.0.0.1", 0)
    port = blocker.getsockname()[1]
    with pytest.raises(ConfigError):
        await open_listeners("localhost", port)
    again = await bound("127.0.0.2", port)
    again.close()
    blocker.close()


async def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="cannot listen on"):
        await open_listeners("no.such.name.invalid", 0)
