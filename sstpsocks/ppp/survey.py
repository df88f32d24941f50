"""A look at what a PPP server offers, without logging in.

RFC 1661 section 6.2: the server names one authentication protocol in its LCP Configure-Request, and a Configure-Nak
suggests another. The survey suggests one after the other and acknowledges none, so that LCP never opens, no
authentication phase begins and no account can be locked. What the server asks for meanwhile, and in which order, is
what it has; when there is nothing left to suggest, the survey is done. Sans IO; it stands where PppPeer would.
"""

from __future__ import annotations

from ..errors import RemoteProtocolError
from .auth import AuthMethod
from .auth_option import EAP_VALUE, MAX_AUTHENTICATION_NAKS, OPTION_VALUES, describe
from .lcp import LcpOption
from .packet import PROTOCOL_LCP, Code, ControlPacket, Option, build_frame, options_to_bytes, parse_frame, parse_options

# Suggested in this order: first what does not show the server the password.
_SUGGESTIONS = (
    OPTION_VALUES[AuthMethod.MSCHAPV2],
    EAP_VALUE,
    OPTION_VALUES[AuthMethod.CHAP_MD5],
    OPTION_VALUES[AuthMethod.PAP],
)


class LcpSurvey:
    """The client's end of a link that is never meant to open. Give it frames, send its own, until ``done``."""

    def __init__(self, mru: int) -> None:
        self.options: tuple[Option, ...] = ()
        """What the server's first Configure-Request holds."""
        self.demands: list[bytes] = []
        """The values of its Authentication-Protocol options, in the order in which it asked for them."""
        self.asks_for_none = False
        """Whether it let the authentication go, or never wanted one."""
        self.gave_up = False
        """Whether it ended PPP before we did, as one does that is asked for what it does not have."""
        self.ended = False
        """Whether PPP has ended, on whichever end's wish."""
        self.done = False
        """Whether there is nothing more to learn."""
        self._mru = mru
        self._identifier = 0
        self._suggested: set[bytes] = set()
        self._naks = 0
        self._frames: list[bytes] = []

    def __repr__(self) -> str:
        return f"<LcpSurvey {'done' if self.done else 'asking'}, demands {[describe(value) for value in self.demands]}>"

    @property
    def mru(self) -> int | None:
        """The largest Information field, in octets, that the server says it takes; None: it does not say."""
        value = next((option.value for option in self.options if option.type == LcpOption.MRU), None)
        return int.from_bytes(value, "big") if value is not None else None

    @property
    def methods(self) -> tuple[str, ...]:
        """What it asked for, in words."""
        return tuple(describe(value) for value in self.demands)

    def start(self) -> None:
        """Queue our Configure-Request: SoftEther waits for it before it sends its own."""
        self._request((Option(LcpOption.MRU, self._mru.to_bytes(2, "big")),))

    def close(self) -> None:
        """Queue the Terminate-Request that ends it in order (RFC 1661 section 5.5)."""
        self.done = True
        if not self.ended:
            self._send(Code.TERMINATE_REQUEST, self._next_identifier())

    def lower_layer_down(self) -> None:
        """Learn that the server has ended what carries PPP, or PPP itself."""
        self.gave_up = self.gave_up or not self.done
        self.ended = self.done = True

    def receive_frame(self, frame: bytes) -> None:
        """Take one PPP frame; what cannot be read is dropped. Never raises because of what is in it."""
        try:
            protocol, offset = parse_frame(frame)
            if protocol == PROTOCOL_LCP:
                self._receive(ControlPacket.parse(frame[offset:]))
        except RemoteProtocolError:
            return

    def frames_to_send(self) -> list[bytes]:
        """Return the frames to send now and forget them."""
        frames, self._frames = self._frames, []
        return frames

    def _receive(self, packet: ControlPacket) -> None:
        match packet.code:
            case Code.CONFIGURE_REQUEST:
                if not self.done:
                    self._take_request(packet.identifier, parse_options(packet.data))
            case Code.CONFIGURE_NAK | Code.CONFIGURE_REJECT:
                if not self.done and packet.identifier == self._identifier:
                    self._request(())
            case Code.TERMINATE_REQUEST:
                self._send(Code.TERMINATE_ACK, packet.identifier)
                self.lower_layer_down()
            case Code.TERMINATE_ACK:
                self.ended = self.done = True

    def _take_request(self, identifier: int, options: tuple[Option, ...]) -> None:
        self.options = self.options or options
        demand = next((option.value for option in options if option.type == LcpOption.AUTHENTICATION), None)
        if demand is None:
            self.asks_for_none = self.done = True
            return
        if demand not in self.demands:
            self.demands.append(demand)
        suggestion = next((v for v in _SUGGESTIONS if v not in self.demands and v not in self._suggested), None)
        if suggestion is None or self._naks >= MAX_AUTHENTICATION_NAKS:
            self.done = True
            return
        self._suggested.add(suggestion)
        self._naks += 1
        self._send(Code.CONFIGURE_NAK, identifier, options_to_bytes((Option(LcpOption.AUTHENTICATION, suggestion),)))

    def _request(self, options: tuple[Option, ...]) -> None:
        self._send(Code.CONFIGURE_REQUEST, self._next_identifier(), options_to_bytes(options))

    def _next_identifier(self) -> int:
        self._identifier = (self._identifier + 1) & 0xFF
        return self._identifier

    def _send(self, code: Code, identifier: int, data: bytes = b"") -> None:
        self._frames.append(build_frame(PROTOCOL_LCP, ControlPacket(code, identifier, data).to_bytes()))
