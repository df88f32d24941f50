"""One question, asked of one name server after the other until somebody has a usable answer.

A question is sent again after a second and after three (UDP loses datagrams). When a server says nothing for its share
of the time, or says that it failed, the next one is asked. Every question has a random id and a port of its own, and
only an answer from the server's address that repeats id and question counts (RFC 5452 section 9.1).
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
import trio

from ..errors import NameLookupFailed, SstpsocksError, TunnelDown
from ..tunnel.network import IPAddress

if TYPE_CHECKING:
    from dns._asyncbackend import Backend  # where mypy sees it; at run time dns.asyncbackend has it, too

RESEND_AFTER = (1.0, 2.0)  # seconds between sending the same question to the same server
SILENT_SERVER_LAST = 60.0  # seconds that a server which said nothing is asked only after the others
DNS_PORT = 53

ResultT = TypeVar("ResultT")
Judge = Callable[[dns.message.Message], ResultT]

_logger = logging.getLogger("sstpsocks.dns")


class UnusableAnswer(Exception):
    """One server did not give a usable answer; the text says why."""


class ServerQueue:
    """Asks servers in their order, those that lately said nothing last."""

    def __init__(self, backend: Backend, *, timeout: float = 5.0, who: str = "the tunnel's DNS") -> None:
        self._backend = backend
        self._timeout = timeout
        self._who = who
        self._silent_until: dict[IPAddress, float] = {}

    def clear(self) -> None:
        """Forget who was silent."""
        self._silent_until.clear()

    async def ask(
        self, servers: tuple[IPAddress, ...], query: dns.message.Message, judge: Judge[ResultT]
    ) -> ResultT:  # fmt: skip
        """Return what ``judge`` makes of the first answer that it does not call UnusableAnswer.

        The caller bounds the time by a cancel scope. Raises NameLookupFailed, or TunnelDown when the tunnel goes away.
        """
        now = trio.current_time()
        # sorted() is stable: the tunnel's order, but servers that lately said nothing come last.
        ordered = sorted(servers, key=lambda server: self._silent_until.get(server, -math.inf) > now)
        question = query.question[0]
        problems: list[str] = []
        for number, server in enumerate(ordered):
            try:
                with trio.fail_after(self._share(len(ordered) - number)):
                    result = judge(await self._ask(server, query))
            except trio.TooSlowError:
                self._silent_until[server] = trio.current_time() + SILENT_SERVER_LAST
                problems.append(f"{server} did not answer")
            except UnusableAnswer as error:
                problems.append(f"{server} {error}")
            else:
                self._silent_until.pop(server, None)
                return result
            _logger.debug("question %s %s: %s", question.name, dns.rdatatype.to_text(question.rdtype), problems[-1])
        name = question.name.to_text(omit_final_dot=True)
        raise NameLookupFailed(f"{self._who} could not look up {name}: {'; '.join(problems)}")

    def _share(self, servers_left: int) -> float:
        """Return how many seconds the next server has: a fair share of what the look-up has left.

        The last one has all of it, but never so much that the look-up ends before its silence was noted.
        """
        left = trio.current_effective_deadline() - trio.current_time()
        if math.isinf(left):
            return self._timeout
        if servers_left == 1:
            return max(0.0, left - 0.01)
        return max(0.0, min(self._timeout, left / servers_left))

    async def _ask(self, server: IPAddress, query: dns.message.Message) -> dns.message.Message:
        """Ask one server, by UDP and where the answer does not fit by TCP; returns a response to just this question."""
        try:
            try:
                return await self._ask_by_udp(server, query)
            except dns.message.Truncated:
                return await dns.asyncquery.tcp(query, str(server), port=DNS_PORT, backend=self._backend)
        except TunnelDown:
            raise
        except EOFError:
            raise UnusableAnswer("ended the connection without an answer") from None
        except (SstpsocksError, trio.BrokenResourceError, OSError) as error:
            raise UnusableAnswer(f"could not be asked ({str(error) or 'the connection broke'})") from None
        except (dns.exception.DNSException, ValueError) as error:
            raise UnusableAnswer(f"sent a malformed answer ({type(error).__name__})") from None

    async def _ask_by_udp(self, server: IPAddress, query: dns.message.Message) -> dns.message.Message:
        """Send the question until an answer to it comes; what is no answer to it is ignored (RFC 5452 section 9.1)."""
        family = socket.AF_INET if server.version == 4 else socket.AF_INET6
        datagrams = await self._backend.make_socket(  # type: ignore[no-untyped-call]  # dnspython's own
            family, socket.SOCK_DGRAM, 0, None, (str(server), DNS_PORT), self._timeout
        )
        async with datagrams:
            for interval in (*RESEND_AFTER, math.inf):
                with trio.move_on_after(interval):
                    return await dns.asyncquery.udp(
                        query,
                        str(server),
                        port=DNS_PORT,
                        sock=datagrams,
                        raise_on_truncation=True,
                        ignore_errors=True,
                        ignore_unexpected=True,
                    )
        raise UnusableAnswer("did not answer")
