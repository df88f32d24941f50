"""A DHCPv6 client (RFC 8415): name servers where a router says that there are some, an address where it says so.

Theory of operation. At any time at most one message is on its way (Transmissions), and the state says which. A lease
adds three times: T1, when it is renewed with its server, T2, when any server will do, and the end of its last address,
which starts all over. Whatever is not an answer to the message on its way is discarded. Nothing is released at the end:
the tunnel ends with it, and the server knows.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from ...base.entropy import Entropy
from ...errors import RemoteProtocolError
from .dhcpv6_message import Dhcpv6Message, IaAddress, IaNa, MessageType, OptionCode, StatusCode
from .lifetimes import deadline, earliest
from .retransmission import Retransmission, Transmissions

ALL_DHCP_SERVERS = IPv6Address("ff02::1:2")
CLIENT_PORT = 546
SERVER_PORT = 547

# Section 7.6.
SOL_MAX_RT = 3600
INF_MAX_RT = 3600
_REQUEST = Retransmission(1.0, 30.0, count=10)
_RENEW = Retransmission(10.0, 600.0)
_REBIND = Retransmission(10.0, 600.0)
IRT_DEFAULT = 86400
IRT_MINIMUM = 600

IAID = 1
"""The tunnel is the only interface that this client has."""
MIN_RENEWAL = 5.0
"""Seconds; odd lifetimes do not make us ask more often."""
MAX_ADDRESSES = 8
MAX_SERVERS = 8
MAX_DOMAINS = 16

_ASKED = (OptionCode.DNS_SERVERS, OptionCode.DOMAIN_LIST, OptionCode.SOL_MAX_RT)
_ASKED_STATELESS = (
    OptionCode.DNS_SERVERS,
    OptionCode.DOMAIN_LIST,
    OptionCode.INFORMATION_REFRESH_TIME,
    OptionCode.INF_MAX_RT,
)


def stable_duid(secret: bytes, network: bytes) -> bytes:
    """Return a DHCP unique identifier (DUID-UUID, RFC 6355): always the same for the same secret and network.

    In another network it is another one, so that nobody is recognised by it there, as with slaac.stable_identifier().
    """
    uuid = bytearray(hmac.digest(secret, b"DUID" + network, hashlib.sha256)[:16])
    uuid[6] = uuid[6] & 0x0F | 0x80  # RFC 9562 section 5.8: version 8, made in a way of our own
    uuid[8] = uuid[8] & 0x3F | 0x80  # RFC 9562 section 4.1: the variant
    return b"\x00\x04" + bytes(uuid)


class Dhcpv6State(Enum):
    """What the client waits for."""

    IDLE = "idle"
    INFORMATION = "information"
    INFORMED = "informed"
    SOLICIT = "solicit"
    REQUEST = "request"
    BOUND = "bound"
    RENEW = "renew"
    REBIND = "rebind"


_MESSAGES = {
    Dhcpv6State.INFORMATION: MessageType.INFORMATION_REQUEST,
    Dhcpv6State.SOLICIT: MessageType.SOLICIT,
    Dhcpv6State.REQUEST: MessageType.REQUEST,
    Dhcpv6State.RENEW: MessageType.RENEW,
    Dhcpv6State.REBIND: MessageType.REBIND,
}
_WITH_SERVER = {Dhcpv6State.REQUEST, Dhcpv6State.RENEW}


@dataclass(slots=True)
class _Lease:
    preferred_until: float
    valid_until: float
    preferred: bool


class Dhcpv6Client:
    """Asks ALL_DHCP_SERVERS from CLIENT_PORT; its owner carries the datagrams."""

    def __init__(self, duid: bytes, entropy: Entropy) -> None:
        self._duid = duid
        self._entropy = entropy
        self._transmissions: Transmissions | None = None
        self._transaction_id = 0
        self._server: bytes | None = None
        self._best: Dhcpv6Message | None = None
        self._leases: dict[IPv6Address, _Lease] = {}
        self._t1 = self._t2 = math.inf
        self._refresh_at = math.inf
        self._sol_max_rt = SOL_MAX_RT
        self._inf_max_rt = INF_MAX_RT
        self._failures = 0
        """Requests in vain since the last lease: the more, the longer before the next Solicit."""
        self._pending: list[bytes] = []
        self.state = Dhcpv6State.IDLE
        self.dns_servers: tuple[IPv6Address, ...] = ()
        """The name servers that the server gave."""
        self.domains: tuple[str, ...] = ()
        """The search domains that the server gave."""

    def __repr__(self) -> str:
        return f"<Dhcpv6Client {self.state.value}, {', '.join(map(str, self._leases)) or 'no addresses'}>"

    @property
    def addresses(self) -> tuple[tuple[IPv6Address, bool], ...]:
        """The leased addresses, each with whether it is preferred."""
        return tuple((address, lease.preferred) for address, lease in self._leases.items())

    def start(self, now: float, *, stateful: bool) -> None:
        """Begin: ``stateful`` for an address and all else, otherwise for name servers only.

        Does nothing when that is under way or done; an address once asked for is not given up.
        """
        idle = self.state is Dhcpv6State.IDLE
        stateless = self.state in (Dhcpv6State.INFORMATION, Dhcpv6State.INFORMED)
        if stateful and (idle or stateless):
            self._enter(Dhcpv6State.SOLICIT, now)
        elif not stateful and idle:
            self._enter(Dhcpv6State.INFORMATION, now)

    # The contract of a machine.

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take the payload of a datagram from a SERVER_PORT. Raises RemoteProtocolError for what is to be discarded."""
        message = Dhcpv6Message.parse(data)
        # Sections 16.3 and 16.10: discarded without a Server Identifier, with a Client Identifier that is not ours, or
        # with the identifier of another transaction.
        expected = self._transmissions is not None and message.transaction_id == self._transaction_id
        if not expected or message.client_id != self._duid or message.server_id is None:
            raise RemoteProtocolError("a DHCPv6 message that answers none of ours", layer="dhcpv6")
        self._take_longest_pauses(message)
        if message.type == MessageType.ADVERTISE and self.state is Dhcpv6State.SOLICIT:
            self._receive_advertise(message, now)
        elif message.type == MessageType.REPLY and (self.state is not Dhcpv6State.SOLICIT or message.rapid_commit):
            self._receive_reply(message, message.server_id, now)
        else:
            raise RemoteProtocolError(f"a DHCPv6 message of type {message.type} out of turn", layer="dhcpv6")

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Return payloads to send to ALL_DHCP_SERVERS, and forget them."""
        pending, self._pending = self._pending, []
        return pending

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        times = [self._transmissions.next_at if self._transmissions is not None else None, self._refresh_at]
        if self.state is Dhcpv6State.BOUND:
            times.append(self._t1)
        if self.state in (Dhcpv6State.BOUND, Dhcpv6State.RENEW):
            times.append(self._t2)
        times += [lease.preferred_until if lease.preferred else lease.valid_until for lease in self._leases.values()]
        return earliest(times)

    def handle_timer(self, now: float) -> None:
        """Let what is due happen."""
        self._expire(now)
        if self.state in (Dhcpv6State.BOUND, Dhcpv6State.RENEW) and now >= self._t2:
            self._enter(Dhcpv6State.REBIND, now)
        elif self.state is Dhcpv6State.BOUND and now >= self._t1:
            self._enter(Dhcpv6State.RENEW, now)
        elif self.state is Dhcpv6State.INFORMED and now >= self._refresh_at:
            self._enter(Dhcpv6State.INFORMATION, now)
        transmissions = self._transmissions
        if transmissions is None or now < transmissions.next_at:
            return
        if self._best is not None and transmissions.count:
            # Section 18.2.1: the first pause after a Solicit is for collecting advertisements.
            self._request_from(self._best, now)
        elif transmissions.exhausted:
            # Section 18.2.2: a Request without an answer leads back to other servers.
            self._failures += 1
            self._enter(Dhcpv6State.SOLICIT, now)
        else:
            self._transmit(transmissions, now)

    # Sending.

    def _enter(self, state: Dhcpv6State, now: float) -> None:
        self.state = state
        self._best = None
        self._refresh_at = math.inf
        self._transmissions = None
        if state not in _MESSAGES:
            return
        parameters = {
            Dhcpv6State.INFORMATION: Retransmission(1.0, self._inf_max_rt, delay=1.0),
            Dhcpv6State.SOLICIT: Retransmission(
                1.0, self._sol_max_rt, delay=min(2.0 ** min(self._failures, 12), self._sol_max_rt)
            ),
            Dhcpv6State.REQUEST: _REQUEST,
            Dhcpv6State.RENEW: _RENEW,
            Dhcpv6State.REBIND: _REBIND,
        }[state]
        self._transaction_id = int.from_bytes(self._entropy.random_bytes(3), "big")
        self._transmissions = transmissions = Transmissions(parameters, self._entropy, now)
        if transmissions.next_at <= now:
            self._transmit(transmissions, now)

    def _transmit(self, transmissions: Transmissions, now: float) -> None:
        stateless = self.state is Dhcpv6State.INFORMATION
        addresses = tuple(IaAddress(address, 0, 0) for address in self._leases)
        message = Dhcpv6Message(
            type=_MESSAGES[self.state],
            transaction_id=self._transaction_id,
            client_id=self._duid,
            server_id=self._server if self.state in _WITH_SERVER else None,
            associations=() if stateless else (IaNa(IAID, addresses=addresses),),
            requested=_ASKED_STATELESS if stateless else _ASKED,
            elapsed=transmissions.elapsed(now),
            rapid_commit=self.state is Dhcpv6State.SOLICIT,
        )
        transmissions.sent(now)
        self._pending.append(message.to_bytes())

    # Answers.

    def _take_longest_pauses(self, message: Dhcpv6Message) -> None:
        """Take SOL_MAX_RT and INF_MAX_RT within the bounds of sections 21.24 and 21.25."""
        if message.sol_max_rt is not None and 60 <= message.sol_max_rt <= 86400:
            self._sol_max_rt = message.sol_max_rt
        if message.inf_max_rt is not None and 60 <= message.inf_max_rt <= 86400:
            self._inf_max_rt = message.inf_max_rt
        if self._transmissions is not None and self.state is Dhcpv6State.SOLICIT:
            self._transmissions.maximum = self._sol_max_rt
        elif self._transmissions is not None and self.state is Dhcpv6State.INFORMATION:
            self._transmissions.maximum = self._inf_max_rt

    def _receive_advertise(self, message: Dhcpv6Message, now: float) -> None:
        # Section 18.2.9: an advertisement without an address for us is ignored.
        usable = [ia for ia in message.associations if ia.iaid == IAID and ia.status == StatusCode.SUCCESS]
        if message.status != StatusCode.SUCCESS or not any(ia.addresses for ia in usable):
            return
        if self._best is None or message.preference > self._best.preference:
            self._best = message
        # Section 18.2.1: a preference of 255 is taken at once, and after the first pause so is whatever comes.
        late = self._transmissions is not None and self._transmissions.count > 1
        if message.preference == 255 or late:
            self._request_from(self._best, now)

    def _request_from(self, advertise: Dhcpv6Message, now: float) -> None:
        self._server = advertise.server_id
        self._enter(Dhcpv6State.REQUEST, now)

    def _receive_reply(self, message: Dhcpv6Message, server: bytes, now: float) -> None:
        # Section 18.2.10: on UnspecFail "the client MUST limit the rate at which it retransmits": the pauses do.
        if message.status not in (StatusCode.SUCCESS, StatusCode.NOT_ON_LINK, StatusCode.NO_ADDRS_AVAIL):
            return
        if self.state is Dhcpv6State.INFORMATION:
            self._take_information(message)
            self._enter(Dhcpv6State.INFORMED, now)
            refresh = IRT_DEFAULT if message.refresh_time is None else message.refresh_time
            self._refresh_at = deadline(max(IRT_MINIMUM, refresh), now)
            return
        association = next((ia for ia in message.associations if ia.iaid == IAID), None)
        status = message.status or (association.status if association is not None else StatusCode.NO_ADDRS_AVAIL)
        if status == StatusCode.NO_BINDING and self.state in (Dhcpv6State.RENEW, Dhcpv6State.REBIND):
            # Section 18.2.10.1: the server has forgotten us; it is asked for the same addresses anew.
            self._server = server
            self._enter(Dhcpv6State.REQUEST, now)
            return
        if association is not None and status == StatusCode.SUCCESS:
            self._take_addresses(association, now)
        if status == StatusCode.SUCCESS and self._leases:
            self._take_information(message)
            self._server = server
            self._failures = 0
            self._enter(Dhcpv6State.BOUND, now)
        elif self.state is Dhcpv6State.REQUEST or (self.state is not Dhcpv6State.SOLICIT and not self._leases):
            # Nothing to be had there after all: others are asked, and it is, after a while.
            self._failures += 1
            self._enter(Dhcpv6State.SOLICIT, now)

    def _take_information(self, message: Dhcpv6Message) -> None:
        usable = [a for a in message.dns_servers if not (a.is_multicast or a.is_unspecified or a.is_loopback)]
        self.dns_servers = tuple(dict.fromkeys(usable))[:MAX_SERVERS]
        self.domains = message.domains[:MAX_DOMAINS]

    def _take_addresses(self, association: IaNa, now: float) -> None:
        # Section 21.4: an association with T1 greater than T2, both not 0, is discarded "as though" it was not there.
        if association.t1 > association.t2 > 0:
            return
        for option in association.addresses:
            address, valid = option.address, option.valid_lifetime
            if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
                continue
            # Section 21.6: "discard any addresses for which the preferred lifetime is greater than the valid lifetime".
            if option.status != StatusCode.SUCCESS or option.preferred_lifetime > valid:
                continue
            if valid == 0:
                self._leases.pop(address, None)
            elif address in self._leases or len(self._leases) < MAX_ADDRESSES:
                preferred_until = deadline(option.preferred_lifetime, now)
                self._leases[address] = _Lease(preferred_until, deadline(valid, now), preferred_until > now)
        self._set_renewal(association, now)

    def _set_renewal(self, association: IaNa, now: float) -> None:
        # Section 21.4: with 0 the times are the client's choice; the recommended ones are 0.5 and 0.8 times the
        # shortest preferred lifetime.
        preferred = [lease.preferred_until - now for lease in self._leases.values() if lease.preferred]
        shortest = min(preferred, default=MIN_RENEWAL)
        t2 = deadline(association.t2, now) if association.t2 else now + 0.8 * shortest
        t1 = deadline(association.t1, now) if association.t1 else now + 0.5 * shortest
        self._t2 = max(t2, now + MIN_RENEWAL)
        self._t1 = min(max(t1, now + MIN_RENEWAL), self._t2)

    def _expire(self, now: float) -> None:
        had_any = bool(self._leases)
        for address, lease in list(self._leases.items()):
            lease.preferred = lease.preferred_until > now
            if lease.valid_until <= now:
                del self._leases[address]
        if had_any and not self._leases:
            # Section 18.2.5: nothing is left to rebind.
            self._t1 = self._t2 = math.inf
            self._enter(Dhcpv6State.SOLICIT, now)
