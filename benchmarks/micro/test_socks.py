"""What the SOCKS5 conversation of one connection costs, without IO."""

from __future__ import annotations

import pytest

from benchmarks.micro.transfer import Benchmark
from sstpsocks.proxy.socks.conversation import SUCCEEDED, ConnectRequested
from sstpsocks.proxy.socks.machine import SocksMachine

GREETING = b"\x05\x01\x00"
BY_ADDRESS = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"
BY_NAME = b"\x05\x01\x00\x03\x14intranet.example.com\x00\x50"


def converse(request: bytes) -> ConnectRequested:
    """Do all of one conversation."""
    machine = SocksMachine()
    machine.receive_data(GREETING)
    machine.data_to_send()
    machine.receive_data(request)
    event = machine.next_event()
    assert isinstance(event, ConnectRequested)
    machine.reply(SUCCEEDED)
    machine.data_to_send()
    return event


@pytest.mark.benchmark(group="SOCKS handshake")
@pytest.mark.parametrize("request_", [BY_ADDRESS, BY_NAME], ids=["by address", "by name"])
def test_handshake(benchmark: Benchmark, request_: bytes) -> None:
    assert benchmark(converse, request_).port == 80
