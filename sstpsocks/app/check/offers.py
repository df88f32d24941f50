"""What a server offers behind HTTP: SSTP's hashes and what its PPP asks for, looked at without logging in."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from ...errors import CallRejected, RemoteProtocolError, TunnelError
from ...ppp.lcp import LcpOption
from ...ppp.packet import Option
from ...ppp.survey import LcpSurvey
from ...sstp.client import SstpClient
from ...sstp.events import CallAccepted, CallEnded, CallEnding, FrameReceived
from ...sstp.packet import HashProtocol
from ...tunnel.settings import TunnelSettings
from ...tunnel.tls import TlsStream
from .report import Value

# A server that does not answer a Nak has nothing more to say. RFC 1661's restart timer is 3 s.
SILENCE = 4.0
FAREWELL = 1.5

_OPTION_NAMES = {
    LcpOption.MRU: "MRU",
    LcpOption.ACCM: "ACCM",
    LcpOption.AUTHENTICATION: "authentication",
    LcpOption.MAGIC_NUMBER: "magic number",
    LcpOption.PFC: "protocol field compression",
    LcpOption.ACFC: "address and control field compression",
    13: "callback",  # RFC 1570 section 2.3
    17: "multilink MRRU",  # RFC 1990 section 5.1
    19: "endpoint discriminator",  # RFC 1990 section 5.1.3
}


@dataclass(frozen=True, slots=True)
class Offers:
    """What the survey has found."""

    hashes: HashProtocol
    survey: LcpSurvey

    def sstp_facts(self) -> dict[str, Value]:
        """Return the facts about SSTP."""
        names = [f"{flag.name}" for flag in (HashProtocol.SHA256, HashProtocol.SHA1) if flag & self.hashes]
        return {"hashes": f"0x{int(self.hashes):02x} ({', '.join(names) or 'none known'})"}

    def ppp_facts(self) -> dict[str, Value]:
        """Return the facts about PPP."""
        survey = self.survey
        methods = list(survey.methods) + ["none at all"] * survey.asks_for_none
        return {
            "authentication, in the order asked for": methods,
            "MRU": survey.mru,
            "options": [_option(option) for option in survey.options],
            "ended by the server": survey.gave_up,
        }


def _option(option: Option) -> str:
    name = _OPTION_NAMES.get(option.type, f"option {option.type}")
    # A random number says nothing, and it would make two reports differ.
    value = "" if option.type == LcpOption.MAGIC_NUMBER else option.value.hex()
    return f"{name} {value}".rstrip()


async def look_at_offers(stream: TlsStream, first_data: bytes, settings: TunnelSettings) -> Offers:
    """Make an SSTP call, let PPP say what it wants, and hang up before anybody logs in.

    Raises CallRejected when the call is refused, and TunnelError when nothing comes back.
    """
    look = _Look(stream, settings)
    await look.run(first_data)
    await look.farewell()
    if look.sstp.offered_hashes is None:
        raise TunnelError(f"server {settings.server}, SSTP: no answer to the call within {settings.timeouts.lcp:g} s")
    return Offers(look.sstp.offered_hashes, look.survey)


class _Look:
    """One call."""

    def __init__(self, stream: TlsStream, settings: TunnelSettings) -> None:
        self._stream = stream
        self._settings = settings
        self._accepted = False
        self.sstp = SstpClient(stream.engine.peer_certificate_der())
        self.survey = LcpSurvey(settings.mtu)

    async def run(self, first_data: bytes) -> None:
        self.sstp.connect(trio.current_time())
        self._take(first_data)
        with trio.move_on_after(self._settings.timeouts.lcp):
            while not self.survey.done:
                await self._send()
                with trio.move_on_after(SILENCE if self.survey.demands else self._settings.timeouts.lcp) as quiet:
                    data = await self._receive()
                if quiet.cancelled_caught or not data:
                    return
                self._take(data)

    async def farewell(self) -> None:
        """End PPP and SSTP in order, as far as the server takes part in it."""
        with trio.move_on_after(FAREWELL):
            if self._accepted and not self.sstp.closed:
                self.survey.close()
                await self._send()
                while not self.survey.ended and not self.sstp.closed:
                    data = await self._receive()
                    if not data:
                        return
                    self._take(data)
                if not self.sstp.closed:
                    self.sstp.disconnect(trio.current_time())
                await self._send()

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive_some()
        except trio.BrokenResourceError:
            return b""

    async def _send(self) -> None:
        now = trio.current_time()
        for frame in self.survey.frames_to_send():
            if not self.sstp.closed:
                self.sstp.send_frame(frame, now)
        data = b"".join(self.sstp.data_to_send(now))
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            return  # what the server has to say about it is read next

    def _take(self, data: bytes) -> None:
        try:
            self.sstp.receive_data(data, trio.current_time())
        except RemoteProtocolError as error:
            raise CallRejected(f"server {self._settings.server}, SSTP: {error}", hint=error.hint) from error
        while (event := self.sstp.next_event()) is not None:
            match event:
                case CallAccepted():
                    self._accepted = True
                    self.survey.start()
                case FrameReceived(frame):
                    self.survey.receive_frame(frame)
                case CallEnding() | CallEnded():
                    if not self._accepted:
                        raise CallRejected(event.text, sstp_status=event.status)
                    self.survey.lower_layer_down()
