"""A small HTTP proxy on loopback, in threads: CONNECT only, with whatever way to log in a test wants.

It keeps a connection through a log-in as NTLM needs it, and writes down what it was asked.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TIMEOUT = 30.0

Login = Callable[[str | None], "list[str] | None"]
"""Judges one connection's requests: takes Proxy-Authorization, returns None to let it through, or challenges."""


def anybody(_authorization: str | None) -> list[str] | None:
    """Ask for nothing."""
    return None


@dataclass
class ForwardProxy:
    """A proxy that runs until stop()."""

    new_login: Callable[[], Login] = lambda: anybody
    """Called for each connection."""
    keep: bool = True
    """Whether a connection survives a 407."""
    answer: bytes | None = None
    """What to say to every request, and then close; None: do what a proxy does."""
    tls: ssl.SSLContext | None = None
    requests: list[str] = field(default_factory=list)
    connections: int = 0

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)
        return port

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(TIMEOUT)
            if self.tls is None:
                self._talk(connection)
            else:
                with self.tls.wrap_socket(connection, server_side=True) as secure:
                    self._talk(secure)

    def _talk(self, connection: socket.socket) -> None:
        login = self.new_login()
        while True:
            request = self._request(connection)
            if not request:
                return
            self.requests.append(request)
            if self.answer is not None:
                connection.sendall(self.answer)
                return
            lines = request.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            challenges = login(headers.get("proxy-authorization"))
            if challenges is None:
                host, _, port = lines[0].split()[1].rpartition(":")
                self._pipe(connection, host.strip("[]"), int(port))
                return
            offers = "".join(f"Proxy-Authenticate: {challenge}\r\n" for challenge in challenges)
            end = "" if self.keep else "Proxy-Connection: close\r\n"
            connection.sendall(f"HTTP/1.1 407 Log in\r\n{offers}{end}Content-Length: 4\r\n\r\npage".encode())
            if not self.keep:
                return

    def _request(self, connection: socket.socket) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                return ""
            data += more
        return data.decode("latin-1")

    def _pipe(self, here: socket.socket, host: str, port: int) -> None:
        try:
            there = socket.create_connection((host, port), TIMEOUT)
        except OSError:
            here.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with there:
            here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=[there, here], daemon=True)
            back.start()
            _copy(here, there)
            back.join(TIMEOUT)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        source.settimeout(None)
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def forward_proxy(proxy: ForwardProxy) -> Iterator[ForwardProxy]:
    """Run a proxy for the time of the block."""
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def acceptor(scheme: str) -> Callable[[], Login]:
    """Return log-ins by NTLM or Negotiate, judged by pyspnego's acceptor, which reads the file NTLM_USER_FILE names."""
    import base64

    import spnego

    def new_login() -> Login:
        context = spnego.server(protocol=scheme.lower(), service="HTTP")

        def login(authorization: str | None) -> list[str] | None:
            kind, _, token = (authorization or "").partition(" ")
            if kind != scheme:
                return [scheme]
            try:
                answer = context.step(base64.b64decode(token))
            except spnego.exceptions.SpnegoError:
                return [scheme]
            if context.complete:
                return None
            return [f"{scheme} {base64.b64encode(answer or b'').decode()}"]

        return login

    return new_login
