"""The network-layer protocols of one link: IPCP and IPV6CP in the phase of RFC 1661 section 3.7.

Theory of operation. Two things must have happened before an NCP may speak: PPP is authenticated, which is the phase
machine's to say with up(), and SSTP has sent its CALL_CONNECTED (MS-SSTP 3.2.5.2), which is the owner's with start().
up() can come again, since LCP may be renegotiated; start() comes once. The link lives by IPCP: when it fails or takes
too long, so does PPP, which step() and handle_timer() report. IPV6CP begins after it, and whatever happens to it means
at most that there is no IPv6.
"""

from __future__ import annotations

from collections.abc import Callable

from ..base.entropy import Entropy
from ..errors import NegotiationFailed, TunnelError
from .automaton import Event
from .config import PppConfig
from .control import LayerDown, LayerFailed, LayerFinished, LayerUp, PeerTerminated, Signal
from .events import Ipv4Closed, Ipv4Opened, Ipv6Closed, Ipv6Opened, PppEvent
from .ipcp import Ipcp, IpcpOption
from .ipv6cp import Ipv6cp
from .packet import PROTOCOL_IPCP, PROTOCOL_IPV6CP, build_frame
from .texts import no_answer, terminate_text

# A peer may send its first packets of an NCP before start(). A handful is all that an honest one has to say.
MAX_HELD_PACKETS = 16


class NetworkProtocols:
    """IPCP and, if it is wanted, IPV6CP. Told by the phase machine, tells events to ``emit``."""

    def __init__(self, config: PppConfig, entropy: Entropy, emit: Callable[[PppEvent], None]) -> None:
        self._config = config
        self._emit = emit
        self._ipcp = Ipcp(config)
        self._ipv6cp = Ipv6cp(config, entropy) if config.ipv6 else None
        self._up = False
        self._ipv6cp_up = False
        self._peer_is_plain = False
        self._ipcp_terminated = False
        self._deadline: float | None = None
        self._held: list[tuple[int, bytes]] = []
        self.started = False
        """Whether start() was called: SSTP is through with its part."""
        self.ipv4_open = False
        """Whether IPv4 packets may pass."""
        self.ipv6_open = False
        """Whether IPv6 packets may pass."""

    def __repr__(self) -> str:
        """Show the state of IPCP, and whether there is IPv6."""
        return f"<NetworkProtocols IPCP {self._ipcp.state.name}{' IPv6' if self.ipv6_open else ''}>"

    @property
    def rejected(self) -> frozenset[int]:
        """The options of IPCP that the peer rejected."""
        return self._ipcp.rejected

    # What the phase machine says.

    def start(self, now: float) -> list[tuple[int, bytes]]:
        """Allow the negotiations; return what came too early, as (protocol, information), to be taken now."""
        self.started = True
        self._ipcp.open(now)
        if self._ipv6cp is not None:
            self._ipv6cp.open(now)
        if not self._up:
            return []
        self._begin(now)
        held, self._held = self._held, []
        return held

    def up(self, peer_mru: int, now: float, *, peer_is_plain: bool) -> None:
        """Learn that PPP is authenticated. ``peer_is_plain``: the peer looks like SoftEther.

        That one knows of one name server only, and each option that it rejects takes a round trip.
        """
        self._up = True
        self._peer_is_plain = peer_is_plain
        if peer_is_plain:
            self._ipcp.leave_out(set(IpcpOption) - {IpcpOption.PRIMARY_DNS})
        self._ipcp.peer_mru = peer_mru
        if self._ipv6cp is not None:
            self._ipv6cp.peer_mru = peer_mru
        if self.started:
            self._begin(now)

    def down(self, reason: str, now: float, *, renegotiated: bool) -> None:
        """Leave the phase: LCP has left the Opened state, for good or to be ``renegotiated``."""
        self._up = False
        self._deadline = None
        self._held.clear()
        self._ipcp.down(now)
        if self._ipv6cp is not None and self._ipv6cp_up:
            self._ipv6cp_up = False
            self._ipv6cp.down(now)
        self.close(reason, renegotiated=renegotiated)

    def close(self, reason: str, *, renegotiated: bool = False) -> None:
        """Let no packets pass any more."""
        self._close_ipv6(reason)
        self._close_ipv4(reason, renegotiated=renegotiated)

    def reject(self, protocol: int, now: float) -> NegotiationFailed | None:
        """Learn that the peer does not speak ``protocol``; returns the error when PPP is of no use without it."""
        if protocol == PROTOCOL_IPCP and self.started:
            message = f"{self._config.peer_name} does not carry IPv4: it rejects IPCP"
            hint = "IPv4 is switched off for remote access there; ask the administrator."
            return NegotiationFailed(message, protocol="ipcp", hint=hint)
        if protocol == PROTOCOL_IPV6CP and self._ipv6cp is not None:
            self._ipv6cp.reject(now)
        return None

    # The contract of a machine, in two protocols.

    def speaks(self, protocol: int) -> bool:
        """Whether packets of ``protocol`` are for receive()."""
        return protocol == PROTOCOL_IPCP or (protocol == PROTOCOL_IPV6CP and self._ipv6cp is not None)

    def receive(self, protocol: int, information: memoryview, now: float) -> bool:
        """Take one packet; returns False when it is to be discarded. Raises RemoteProtocolError likewise."""
        if not self.started:
            if len(self._held) >= MAX_HELD_PACKETS:
                return False
            self._held.append((protocol, bytes(information)))
        elif protocol == PROTOCOL_IPCP:
            self._ipcp.receive_packet(information, now)
        elif self._ipv6cp is not None:
            self._begin_ipv6cp(now)
            self._ipv6cp.receive_packet(information, now)
        return True

    def frames_to_send(self) -> list[bytes]:
        """Return the frames to send now and forget them."""
        frames = [build_frame(PROTOCOL_IPCP, packet) for packet in self._ipcp.packets_to_send()]
        if self._ipv6cp is not None:
            frames += [build_frame(PROTOCOL_IPV6CP, packet) for packet in self._ipv6cp.packets_to_send()]
        return frames

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        times = [self._deadline, self._ipcp.poll_at(), self._ipv6cp.poll_at() if self._ipv6cp is not None else None]
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Let the negotiations go on; overdue() tells when they have taken too long."""
        self._ipcp.handle_timer(now)
        if self._ipv6cp is not None:
            self._ipv6cp.handle_timer(now)

    def overdue(self, now: float) -> NegotiationFailed | None:
        """Return the error of a negotiation that has taken too long."""
        if self._deadline is None or now < self._deadline:
            return None
        return no_answer("ipcp", self._config)

    def step(self, now: float) -> bool | TunnelError:
        """Let one signal of the control protocols act; returns whether there was one, or the error that ends PPP."""
        if (signal := self._ipcp.next_signal()) is not None:
            return self._on_ipcp_signal(signal, now) or True
        if self._ipv6cp is not None and (signal := self._ipv6cp.next_signal()) is not None:
            self._on_ipv6cp_signal(signal, self._ipv6cp, now)
            return True
        return False

    # Inside.

    def _begin(self, now: float) -> None:
        self._deadline = now + self._config.address_timeout
        self._ipcp.up(now)

    def _begin_ipv6cp(self, now: float) -> None:
        """Begin IPV6CP, once IPCP is through or the peer begins.

        SoftEther does one thing after the other, and when it is asked for IPv6 four seconds pass in which nothing else
        does, data included. So it is not asked before IPv4 is there, and if it is to be recognised, not at all.
        """
        if self._ipv6cp is not None and not self._ipv6cp_up:
            self._ipv6cp_up = True
            self._ipv6cp.up(now)

    def _on_ipcp_signal(self, signal: Signal, now: float) -> TunnelError | None:
        match signal:
            case LayerUp():
                self._deadline = None
                self.ipv4_open = True
                ipcp = self._ipcp
                self._emit(Ipv4Opened(ipcp.local, ipcp.peer, ipcp.dns, ipcp.nbns))
                if self._config.ipv6_whatever_it_costs or not self._peer_is_plain:
                    self._begin_ipv6cp(now)
            case LayerDown(cause):
                if cause is not Event.DOWN:
                    self._deadline = now + self._config.address_timeout
                ended = cause in {Event.RTR, Event.RXJ_MINUS}
                verb = "ended" if ended else "renegotiates"
                self._close_ipv4(f"{self._config.peer_name} {verb} IPCP", renegotiated=not ended)
            case PeerTerminated(data, before_open):
                self._ipcp_terminated = True
                if before_open:
                    return self._ipcp_ended(terminate_text(data))
            case LayerFinished():
                return self._ipcp_ended("") if self._ipcp_terminated else no_answer("ipcp", self._config)
            case LayerFailed(error):
                return error
            case _:
                pass  # the others are LCP's
        return None

    def _ipcp_ended(self, text: str) -> NegotiationFailed:
        message = f"{self._config.peer_name} ended IPCP{text}"
        return NegotiationFailed(
            message, protocol="ipcp", hint="It may have no address to give; ask its administrator."
        )

    def _on_ipv6cp_signal(self, signal: Signal, ipv6cp: Ipv6cp, now: float) -> None:
        match signal:
            case LayerUp():
                self.ipv6_open = True
                self._emit(Ipv6Opened(ipv6cp.local_identifier, ipv6cp.peer_identifier))
            case LayerDown(cause):
                ended = "ended" if cause in {Event.RTR, Event.RXJ_MINUS} else "renegotiates"
                self._close_ipv6(f"{self._config.peer_name} {ended} IPV6CP")
            case LayerFailed():
                # No agreement in sight: deaf to it until LCP is negotiated anew.
                ipv6cp.down(now)
                self._close_ipv6(f"{self._config.peer_name} and we did not agree on IPV6CP")
            case _:
                pass  # it has ended or never began: no IPv6

    def _close_ipv4(self, reason: str, *, renegotiated: bool) -> None:
        if self.ipv4_open:
            self.ipv4_open = False
            self._emit(Ipv4Closed(reason, renegotiated))

    def _close_ipv6(self, reason: str) -> None:
        if self.ipv6_open:
            self.ipv6_open = False
            self._emit(Ipv6Closed(reason))
