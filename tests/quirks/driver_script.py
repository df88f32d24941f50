"""Transcripts played against the tunnel's driver: TLS records to and from a transport, its turns, events and stack."""

from __future__ import annotations

from typing import Any

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.link import LinkEvent, LinkUp, PhaseEntered
from sstpsocks.net.stack import Stack
from sstpsocks.ppp.auth import AuthMethod
from sstpsocks.tunnel.driver import Driver
from sstpsocks.tunnel.tls import TlsEngine
from tests.helpers.memory_transport import transport_pair
from tests.helpers.tls import shake_hands

from .server_script import ServerScript


class DriverScript(ServerScript):
    """A script whose client is a driver with its link, over TLS in memory."""

    def __init__(self, engines: tuple[TlsEngine, TlsEngine], *methods: AuthMethod, **config: Any) -> None:
        """``engines``: the client's and the server's, before their handshake."""
        super().__init__(*methods, **config)
        shake_hands(*engines)
        self._engine = engines[1]
        ours, self._transport = transport_pair()
        self.driver = _Driver(self, ours, engines[0])
        self.driver.flush()

    def packet(self, packet: bytes, now: float, *, outbound: bool) -> None:
        """As the driver's tap: note what comes through."""
        if not outbound:
            self.packets.append(packet)

    def control(self, packet: bytes, now: float, *, outbound: bool) -> None:
        """As the driver's tap: what the server sends and gets is noted at its own end."""

    def on_event(self, event: LinkEvent) -> None:
        """As the driver's owner."""
        if isinstance(event, LinkUp):
            self.driver.stack = Stack(event.local, mtu=1400, entropy=SeededEntropy("stack"))
        if not isinstance(event, PhaseEntered):
            self._events.append(event)

    def receive(self, data: bytes) -> None:
        """Let the driver read octets of the server's stream from its transport."""
        self._engine.write(data)
        self._transport.send_nowait(memoryview(self._engine.ciphertext_to_send()))
        assert self.driver._read() > 0

    def sent(self) -> list[str]:
        """What the driver has written and no line asked for yet."""
        self.driver.flush()
        if data := self._transport.receive_nowait():
            self._engine.feed(data)
            self._stream.feed(self._engine.read_available())
        return super().sent()

    def _collect(self) -> None:
        """Nothing is left to be collected: the driver writes and tells by itself."""

    def _let_timers_act(self) -> None:
        self.driver._turn(self.driver._handle_timers)


class _Driver(Driver):
    """One whose clock is the script's."""

    def __init__(self, script: DriverScript, transport: Any, engine: TlsEngine) -> None:
        self._script = script
        super().__init__(transport, engine, script.link, on_event=script.on_event, tap=script)  # type: ignore[arg-type]  # only packet() is used

    def now(self) -> float:
        return self._script.now
