"""The IPv6 Control Protocol: RFC 5072. It agrees on nothing but the two interface identifiers.

IPv6 is an extra: IPv4 never waits for it, and a peer that rejects it, refuses the identifier or says nothing just means
that there is no IPv6. No Terminate-Request is ever sent, because accel-ppp ends the whole session on one.
"""

from __future__ import annotations

from enum import IntEnum

from ..base.entropy import Entropy
from .automaton import Event
from .config import PppConfig
from .control import ControlProtocol, Judgement
from .packet import PROTOCOL_IPV6CP, Code, Option

IDENTIFIER_SIZE = 8
NO_IDENTIFIER = bytes(IDENTIFIER_SIZE)
_UNIVERSAL_BIT = 0x02


class Ipv6cpOption(IntEnum):
    """The only option we take. IPv6-Compression-Protocol (2) is rejected."""

    INTERFACE_IDENTIFIER = 1


def random_identifier(entropy: Entropy, *others: bytes) -> bytes:
    """Return a random interface identifier of eight octets that is none of the others.

    RFC 5072 section 4.1: where it is not made from a hardware address, 'the "u" (universal/local) bit of the interface
    identifier MUST be set to zero'.
    """
    while True:
        octets = bytearray(entropy.random_bytes(IDENTIFIER_SIZE))
        octets[0] &= ~_UNIVERSAL_BIT & 0xFF
        identifier = bytes(octets)
        if identifier != NO_IDENTIFIER and identifier not in others:
            return identifier


class Ipv6cp(ControlProtocol):
    """IPV6CP of either role: both ends follow the same rules."""

    protocol = PROTOCOL_IPV6CP
    name = "ipv6cp"

    def __init__(self, config: PppConfig, entropy: Entropy) -> None:
        super().__init__(
            peer_name=config.peer_name,
            restart_timer=config.restart_timer,
            max_configure=config.tries_within(config.address_timeout),
        )
        self._entropy = entropy
        self._tells_identifier = True
        self._suggested = NO_IDENTIFIER
        """What our last Configure-Nak suggested to the peer."""
        self.local_identifier = config.interface_identifier or random_identifier(entropy)
        """Ours, eight octets; final once IPV6CP has opened."""
        self.peer_identifier: bytes | None = None
        """The peer's, eight octets; None when it told none."""

    def up(self, now: float) -> None:
        """Begin, or begin anew after LCP was renegotiated."""
        self._reset_negotiation()
        self._tells_identifier = True
        super().up(now)

    def reject(self, now: float) -> None:
        """Learn that the peer does not speak IPV6CP: say nothing more unless it begins."""
        self._dispatch(Event.RXJ_MINUS, now)

    def _send(self, code: Code, identifier: int, data: bytes = b"") -> None:
        # The automaton may want one after a Code-Reject; the peer learns of our silence instead.
        if code is not Code.TERMINATE_REQUEST:
            super()._send(code, identifier, data)

    # What we ask for.

    def _request_options(self) -> tuple[Option, ...]:
        if not self._tells_identifier:
            return ()
        return (Option(Ipv6cpOption.INTERFACE_IDENTIFIER, self.local_identifier),)

    def _take_nak(self, options: tuple[Option, ...]) -> None:
        for option in options:
            if option.type != Ipv6cpOption.INTERFACE_IDENTIFIER or len(option.value) != IDENTIFIER_SIZE:
                continue
            # RFC 5072 section 4.1: a suggestion that differs from what we last suggested to the peer is taken; the same
            # one means that both ends chose alike, and "a new interface identifier MUST be chosen".
            others = tuple(identifier for identifier in (self._suggested, self.peer_identifier) if identifier)
            if option.value == NO_IDENTIFIER or option.value in others:
                self.local_identifier = random_identifier(self._entropy, *others, self.local_identifier)
            else:
                self.local_identifier = option.value
            self._tells_identifier = True

    def _take_reject(self, types: frozenset[int]) -> None:
        # The identifier is then ours to choose; it has been chosen already.
        self._tells_identifier = False

    # What the peer asks for.

    def _judge_request(self, options: tuple[Option, ...]) -> Judgement:
        rejected: list[Option] = []
        suggested: list[Option] = []
        for option in options:
            if option.type != Ipv6cpOption.INTERFACE_IDENTIFIER or len(option.value) != IDENTIFIER_SIZE:
                rejected.append(option)
            elif option.value in (NO_IDENTIFIER, self.local_identifier):
                # RFC 5072 section 4.1: zero, or our own, gets a Configure-Nak with a suggestion "different from the
                # interface identifier of the last Configure-Request sent to the peer".
                self._suggested = random_identifier(self._entropy, self.local_identifier)
                suggested.append(Option(Ipv6cpOption.INTERFACE_IDENTIFIER, self._suggested))
        return Judgement(tuple(rejected), tuple(suggested))

    def _request_accepted(self, options: tuple[Option, ...]) -> None:
        self.peer_identifier = options[0].value if options else None
