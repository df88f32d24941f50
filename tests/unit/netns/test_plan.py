"""What programs in a namespace read about names, and what the kernel is told about their link."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from sstpsocks.net.address import is_unicast
from sstpsocks.netns import netlink
from sstpsocks.netns.plan import ADDRESS, ADDRESS6, GATEWAY, GATEWAY6, nsswitch_conf, resolv_conf


def test_the_name_server_is_the_gateway_and_short_names_have_their_domains() -> None:
    assert resolv_conf(()) == b"nameserver 192.0.0.1\n\n"
    assert resolv_conf(("corp.example", "example")) == b"nameserver 192.0.0.1\nsearch corp.example example\n"


def test_no_service_of_the_machine_is_asked_for_hosts_and_the_rest_stays() -> None:
    original = (
        b"passwd: files systemd\n hosts :\tfiles mdns4_minimal [NOTFOUND=return] resolve dns\n# hosts: a comment\n"
    )
    assert nsswitch_conf(original) == b"passwd: files systemd\n# hosts: a comment\nhosts: files dns\n"


def test_the_addresses_are_hosts_that_programs_may_talk_to() -> None:
    for address in (ADDRESS, GATEWAY, ADDRESS6, GATEWAY6):
        assert is_unicast(address.packed)
        assert not address.is_link_local
        assert not address.is_loopback


class Kernel:
    """Answers each message with an errno."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.told: list[bytes] = []

    def send(self, data: bytes) -> int:
        self.told.append(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)


def acknowledgement(error: int) -> bytes:
    return struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -error)


def test_the_kernel_is_believed() -> None:
    kernel = Kernel(
        acknowledgement(0), acknowledgement(errno.EPERM), b"too short", struct.pack("=IHHIIi", 20, 3, 0, 1, 0, 0)
    )
    message = netlink.link_up(7, 1400)
    netlink.exchange(kernel, message)
    assert kernel.told == [message]
    with pytest.raises(PermissionError):
        netlink.exchange(kernel, message)
    with pytest.raises(OSError, match="too short"):
        netlink.exchange(kernel, message)
    with pytest.raises(OSError, match="Success"):
        netlink.exchange(kernel, message)


@pytest.mark.parametrize(
    "message",
    [
        netlink.link_up(1),
        netlink.link_up(7, 1400),
        netlink.add_address(7, IPv4Address("192.0.0.2")),
        netlink.add_address(7, IPv6Address("64:ff9b:1::2")),
        netlink.add_default_route(7, 4, 65495),
        netlink.add_default_route(7, 6, 65475),
    ],
)
def test_messages_have_the_length_they_say_and_whole_attributes(message: bytes) -> None:
    length, kind, flags, _, _ = struct.unpack_from("=IHHII", message)
    assert length == len(message)
    assert flags & 0x5 == 0x5  # NLM_F_REQUEST, NLM_F_ACK
    at = 16 + {16: 16, 20: 8, 24: 12}[kind]
    while at < len(message):
        (size,) = struct.unpack_from("=H", message, at)
        assert 4 < size <= len(message) - at
        at += (size + 3) & ~3
    assert at == len(message)
