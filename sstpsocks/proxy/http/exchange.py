"""One request to a server and its response, each passed on as it comes.

Two directions at once: the task that calls run() passes the response on, another one the request's body, and then it
watches the client. Each waits where its receiver does not take what it has, so that nothing piles up here. A server may
answer before it has the whole request; then both connections end behind that answer.
"""

from __future__ import annotations

from enum import Enum

import trio

from ...tunnel.network import TunnelStream
from . import onward
from .answers import ENDED_WITHOUT_ANSWER, Answer, answer_to_bad_response, answer_to_message_error
from .body import write_chunk, write_last_chunk
from .client import READ_SIZE, Client
from .forwarding import ForwardRequest, ResponsePlan, plan_response, write_interim, write_switching
from .head import MessageError
from .machine import BodyReceived, RequestEnded, State
from .target import Authority

HALF_CLOSED_PATIENCE = 60.0
"""Seconds without a byte from the server after which a client that ended its direction is taken for gone."""


class ServerConnection:
    """A connection to a server, for the requests of one client."""

    def __init__(self, stream: TunnelStream, authority: Authority) -> None:
        self.stream = stream
        self.authority = authority
        self.machine = onward.OnwardMachine()
        self.last_used = trio.current_time()

    def fits(self, request: ForwardRequest, certain_for: float) -> bool:
        """Whether this request can go out on it.

        One that may not be repeated goes only on a connection that was used ``certain_for`` seconds ago or later: a
        server ends idle ones when it likes, and would perhaps do so just now.
        """
        if self.authority != request.authority or self.stream.failure is not None or self.stream.at_eof:
            return False
        if self.stream.readable_pieces():
            return False  # it said something that was not asked for
        return request.repeatable or trio.current_time() - self.last_used < certain_for


class Outcome(Enum):
    """How an exchange ended."""

    ANSWERED = "answered"  # both connections may go on, as far as they say so
    LAST = "last"  # answered, and the client's connection ends now
    SWITCHED = "switched"  # to another protocol
    UNANSWERED = "unanswered"  # the server ended the connection without a byte
    REFUSED = "refused"  # `answer` is for the client, which has not got one yet
    BROKEN = "broken"  # somebody is gone, or said what cannot be passed on, within the response


class Exchange:
    """Passes one request and its response on. ``reusable``: whether the server's connection can serve another one."""

    def __init__(self, client: Client, server: ServerConnection, request: ForwardRequest) -> None:
        self._client = client
        self._server = server
        self._request = request
        self._scope = trio.CancelScope()
        self._plan: ResponsePlan | None = None
        self._failed: Outcome | None = None
        self.answer: Answer = ENDED_WITHOUT_ANSWER
        self.reusable = False

    async def run(self) -> Outcome:
        """Return how it ended. Raises nothing of its own."""
        outcome = Outcome.BROKEN
        head = self._server.machine.send_request(self._request)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._upload, head)
                try:
                    outcome = await self._download()
                except MessageError as error:
                    outcome = self._refuse(answer_to_bad_response(error))
                except (OSError, trio.ClosedResourceError):
                    outcome = Outcome.BROKEN
                nursery.cancel_scope.cancel()
        return self._failed or outcome

    # The request

    async def _upload(self, head: bytes) -> None:
        client, stream = self._client, self._server.stream
        try:
            await stream.send_all(head)
            while client.machine.state is not State.DONE:
                event = await client.next_event()
                if isinstance(event, BodyReceived):
                    await stream.send_all(write_chunk(event.data) if self._request.chunked else event.data)
                elif isinstance(event, RequestEnded) and self._request.chunked:
                    await stream.send_all(write_last_chunk(event.trailers))
            await self._watch()
        except MessageError as error:
            self._end(self._refuse(answer_to_message_error(error)))
        except trio.BrokenResourceError:
            pass  # perhaps the server has answered before; the other task will see
        except (OSError, trio.ClosedResourceError):
            self._end(Outcome.BROKEN)

    async def _watch(self) -> None:
        """See whether the client goes away; what it sends ahead waits in its machine."""
        client = self._client
        while not client.machine.client_ended:
            if client.machine.buffered >= READ_SIZE:
                return
            await client.read()
        # It may have ended its direction only. Whether it reads is not known before something is sent to it.
        self._be_patient()

    def _be_patient(self) -> None:
        if self._client.machine.client_ended:
            self._scope.deadline = trio.current_time() + HALF_CLOSED_PATIENCE

    def _end(self, outcome: Outcome) -> None:
        self._failed = outcome
        self._scope.cancel()

    def _refuse(self, answer: Answer) -> Outcome:
        """The client gets this answer, unless it has got the beginning of another one."""
        self.answer = answer
        return Outcome.REFUSED if self._plan is None else Outcome.BROKEN

    # The response

    async def _download(self) -> Outcome:
        server, client = self._server, self._client
        while True:
            event = server.machine.next_event()
            if event is None:
                try:
                    data = await server.stream.receive_some(READ_SIZE)
                except trio.BrokenResourceError:
                    return self._cut()
                if not data and not server.machine.answered:
                    return Outcome.UNANSWERED
                server.machine.receive_data(data)
                self._be_patient()
            elif isinstance(event, onward.DataReceived):
                await client.send(self._encode(event.data))
            elif isinstance(event, onward.InterimReceived):
                if self._request.head.minor > 0:
                    # RFC 9110 section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
                    await client.send(write_interim(event.head))
            elif isinstance(event, onward.SwitchingReceived):
                await client.send(write_switching(event.head) + server.machine.take_rest())
                return Outcome.SWITCHED
            elif isinstance(event, onward.ResponseReceived):
                plan = plan_response(self._request, event.head, event.body)
                self._plan = plan
                await client.send(plan.head)
            else:
                return await self._complete(event)

    def _encode(self, data: bytes) -> bytes:
        return write_chunk(data) if self._plan is not None and self._plan.chunked else data

    async def _complete(self, event: onward.ResponseEnded) -> Outcome:
        plan = self._plan
        if plan is not None and plan.chunked:
            await self._client.send(write_last_chunk(event.trailers))
        whole = self._client.machine.state is State.DONE
        self.reusable = whole and self._server.machine.keep_alive
        self._server.last_used = trio.current_time()
        return Outcome.ANSWERED if whole and plan is not None and plan.keep_alive else Outcome.LAST

    def _cut(self) -> Outcome:
        """The connection to the server broke."""
        if not self._server.machine.answered:
            return Outcome.UNANSWERED
        return self._refuse(Answer(502, "sstpsocks: the connection to the server broke.", "http_response_incomplete"))
