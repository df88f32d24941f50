"""What -L and -R say: each written form is read back, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.forward import Forward, Place, parse_local, parse_remote

HOSTS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORTS = st.integers(1, 65535)
PATHS = st.from_regex(r"/[a-z0-9/._-]{1,30}", fullmatch=True)
TARGETS = st.builds(Place, HOSTS, PORTS)
UNIX = st.builds(Place, st.just(""), st.just(0), PATHS)
LISTENS = st.one_of(st.builds(Place, st.one_of(st.just(""), st.just("*"), HOSTS), PORTS), UNIX)


@settings(deadline=None)
@given(st.builds(Forward, LISTENS, TARGETS))
def test_every_local_forward_is_read_back(forward: Forward) -> None:
    assert parse_local(str(forward)) == forward


@settings(deadline=None)
@given(st.builds(Forward, st.builds(Place, st.just(""), PORTS), st.one_of(TARGETS, UNIX)))
def test_every_remote_forward_is_read_back(forward: Forward) -> None:
    assert parse_remote(str(forward)) == forward


@settings(deadline=None)
@given(st.builds(Forward, st.builds(Place, st.one_of(st.just(""), st.just("*"), HOSTS), PORTS), TARGETS, st.just(True)))
def test_every_forward_of_datagrams_is_read_back(forward: Forward) -> None:
    assert str(forward).startswith("udp/")
    assert parse_local(str(forward)) == forward


@settings(deadline=None)
@given(st.text(alphabet="0189a:[]/*. @udpt", max_size=30))
def test_anything_else_is_a_value_error(text: str) -> None:
    for parse in (parse_local, parse_remote):
        try:
            assert str(parse(text))
        except ValueError as error:
            assert str(error)  # noqa: PT017 - that no other error comes is the point


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8080", "is not"),
        ("8080:host", "is not"),
        ("8080:host:0", "no port"),
        ("99999:host:1", "no port"),
        ("fd00::1:80:host:80", "brackets"),
        ("[fd00::1:80:host:80", "brackets"),
        ("8080::80", "no name"),
        ("8080:/remote.sock", "no Unix sockets inside the tunnel"),
        ("udp/8080:/remote.sock", "is not udp/"),
        ("udp//here.sock:host:53", "is not udp/"),
        ("udp/host:53", "is not udp/"),
        ("utp/5353:host:53", "neither udp/ nor tcp/"),
    ],
)
def test_mistakes_of_local_forwards_are_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_local(text)


def test_mistakes_of_remote_forwards_are_named() -> None:
    with pytest.raises(ValueError, match="our own addresses"):
        parse_remote("localhost:80:host:80")
    with pytest.raises(ValueError, match="no Unix sockets inside the tunnel"):
        parse_remote("/a.sock:host:80")
    assert parse_remote("*:80:host:81") == Forward(Place("", 80), Place("host", 81))


def test_the_protocol_of_a_local_forward_may_be_said() -> None:
    assert parse_local("tcp/8080:host:80") == parse_local("8080:host:80")
    assert parse_local("UDP/[::1]:53:[fd00::1]:53") == Forward(Place("::1", 53), Place("fd00::1", 53), udp=True)


def test_remote_forwards_are_for_connections_only() -> None:
    with pytest.raises(ValueError, match="-R forwards connections only"):
        parse_remote("udp/53:localhost:53")
