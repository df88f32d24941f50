"""The file of known servers: what is written can be read, and nonsense is an error that says where."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.tunnel.known_hosts import KnownHost, parse_known_hosts
from sstpsocks.tunnel.pins import PIN_SIZE

names = st.text(string.ascii_lowercase + string.digits + "-._[]:", min_size=1, max_size=60).filter(
    lambda name: not name.startswith(":")
)
hosts = st.builds(
    KnownHost,
    server=st.builds(lambda name, port: f"{name}:{port}", names, st.integers(0, 65535)),
    digest=st.binary(min_size=PIN_SIZE, max_size=PIN_SIZE),
    since=st.dates().map(str) | st.just(""),
)


@settings(deadline=None, max_examples=200)
@given(written=st.lists(hosts, max_size=5))
def test_what_is_written_is_read(written: list[KnownHost]) -> None:
    assert parse_known_hosts("# comment\n\n" + "".join(host.to_line() for host in written)) == tuple(written)


@settings(deadline=None, max_examples=300)
@given(text=st.text() | st.lists(hosts, min_size=1).flatmap(lambda some: st.text(alphabet=some[0].to_line())))
def test_any_text_is_read_or_an_error_that_names_a_line(text: str) -> None:
    try:
        found = parse_known_hosts(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - no exception is as good
    else:
        assert all(len(host.digest) == PIN_SIZE for host in found)
