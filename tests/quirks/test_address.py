"""Servers that are asked for one IPv4 address and no other."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.errors import NegotiationFailed

from .server_script import CALL, ServerScript

WANTED = IPv4Address("10.8.0.77")
UP_TO_IPCP = (
    CALL.format(auth="c22381")
    + """
    << login
    >> chap 2 *
    << login
    >> sstp CALL_CONNECTED
    >> ipcp Configure-Request 1 address=10.8.0.77 dns1=0.0.0.0 dns2=0.0.0.0
"""
)


def test_the_address_is_asked_for_and_given() -> None:
    ServerScript(local_address=WANTED).play(
        UP_TO_IPCP
        + """
        << ipcp Configure-Request 1 address=10.0.0.1
        >> ipcp Configure-Ack 1 address=10.0.0.1
        << ipcp Configure-Nak 1 dns1=10.0.0.53
        >> ipcp Configure-Request 2 address=10.8.0.77 dns1=10.0.0.53 dns2=0.0.0.0
        << ipcp Configure-Ack 2 address=10.8.0.77 dns1=10.0.0.53 dns2=0.0.0.0
        !! LinkUp local=IPv4Address('10.8.0.77')
        """
    )


@pytest.mark.parametrize(
    ("answer", "how"),
    [("Nak 1 address=10.0.0.9", "it offers 10.0.0.9"), ("Reject 1 address=10.8.0.77", "it rejects the option")],
)
def test_a_server_that_gives_another_or_none_is_told_so(answer: str, how: str) -> None:
    script = ServerScript(local_address=WANTED)
    script.play(
        UP_TO_IPCP
        + f"""
        << ipcp Configure-{answer}
        >> sstp CALL_DISCONNECT
        !! LinkFailing NegotiationFailed
        << sstp CALL_DISCONNECT_ACK
        !! LinkDown
        """
    )
    error = script.link.error
    assert isinstance(error, NegotiationFailed)
    assert str(error) == f"the server does not give us the address 10.8.0.77: {how}"
    assert "--address" in error.hint
