"""The user's side of the conformance scripts: calls, and what a user can see."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from sstpsocks.errors import SstpsocksError
from sstpsocks.net.echo import IcmpEcho
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.listener import TcpListener
from sstpsocks.net.udp import UdpEndpoint

from .wire import ScriptError, number_matches, pattern

if TYPE_CHECKING:
    from .interpreter import Interpreter


class Calls:
    """Runs ``call`` lines and the lines that look at the stack."""

    def __init__(self, run: Interpreter) -> None:
        self._run = run
        self._listener: TcpListener | None = None
        self._udp: UdpEndpoint | None = None
        self._echo: IcmpEcho | None = None

    def call(self, words: tuple[str, ...]) -> None:
        """Make one call; ``raises NAME`` at its end says with what it must fail."""
        wanted = None
        if len(words) > 2 and words[-2] == "raises":
            words, wanted = words[:-2], words[-1]
        try:
            self._call(words[0], list(words[1:]))
        except SstpsocksError as error:
            if type(error).__name__ != wanted:
                raise self._run.fail(f"the call raised {type(error).__name__}: {error}") from error
            return
        if wanted is not None:
            raise self._run.fail(f"the call did not raise {wanted}")

    def _call(self, name: str, arguments: list[str]) -> None:
        run, peer, now = self._run, self._run.peer, self._run.now
        match name:
            case "connect":
                address = ip_address(arguments[0]) if arguments else peer.address
                peer.connection = run.stack.connect_tcp(address, peer.port, now)
                peer.local_port = peer.connection.local[1]
            case "listen":
                port = int(arguments[0])
                backlog = int(arguments[2]) if len(arguments) > 2 else 128
                self._listener = run.stack.listen_tcp(port, backlog=backlog)
                peer.local_port = port
            case "accept":
                self._accept(arguments)
            case "unlisten":
                self._required_listener().close(now)
            case "send":
                self._send(arguments)
            case "receive":
                self._receive(int(arguments[0]))
            case "shutdown":
                self._connection().shutdown(now)
            case "close":
                self._connection().detach(now)
            case "abort":
                self._connection().abort(now)
            case "nagle":
                self._connection().set_nagle(arguments[0] == "on", now)
            case "user-timeout":
                self._connection().set_user_timeout(float(arguments[0]))
            case _:
                self._other_call(name, arguments)

    def _other_call(self, name: str, arguments: list[str]) -> None:
        run = self._run
        match name:
            case "udp":
                # udp PORT [from PORT]: an endpoint connected to that port of the peer
                local = int(arguments[2]) if len(arguments) > 2 else None
                self._udp = run.stack.open_udp(run.peer.address, int(arguments[0]), local_port=local)
            case "udp-bind":
                self._udp = run.stack.open_udp(local_port=int(arguments[0]))
            case "udp-send":
                udp = self._required_udp()
                payload = pattern(0, int(arguments[0]))
                if udp.remote is None:
                    udp.send_to(payload, (run.peer.address, int(arguments[2])))
                else:
                    udp.send(payload)
            case "udp-receive":
                got = self._required_udp().receive()
                wanted = None if arguments[0] == "nothing" else pattern(0, int(arguments[0]))
                if got != wanted:
                    raise run.fail(f"the user received {None if got is None else len(got)} octets")
            case "ping":
                size = int(arguments[0])
                address = ip_address(arguments[1]) if len(arguments) > 1 else run.peer.address
                self._echo = run.stack.send_echo(address, pattern(0, size), run.now)
            case _:
                raise ScriptError(f"no such call: {name}")

    def _accept(self, arguments: list[str]) -> None:
        connection = self._required_listener().accept()
        if arguments == ["nothing"]:
            if connection is not None:
                raise self._run.fail("there was a connection to accept")
            return
        if connection is None:
            raise self._run.fail("there was no connection to accept")
        if connection.remote != self._run.peer.endpoint:
            raise self._run.fail(f"accepted {connection!r}")
        self._run.peer.connection = connection

    def _send(self, arguments: list[str]) -> None:
        peer = self._run.peer
        size = int(arguments[0])
        accepted = self._connection().send(pattern(peer.written + 1, size), self._run.now)
        peer.written += accepted
        wanted = int(arguments[2]) if len(arguments) > 2 else size
        if accepted != wanted:
            raise self._run.fail(f"send() accepted {accepted} octets, not {wanted}")

    def _receive(self, count: int) -> None:
        peer = self._run.peer
        connection = self._connection()
        data = b"".join(connection.pieces())[:count]
        if data != pattern(peer.read + 1, count):
            raise self._run.fail(f"the user read {len(data)} octets, or not what was sent ({connection.readable})")
        peer.read += count
        connection.consume(count, self._run.now)

    # --- What must be true -------------------------------------------------------------------------------------------

    def check(self, verb: str, words: tuple[str, ...]) -> None:
        """Run a line that looks at the stack."""
        run = self._run
        match verb:
            case "state":
                self._same("state", self._connection().state.value, words[0])
            case "error":
                error = self._connection().error
                self._same("error", "none" if error is None else type(error).__name__, words[0])
            case "readable":
                self._same("readable", self._connection().readable, words[0])
            case "eof":
                self._same("eof", "yes" if self._connection().eof else "no", words[0] if words else "yes")
            case "unacknowledged":
                self._same("unacknowledged", self._connection().unsent_and_unacknowledged, words[0])
            case "counter":
                self._same(words[0], getattr(run.stack.counters, words[0]), words[1])
            case "connections":
                self._same("connections", len(run.stack.connections), words[0])
            case "local-port":
                self._same("local port", run.peer.local_port, words[0])
            case "iss-step":
                # How far our ISS moved from the SYN before the last one to this peer
                self._same("iss-step", run.peer.iss_step, words[0])
            case "udp-error":
                error = self._required_udp().error
                self._same("udp-error", "none" if error is None else type(error).__name__, words[0])
            case "ping":
                self._same("ping", self._ping_state(), words[0])
            case _:
                raise ScriptError(f"no such verb: {verb}")

    def _ping_state(self) -> str:
        if self._echo is None:
            raise ScriptError("no ping was sent")
        if self._echo.error is not None:
            return type(self._echo.error).__name__
        return "replied" if self._echo.replied else "waiting"

    def _same(self, what: str, actual: object, wanted: str) -> None:
        if isinstance(actual, int):
            if number_matches(wanted, actual):
                return
        elif actual == wanted:
            return
        raise self._run.fail(f"{what}: expected {wanted}, is {actual}")

    def _connection(self) -> TcpConnection:
        if self._run.peer.connection is None:
            raise ScriptError("there is no connection yet")
        return self._run.peer.connection

    def _required_listener(self) -> TcpListener:
        if self._listener is None:
            raise ScriptError("nothing listens")
        return self._listener

    def _required_udp(self) -> UdpEndpoint:
        if self._udp is None:
            raise ScriptError("no UDP endpoint is open")
        return self._udp
