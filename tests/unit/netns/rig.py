"""A namespace without a kernel: a program's own TCP/IP stack behind a pair of sockets in place of the device.

The program's stack is ours as well; what it says is judged packet by packet in tests/unit/net/test_gateway.py. Outside
is a pair of stacks: ``left`` is the tunnel's end here, ``right`` a host behind the server.
"""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import dns.rrset
import trio
import trio.testing

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.dns.desk import Desk
from sstpsocks.dns.replies import make_reply
from sstpsocks.errors import DeniedByRule, SstpsocksError, TunnelDown
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.netns.nat import Nat
from sstpsocks.netns.plan import ADDRESS, ADDRESS6
from sstpsocks.proxy.datagrams import DialledDatagrams
from sstpsocks.tunnel.datagrams import UdpPort
from sstpsocks.tunnel.network import IPAddress, TunnelListener, TunnelStream
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.stack_pair import RIGHT, StackPair

MTU = 1400
ANSWER = "10.9.8.7"


class Outside(StackPair):
    """The tunnel and a host behind it; an Outlet, and what else the NAT is given."""

    def __init__(self, config: StackConfig | None = None) -> None:
        super().__init__(config)
        self.refuse: SstpsocksError | None = None
        """What dialling, sending and pinging raise."""
        self.slow = False
        """Whether begin() says that it takes waiting."""
        self.dialled: list[tuple[str | IPAddress, int]] = []
        self.pinged: list[tuple[IPAddress, int]] = []
        self.ports: list[UdpPort] = []
        self.together_calls = 0

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        self.dialled.append((host, port))
        if self.refuse is not None and not self.slow:
            raise self.refuse
        return None if self.slow else self._connect(port)

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        await trio.sleep(0.5)
        if self.refuse is not None:
            raise self.refuse
        stream = self._connect(port)
        await stream.wait_connected()
        return stream

    def _connect(self, port: int) -> TcpStream:
        stream = TcpStream(self.left.connect_tcp(RIGHT, port, self.now()), self)
        self.flush()
        return stream

    def open_datagrams(self) -> DialledDatagrams:
        if isinstance(self.refuse, TunnelDown):
            raise self.refuse
        self.ports.append(UdpPort(self.left.open_udp(), self, lambda address: None))
        return DialledDatagrams(self.ports[-1], self._where, self._look_up)

    def _where(self, host: str | IPAddress, port: int) -> IPAddress | None:
        if self.refuse is not None:
            raise self.refuse
        assert not isinstance(host, str)
        return None if self.slow else host

    async def _look_up(self, host: str | IPAddress, port: int) -> IPAddress:
        await trio.sleep(0.5)
        assert not isinstance(host, str)
        return host

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        raise DeniedByRule("nobody listens")

    async def resolve(self, name: str) -> list[IPAddress]:
        raise DeniedByRule("nobody asks by name")

    def has_ipv6(self) -> bool:
        return True

    def together(self, action: Callable[[], None]) -> None:
        self.together_calls += 1
        action()

    async def ping(self, address: IPAddress, size: int) -> float:
        self.pinged.append((address, size))
        await trio.sleep(0.5)
        if self.refuse is not None:
            raise self.refuse
        return 0.5

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        await trio.sleep(0.5)
        question = query.question[0]
        return make_reply(query, dns.rcode.NOERROR, answer=[dns.rrset.from_text(question.name, 60, "IN", "A", ANSWER)])


class Program:
    """A program's side of the device: a stack, and the pump that its streams need."""

    def __init__(self, descriptor: socket.socket) -> None:
        self.stack = Stack(ADDRESS, mtu=MTU, entropy=SeededEntropy("program"))
        self.stack.add_address(ADDRESS6, 128)
        self.device = descriptor
        self._in_turn = False
        self._sleep = trio.CancelScope()

    def now(self) -> float:
        return trio.current_time()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while True:
                await trio.lowlevel.wait_readable(self.device)
                packets = []
                while True:
                    try:
                        packets.append(self.device.recv(70_000))
                    except BlockingIOError:
                        break
                    if not packets[-1]:
                        nursery.cancel_scope.cancel()
                        return
                for packet in packets:
                    self.stack.receive_packet(packet, self.now())
                self.flush()

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._sleep:
                await trio.sleep_forever()
            self.stack.handle_timer(self.now())
            self.flush()

    def _deadline(self) -> float:
        deadline = self.stack.poll_at()
        return math.inf if deadline is None else deadline

    def flush(self) -> None:
        if self._in_turn:
            return
        self._in_turn = True
        try:
            while True:
                for flow in self.stack.take_dirty():
                    if flow.notify is not None:
                        flow.notify()
                packets = self.stack.packets_to_send(self.now(), 64 * 1024)
                if not packets:
                    return
                for packet in packets:
                    try:
                        self.device.send(packet)
                    except (BlockingIOError, BrokenPipeError):
                        pass  # lost, as on any link
        finally:
            self._in_turn = False
            self._sleep.deadline = self._deadline()

    async def connect(self, address: IPAddress = RIGHT, port: int = 80) -> TcpStream:
        """Connect as a program does, and wait until that stands. Raises what the kernel would say."""
        stream = TcpStream(self.stack.connect_tcp(address, port, self.now()), self)
        self.flush()
        await stream.wait_connected()
        return stream

    def udp(self) -> UdpPort:
        return UdpPort(self.stack.open_udp(), self, lambda address: None)


class Rig:
    """Program, NAT and outside."""

    def __init__(self, program: Program, nat: Nat, outside: Outside, descriptor: int) -> None:
        self.program = program
        self.nat = nat
        self.outside = outside
        self.descriptor = descriptor
        self.served = trio.Event()

    async def serve(self) -> None:
        await self.nat.serve(self.descriptor, MTU)
        self.served.set()


@asynccontextmanager
async def rig(*, config: StackConfig | None = None, max_connections: int = 1000) -> AsyncIterator[Rig]:
    """Everything, running."""
    if sys.platform == "win32":
        raise OSError("Linux only")
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (theirs, ours):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    outside = Outside(config)
    program = Program(theirs)
    with theirs:
        async with trio.open_nursery() as nursery:
            nat = Nat(outside, Desk(outside), nursery, max_connections=max_connections)
            it = Rig(program, nat, outside, ours.detach())
            nursery.start_soon(outside.run)
            nursery.start_soon(it.serve)
            nursery.start_soon(program.run)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(3600):
                yield it
            nursery.cancel_scope.cancel()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
