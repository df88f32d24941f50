"""A Windows server (RRAS) from the HTTP answer to the last packet, as it was recorded.

Its octets are the recorded ones where they do not depend on chance: its options in LCP and their order, what it
compresses, the three Identifications, CBCP although no callback was agreed to, CCP, and the pause of three and a half
seconds before IPCP. Names and addresses are made up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sstpsocks.link import LinkPhase
from sstpsocks.ppp.auth import AuthMethod
from sstpsocks.sstp.http import ClientPrelude
from sstpsocks.sstp.packet import encode_data
from sstpsocks.tunnel.settings import TrustSettings
from tests.helpers.certificates import authority, issue
from tests.helpers.tls import client_engine, server_engine

from .driver_script import DriverScript
from .server_script import NONCE, ServerScript

HTTP_ANSWER = (
    b"HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
    b"Date: Thu, 02 Jun 2011 08:00:00 GMT\r\n\r\n"
)
ACK = bytes.fromhex("10010030 0002 0001 00 04 0028 000000 02") + NONCE
EPDISC = "01" + "a1b2c3d4e5" * 4
FIRST_REQUEST = bytes.fromhex(
    "ff03 c021 01 00 0034"
    "0104 0ffb"  # MRU 4091
    "0304 c227"  # EAP
    "0506 77e31a09"
    "0702 0802"  # it can compress
    "0d03 06"  # callback by CBCP
    "1104 064e"  # MRRU 1614
    "1317" + EPDISC
)
WITHOUT_MULTILINK = "mru=4091 auth=c227 magic=77e31a09 pfc acfc"
WITH_MSCHAPV2 = "mru=4091 auth=c22381 magic=77e31a09 pfc acfc"

# LCP Identification (RFC 1570 section 2.1), thrice, without FF 03.
INTRODUCTION = "\n".join(
    f"<~ lcp Identification {number} 77e31a09 {text.hex()}"
    for number, text in enumerate((b"MSRASV5.20", b"MSRAS-0-HOST", b"{01234567-89AB-CDEF-0123-456789ABCDEF}"), 3)
)

IPCP_REQUEST = ">> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0"
GIVEN = "address=192.168.1.7 dns1=192.168.1.2 nbns1=192.168.1.3 dns2=192.168.1.4 nbns2=192.168.1.5"
NETWORK = f"""
    >> sstp CALL_CONNECTED              # before CBCP and before anything of the network
    {IPCP_REQUEST}
    @0.207
    <~ cbcp 1 1 0102
    >> lcp Protocol-Reject * c029010100060102
    @3.666
    {IPCP_REQUEST}
    @3.666
    <~ ccp Configure-Request 5 option18=01000001
    >> lcp Protocol-Reject * 80fd0105000a120601000001
    <~ ipcp Configure-Request 6 address=192.168.1.1
    >> ipcp Configure-Ack 6 address=192.168.1.1
    @3.690
    <~ ipcp Configure-Nak 1 {GIVEN}
    >> ipcp Configure-Request 2 {GIVEN}
    @3.694
    <~ ipcp Configure-Ack 2 {GIVEN}
    !! LinkUp local=IPv4Address('192.168.1.7'), peer=IPv4Address('192.168.1.1')
    >> ipv6cp Configure-Request 1 *
    <~ lcp Protocol-Reject 8 8057 0101000e 010a
"""
IP_PACKET = bytes.fromhex("4500001c00000000401166cd0a0000020a0000010035003500080000")


Client = Callable[..., ServerScript]


@pytest.fixture(params=["link", "driver"])
def client(request: pytest.FixtureRequest) -> Client:
    """Who plays the client: the link alone, or the tunnel's driver with TLS around it."""
    if request.param == "link":
        return ServerScript
    root = authority()
    issued = issue(["vpn.example.org"], root)
    ca_file = request.getfixturevalue("tmp_path") / "ca.pem"
    ca_file.write_bytes(root.pem)
    trust = TrustSettings(server_name="vpn.example.org", ca_file=str(ca_file))
    return partial(DriverScript, (client_engine(trust), server_engine(issued)))


def rras(client: Client, *methods: AuthMethod) -> ServerScript:
    """Return the call up to the point where the server has heard what the client rejects of its options."""
    script = client(*methods, username="LAB\\alice", mru=4087, magic_number=True, unasked=frozenset(), ipv6=True)
    prelude = ClientPrelude("vpn.example.org", 443, "{01234567-89AB-CDEF-0123-456789ABCDEF}")
    prelude.data_to_send()
    script.play(">> sstp CALL_CONNECT_REQUEST\n@0.033")
    sstp = prelude.receive_data(HTTP_ANSWER + ACK)
    assert sstp == ACK
    script.receive(sstp)
    (request,) = script.sent()
    magic = request.partition("magic=")[2]
    script.play(f"""
        >> lcp Configure-Request 1 mru=4087 magic={magic}
        @0.067
        << raw {encode_data(FIRST_REQUEST).hex()}
        >> lcp Configure-Reject 0 callback=06 mrru=1614 epdisc={EPDISC}
        << lcp Configure-Ack 1 mru=4087 magic={magic}
        @0.072
    """)
    return script


def carry_compressed_data(script: ServerScript) -> None:
    """The protocol field of its IP packets is one octet, with nothing before it; ours go out in full."""
    script.receive(encode_data(b"\x21" + IP_PACKET))
    assert script.packets == [IP_PACKET]
    assert script.send_ip(IP_PACKET) == bytes.fromhex("10000024 ff030021") + IP_PACKET


def hang_up(script: ServerScript) -> None:
    """LCP with the mark of Windows and no error code, then the call."""
    script.play("""
        @13.356
        << lcp Terminate-Request 10 77e31a09 003ccd74 00000000
        !! LinkFailing the server ended PPP
        >> lcp Terminate-Ack 10
        << raw 10010014 0006 0001 0002000c 00000000 00000000
        >> sstp CALL_DISCONNECT_ACK
        @15
        !! LinkDown the server ended PPP
    """)


def test_a_session_of_mschapv2(client: Client) -> None:
    """EAP is what it asks for; a client that wants MS-CHAPv2 more says so, and gets it."""
    script = rras(client, AuthMethod.MSCHAPV2)
    script.play(f"""
        << lcp Configure-Request 1 {WITHOUT_MULTILINK}
        >> lcp Configure-Nak 1 auth=c22381
        @0.074
        << lcp Configure-Request 2 {WITH_MSCHAPV2}
        >> lcp Configure-Ack 2 {WITH_MSCHAPV2}
        @0.079
        {INTRODUCTION}
        @0.082
        <~ login
        >> chap 2 *
        @0.205
        <~ login
        {NETWORK}
    """)
    assert script.link.phase is LinkPhase.UP
    carry_compressed_data(script)
    hang_up(script)


def test_a_session_of_eap(client: Client) -> None:
    """A client that wants EAP takes it as it comes: Identity, then MS-CHAPv2 inside, in compressed frames."""
    script = rras(client, AuthMethod.EAP_MSCHAPV2)
    script.demand(AuthMethod.EAP_MSCHAPV2)
    script.play(f"""
        << lcp Configure-Request 1 {WITHOUT_MULTILINK}
        >> lcp Configure-Ack 1 {WITHOUT_MULTILINK}
        @0.079
        {INTRODUCTION}
        @0.082
        <~ login                        # Identity
        >> eap 2 *
        <~ login                        # Challenge
        >> eap 2 *
        @0.205
        <~ login                        # Success of MS-CHAPv2
        >> eap 2 *
        <~ login                        # Success of EAP
        {NETWORK}
    """)
    carry_compressed_data(script)
    hang_up(script)


@pytest.mark.parametrize("pause", [3.5, 10.0, 29.0])
def test_the_pause_before_ipcp_may_be_longer(client: Client, pause: float) -> None:
    """IPCP is asked for again every three seconds and not given up before its own limit."""
    script = rras(client, AuthMethod.MSCHAPV2)
    script.play(f"""
        << lcp Configure-Request 1 {WITH_MSCHAPV2}
        >> lcp Configure-Ack 1 {WITH_MSCHAPV2}
        <~ login
        >> chap 2 *
        <~ login
        >> sstp CALL_CONNECTED
        {IPCP_REQUEST}
    """)
    while script.now < pause:
        script._step(f"@{pause}", "")
        while script.sent():
            text = script.sent()[0]
            assert text.startswith(("ipcp Configure-Request 1 ", "sstp ECHO_REQUEST", "lcp Echo-Request"))
            script._step(">> *", "")
    script.play(f"""
        <~ ipcp Configure-Request 6 address=192.168.1.1
        >> ipcp Configure-Ack 6 address=192.168.1.1
        <~ ipcp Configure-Nak 1 {GIVEN}
        >> ipcp Configure-Request 2 {GIVEN}
        <~ ipcp Configure-Ack 2 {GIVEN}
        !! LinkUp
        >> ipv6cp Configure-Request 1 *
    """)
